"""A gateway: its own key, an outbox, and one request per interval through the client library until it has a receipt.

It owns the way from a measured Wh to a verdict: `measure` makes canonical readings durable in the outbox; `pump` signs
them in interval order, each transaction naming the one before as the nonce that it follows (D49), so that no primary
can put interval 6 before 5; a few are in flight at once. Rules: a transaction leaves only after its signed bytes are
durable; an unknown outcome is waited for again with the same bytes; an expired transaction is signed anew under the
same nonce, and one whose nonce the key used elsewhere under the next, so that none can execute twice; the outbox lets
go of an entry only with a receipt.

Where energies come from (a series, a meter's port) is the caller's matter, what a verdict means the ledger's.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from ledger.keys import SigningKey
from ledger.lmdb_store import LmdbStore
from ledger.shapes import expect_array, expect_str
from ledger.transaction import Receipt, SignedTransaction, parse_transaction
from meters.batch import NOTHING, Batch, GroupChain, Place
from meters.onboarding import GatewayMeters
from meters.outbox import OUTBOX_TABLES, DeliveredEntry, Outbox, OutboxEntry
from meters.series import MeterColumn, Series
from pbft.client.account import Account, NonceKeeper
from pbft.client.network import ClientNetwork
from pbft.client.twisted_client import TwistedClient
from pbft.core.client_session import Committed, Outcome, OutcomeUnknown, Rejected
from pbft.node.tls import issue_client_certificate

CONTRACT: Final = "readings"
METHOD: Final = "submit"
IN_FLIGHT_MAX: Final = 8  # intervals on their way at once; the nonce window would allow 64
GAS_BASE: Final = 400_000  # of a batch: twice that of one reading with 63 intervals after it, however those came
GAS_PER_READING: Final = 16_000  # twice that of each in a whole late batch; in order it is 300, the first time 3,000
GAS_MAX: Final = 5_000_000  # of one transaction
OUTBOX_BYTES: Final = 4 * 1024**3  # address space of an outbox, sparse on disk: years of readings


class GatewayClient(Protocol):
    """What a gateway needs of the client library (`pbft.client.TwistedClient`)."""

    def read_nonces(self, address: bytes) -> "Deferred[NonceKeeper]": ...

    def sign(
        self,
        account: Account,
        contract: str,
        method: str,
        *arguments: object,
        nonce: int | None = None,
        gas_limit: int | None = None,
        follows: int | None = None,
    ) -> SignedTransaction: ...

    def submit_signed(
        self, signed: SignedTransaction, *, account: Account | None = None, patience_ms: int | None = None
    ) -> "Deferred[Outcome | OutcomeUnknown]": ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What became of one request of one gateway: of an interval, or of as many of its batches as a request takes."""

    gateway: str
    start: int  # of the interval, UTC seconds
    height: int
    tx_id: bytes
    codes: tuple[str, ...]  # one per reading; empty where the transaction itself failed
    failure: str  # its code, or empty


def compute_gas_limit(readings: int, batches: int = 1) -> int:
    """The gas that a request with so many readings, in so many batches, may use."""
    return min(batches * GAS_BASE + readings * GAS_PER_READING, GAS_MAX)


class Gateway:
    """One gateway. `measure` may be called at any time; `on_verdicts` hears of every interval that is decided."""

    def __init__(
        self,
        *,
        name: str,
        account: Account,
        outbox: Outbox,
        client: GatewayClient,
        on_verdicts: Callable[[Verdicts], None],
        on_failure: Callable[[Failure], None],
        in_flight_max: int = IN_FLIGHT_MAX,
    ) -> None:
        """`on_failure` hears of what stops this gateway for good: a store that fails, a defect."""
        self.name = name
        self.codes: Counter[str] = Counter()
        self._account = account
        self._outbox = outbox
        self._client = client
        self._on_verdicts = on_verdicts
        self._on_failure = on_failure
        self._in_flight_max = in_flight_max
        self._in_flight: set[int] = set()  # positions
        self._sent_up_to = -1  # highest position that has been handed to the client
        self._is_ready = False

    @property
    def address(self) -> bytes:
        """The gateway's public key."""
        return self._account.address

    @property
    def backlog(self) -> int:
        """Intervals without a final outcome."""
        return len(self._outbox.waiting())

    def start(self) -> "Deferred[None]":
        """Go on with whatever the outbox holds; fires when the network has said which nonces this key has used."""

        def reached(nonces: NonceKeeper) -> None:
            self._outbox.advance_nonce(nonces.base)
            self._is_ready = True
            self.pump()

        return self._client.read_nonces(self.address).addCallback(reached)

    def measure(self, intervals: Sequence[tuple[int, Mapping[str, int]]]) -> None:
        """Record (interval start, Wh by meter), ascending, and send what may be sent. Raises OutboxError."""
        self._outbox.record(intervals)
        self.pump()

    def pump(self) -> None:
        """Hand the next intervals to the client, in order, while there is room."""
        room = self._in_flight_max - len(self._in_flight)
        if not self._is_ready or room <= 0:
            return
        for entry in self._outbox.waiting(after=self._sent_up_to, limit=room):
            self._sent_up_to = entry.position
            self._send(entry)

    def _send(self, entry: OutboxEntry) -> None:
        if entry.nonce is None:
            entry = self._sign(entry)
        self._in_flight.add(entry.position)
        self._submit(entry)

    def _sign(self, entry: OutboxEntry) -> OutboxEntry:
        """Sign an entry under its nonce, following the entry before, and make that durable."""
        nonce = self._outbox.next_nonce if entry.nonce is None else entry.nonce
        signed = self._client.sign(
            self._account,
            CONTRACT,
            METHOD,
            [batch.to_list() for batch in entry.batches],
            nonce=nonce,
            gas_limit=compute_gas_limit(entry.places, len(entry.batches)),
            follows=nonce - 1 if nonce > 0 else None,
        )
        return self._outbox.sign(entry, signed.raw)

    def _submit(self, entry: OutboxEntry) -> None:
        signed = parse_transaction(entry.raw)
        waiting = self._client.submit_signed(signed)
        waiting.addCallback(self._outcome_arrived, entry)
        waiting.addErrback(self._on_failure)

    def _outcome_arrived(self, outcome: Outcome | OutcomeUnknown, entry: OutboxEntry) -> None:
        if isinstance(outcome, OutcomeUnknown):
            self._submit(entry)
        elif isinstance(outcome, Rejected) and (outcome.receipt is None or outcome.receipt.status == "refused"):
            self._submit(self._sign(entry))  # expired, nonce unused: the same readings under the same nonce
        elif outcome.reply is not None and outcome.reply.tx_id != parse_transaction(entry.raw).tx_id:
            self._submit(self._sign(replace(entry, nonce=None)))  # the key used that nonce elsewhere: ours never runs
        else:
            self._deliver(entry, outcome)

    def _deliver(self, entry: OutboxEntry, outcome: Committed | Rejected) -> None:
        assert outcome.reply is not None and outcome.receipt is not None
        codes = parse_verdicts(outcome.receipt, entry.batches) if isinstance(outcome, Committed) else ()
        failure = "" if isinstance(outcome, Committed) else outcome.code
        delivered = DeliveredEntry(
            position=entry.position,
            start=entry.start,
            tx_id=outcome.reply.tx_id,
            height=outcome.reply.height,
            status=outcome.receipt.status,
            code=failure,
            verdicts=codes,
        )
        self._outbox.deliver(delivered)
        self._in_flight.discard(entry.position)
        self.codes.update(codes if codes else [failure] * sum(batch.count for batch in entry.batches))
        self._on_verdicts(
            Verdicts(
                gateway=self.name,
                start=entry.start,
                height=delivered.height,
                tx_id=delivered.tx_id,
                codes=codes,
                failure=failure,
            )
        )
        self.pump()


