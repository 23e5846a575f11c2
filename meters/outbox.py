"""The gateway's durable outbox: nothing that a meter said is lost, and nothing is sent before it is safe (D21).

It owns the records of a gateway on a ledger `Store`: for each group of meters where its chain stands, and for each
interval entries with the batches that leave together, one where a transaction takes them all. Rules: the entries of an
interval and the chains that they continue are one durable write; entries are kept, signed and sent in interval order;
an entry is signed durably, under its own nonce, before its transaction leaves, so that a restart sends the very same
transaction again; it leaves the queue only with a final outcome, which is kept beside it. Sending is the gateway's
matter.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.encoding import decode, encode
from ledger.hashing import HASH_BYTES
from ledger.shapes import expect_array, expect_bytes, expect_int, expect_str
from ledger.store import Delete, Operation, Put, Store
from meters.batch import GROUP_MAX, Batch, GroupChain
from meters.reading import SEQUENCE_MAX, START_MAX

CHAINS: Final = "chains"  # group -> GroupChain
WAITING: Final = "waiting"  # position -> OutboxEntry
DONE: Final = "done"  # position -> DeliveredEntry
META: Final = "meta"
OUTBOX_TABLES: Final = (CHAINS, WAITING, DONE, META)

ENTRY_PLACES_MAX: Final = 100  # of one transaction, as contracts/standard/readings.py
ENTRY_BATCHES_MAX: Final = 8  # so that no transaction needs more gas than one may have, however late its readings are
DELIVERED_KEPT: Final = 3_000  # outcomes kept for questions: a month of quarter hours
NOT_SIGNED: Final = -1
POSITION_MAX: Final = 2**63 - 1

_NEXT: Final = b"next"  # [next position, next nonce, newest interval start]


class OutboxError(ValueError):
    """Something that cannot be recorded; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """Batches of one interval on their way: recorded, and signed once it is their turn."""

    position: int  # ascending, without gaps
    start: int  # of the interval, UTC seconds
    batches: tuple[Batch, ...]
    nonce: int | None  # of the transaction; fixed when it is first signed
    raw: bytes  # the signed transaction, empty before

    def to_bytes(self) -> bytes:
        """Canonical bytes of the stored value."""
        nonce = NOT_SIGNED if self.nonce is None else self.nonce
        return encode([self.position, self.start, [batch.to_list() for batch in self.batches], nonce, self.raw])

    @property
    def places(self) -> int:
        """Places of all batches: so many codes the verdict has."""
        return sum(len(batch.kinds) for batch in self.batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredEntry:
    """The final outcome of an entry: where its receipt is, and the verdict of each reading."""

    position: int
    start: int
    tx_id: bytes
    height: int
    status: str  # of the receipt
    code: str
    verdicts: tuple[str, ...]  # one code per reading, in order; empty where the transaction itself failed

    def to_bytes(self) -> bytes:
        """Canonical bytes of the stored value."""
        return encode([self.position, self.start, self.tx_id, self.height, self.status, self.code, list(self.verdicts)])


class Outbox:
    """Reads and writes the outbox of one gateway. The store is opened with `OUTBOX_TABLES` and has no other user."""

    def __init__(self, store: Store) -> None:
        self._store = store
        numbers = store.get(META, _NEXT)
        fields = [0, 0, 0] if numbers is None else expect_array(decode(numbers), "outbox", 3)
        self._next_position = expect_int(fields[0], "position", 0, POSITION_MAX)
        self._next_nonce = expect_int(fields[1], "nonce", 0, POSITION_MAX)
        self._newest_start = expect_int(fields[2], "start", 0, START_MAX)

    @property
    def next_nonce(self) -> int:
        """The nonce of the next entry that is signed for the first time."""
        return self._next_nonce

    @property
    def newest_start(self) -> int:
        """Start of the newest interval recorded, UTC seconds; 0 before the first."""
        return self._newest_start

    def register_group(self, chain: GroupChain) -> None:
        """Begin a group's chain of batches; one that has begun goes on where it stands, with the meters new in it.

        Raises ReadingError where a place of the group has another meter than before.
        """
        key = chain.group.encode()
        kept = self._store.get(CHAINS, key)
        value = _chain_bytes(chain if kept is None else _parse_chain(kept).joined(chain))
        if value != kept:
            self._store.write([Put(CHAINS, key, value)])

    def record(self, intervals: Sequence[tuple[int, Mapping[str, int]]]) -> None:
        """Write down the energy of one or more intervals, ascending: (start, Wh by meter). Durable on return.

        Raises OutboxError `order` for an interval that is not after the newest one, `unknown_meter`, `empty`.
        """
        chains = {chain.group: chain for chain in self._chains()}
        group_of = {meter: chain.group for chain in chains.values() for meter in chain.meters if meter}
        operations: list[Operation] = []
        position, newest = self._next_position, self._newest_start
        for start, energies in intervals:
            if start <= newest:
                raise OutboxError("order", f"interval {start} is not after {newest}")
            if not energies:
                raise OutboxError("empty", f"interval {start} has no meter")
            if unknown := energies.keys() - group_of.keys():
                raise OutboxError("unknown_meter", f"{min(unknown)} is not registered at this gateway")
            batches = []
            for group in dict.fromkeys(group_of[meter] for meter in energies):
                batch, chains[group] = chains[group].append(start, energies)
                batches.append(batch)
            for packed in _pack(batches):
                entry = OutboxEntry(position=position, start=start, batches=packed, nonce=None, raw=b"")
                operations.append(Put(WAITING, _position_key(position), entry.to_bytes()))
                position += 1
            newest = start
        operations += [Put(CHAINS, group.encode(), _chain_bytes(chain)) for group, chain in chains.items()]
        operations.append(Put(META, _NEXT, encode([position, self._next_nonce, newest])))
        self._store.write(operations)
        self._next_position, self._newest_start = position, newest

    def waiting(self, *, after: int = -1, limit: int | None = None) -> tuple[OutboxEntry, ...]:
        """Entries without a final outcome, in interval order, from the position after `after` on."""
        entries: list[OutboxEntry] = []
        for _key, value in self._store.scan(WAITING, start=_position_key(after + 1)):
            if limit is not None and len(entries) >= limit:
                break
            entries.append(_parse_entry(value))
        return tuple(entries)

    def sign(self, entry: OutboxEntry, raw: bytes) -> OutboxEntry:
        """Make a transaction of an entry durable before it leaves: the first one, or one that replaces an expired one.

        The first takes `next_nonce`; a replacement keeps the nonce, so that only one of the two can ever execute.
        """
        is_first = entry.nonce is None
        nonce = self._next_nonce if entry.nonce is None else entry.nonce
        signed = OutboxEntry(position=entry.position, start=entry.start, batches=entry.batches, nonce=nonce, raw=raw)
        operations: list[Operation] = [Put(WAITING, _position_key(entry.position), signed.to_bytes())]
        if is_first:
            operations.append(Put(META, _NEXT, encode([self._next_position, nonce + 1, self._newest_start])))
        self._store.write(operations)
        if is_first:
            self._next_nonce = nonce + 1
        return signed

    def advance_nonce(self, base: int) -> None:
        """Skip nonces that the chain says this key has used elsewhere; never goes back."""
        if base > self._next_nonce:
            self._store.write([Put(META, _NEXT, encode([self._next_position, base, self._newest_start]))])
            self._next_nonce = base

    def deliver(self, delivered: DeliveredEntry) -> None:
        """The final outcome of an entry: it leaves the queue, and its outcome is kept for `DELIVERED_KEPT` entries."""
        operations: list[Operation] = [
            Delete(WAITING, _position_key(delivered.position)),
            Put(DONE, _position_key(delivered.position), delivered.to_bytes()),
        ]
        if delivered.position >= DELIVERED_KEPT:
            operations.append(Delete(DONE, _position_key(delivered.position - DELIVERED_KEPT)))
        self._store.write(operations)

    def delivered(self) -> tuple[DeliveredEntry, ...]:
        """The outcomes that are kept, in interval order."""
        return tuple(_parse_delivered(value) for _key, value in self._store.scan(DONE))

    def _chains(self) -> tuple[GroupChain, ...]:
        return tuple(_parse_chain(value) for _key, value in self._store.scan(CHAINS))


def _pack(batches: Sequence[Batch]) -> Iterator[tuple[Batch, ...]]:
    """The batches of an interval, in order, as many at a time as one transaction takes."""
    packed: list[Batch] = []
    places = 0
    for batch in batches:
        places += len(batch.kinds)
        if packed and (places > ENTRY_PLACES_MAX or len(packed) == ENTRY_BATCHES_MAX):
            yield tuple(packed)
            packed, places = [], len(batch.kinds)
        packed.append(batch)
    yield tuple(packed)


def _position_key(position: int) -> bytes:
    return position.to_bytes(8, "big")


def _chain_bytes(chain: GroupChain) -> bytes:
    return encode(
        [
            chain.chain,
            chain.group,
            chain.length_s,
            list(chain.meters),
            chain.kinds,
            list(chain.registers),
            list(chain.sequences),
            chain.previous,
            chain.firmware,
        ]
    )


def _parse_chain(data: bytes) -> GroupChain:
    fields = expect_array(decode(data), "group chain", 9)
    return GroupChain(
        chain=expect_bytes(fields[0], "chain", HASH_BYTES),
        group=expect_str(fields[1], "group", 64),
        length_s=expect_int(fields[2], "length_s", 1, START_MAX),
        meters=tuple(expect_str(meter, "meter", 64) for meter in expect_array(fields[3], "meters")),
        kinds=expect_str(fields[4], "kinds", GROUP_MAX),
        registers=tuple(expect_int(v, "register", -(2**63), 2**63) for v in expect_array(fields[5], "registers")),
        sequences=tuple(expect_int(v, "sequence", 0, SEQUENCE_MAX) for v in expect_array(fields[6], "sequences")),
        previous=expect_bytes(fields[7], "previous"),
        firmware=expect_bytes(fields[8], "firmware", HASH_BYTES),
    )


def _parse_entry(data: bytes) -> OutboxEntry:
    fields = expect_array(decode(data), "outbox entry", 5)
    nonce = expect_int(fields[3], "nonce", NOT_SIGNED, POSITION_MAX)
    return OutboxEntry(
        position=expect_int(fields[0], "position", 0, POSITION_MAX),
        start=expect_int(fields[1], "start", 0, START_MAX),
        batches=tuple(Batch.from_list(batch) for batch in expect_array(fields[2], "batches")),
        nonce=None if nonce == NOT_SIGNED else nonce,
        raw=expect_bytes(fields[4], "raw"),
    )


def _parse_delivered(data: bytes) -> DeliveredEntry:
    fields = expect_array(decode(data), "delivered entry", 7)
    return DeliveredEntry(
        position=expect_int(fields[0], "position", 0, POSITION_MAX),
        start=expect_int(fields[1], "start", 0, START_MAX),
        tx_id=expect_bytes(fields[2], "tx_id", HASH_BYTES),
        height=expect_int(fields[3], "height", 0, POSITION_MAX),
        status=expect_str(fields[4], "status", 32),
        code=expect_str(fields[5], "code", 64),
        verdicts=tuple(expect_str(code, "verdict", 64) for code in expect_array(fields[6], "verdicts")),
    )