def parse_verdicts(receipt: Receipt, batches: Sequence[Batch]) -> tuple[str, ...]:
    """The codes that `readings.submit` returned, one per reading. Raises EncodingError for anything else."""
    kinds = "".join(batch.kinds for batch in batches)
    codes = expect_array(receipt.value, "verdicts", len(kinds))
    return tuple(expect_str(code, "verdict", 64) for code, kind in zip(codes, kinds, strict=True) if kind != NOTHING)


def begin_chains(
    network: bytes, columns: Sequence[MeterColumn], places: Mapping[str, Place], length_s: int
) -> tuple[GroupChain, ...]:
    """The chain of each group of these meters before its first batch; all registers were 0 at commissioning."""
    groups: dict[str, dict[int, tuple[str, str, int]]] = {}
    for column in columns:
        place = places[column.meter]
        groups.setdefault(place.group, {})[place.number] = (column.meter, column.kind, 0)
    return tuple(GroupChain.begin(network, group, length_s, meters) for group, meters in groups.items())


class GatewayFleet:
    """Gateways of one process, each with its own key, TLS identity, links and durable outbox, in the reactor's thread.

    `verdicts` keeps what was decided, in order.
    """

    def __init__(
        self,
        reactor: Any,
        network: ClientNetwork,
        authority: SigningKey,
        directory: Path,
        assignments: Sequence[GatewayMeters],
        series: Series,
        *,
        places: Mapping[str, Place],
        on_verdicts: Callable[[Verdicts], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        """`places` are those of the meters, as the contract `meters` gave them; `authority` issues the gateways' TLS
        certificates; `directory` gets one outbox each."""
        self.verdicts: list[Verdicts] = []
        self._on_verdicts = on_verdicts
        self._clients: list[TwistedClient] = []
        self._stores: list[LmdbStore] = []
        self.gateways: list[Gateway] = []  # in the order of the assignments
        for number, assigned in enumerate(assignments):
            name = f"gw-{number + 1}"
            client = TwistedClient(reactor, network, issue_client_certificate(authority, name))
            store = LmdbStore(directory / name, tables=OUTBOX_TABLES, map_bytes=OUTBOX_BYTES)
            outbox = Outbox(store)
            for chain in begin_chains(network.network_id, assigned.columns, places, series.interval_s):
                outbox.register_group(chain)
            gateway = Gateway(
                name=name,
                account=Account(assigned.key, network=network.network_id),
                outbox=outbox,
                client=client,
                on_verdicts=self._verdicts_arrived,
                on_failure=on_failure,
            )
            self._clients.append(client)
            self._stores.append(store)
            self.gateways.append(gateway)

    def start(self) -> "Deferred[list[None]]":
        """Dial the replicas; fires when every gateway has reached the network."""
        for client in self._clients:
            client.start()
        return gatherResults([gateway.start() for gateway in self.gateways], consumeErrors=True)

    def stop(self) -> None:
        """Close links and outboxes; what waits in them is still there at the next start."""
        for client in self._clients:
            client.stop()
        for store in self._stores:
            store.close()

    @property
    def codes(self) -> Counter[str]:
        """Verdicts of all readings so far, by code."""
        return sum((gateway.codes for gateway in self.gateways), Counter())

    def _verdicts_arrived(self, verdicts: Verdicts) -> None:
        self.verdicts.append(verdicts)
        self._on_verdicts(verdicts)
