"""A small chain with fixed keys and a stand-in for the contract runtime: for vectors and for this room's tests.

The stand-in knows these methods: `put` writes its arguments under the contract, `drop` deletes them, `fail` is
reverted, `later` puts a call on the schedule; `govern` decides its argument as the next configuration, without
the checks that the real runtime makes. Scheduled calls that are due run first, write what they ran, and leave
the schedule, as the real runtime's do.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from ledger.block import Block, Header
from ledger.chain import LEDGER_TABLES, Chain
from ledger.configuration import configuration_key, encode_decision
from ledger.encoding import decode, encode
from ledger.execution import BlockOutcome, BlockPlan, CallOutcome, ScheduledOutcome, StateReader
from ledger.genesis import (
    ContractReference,
    Genesis,
    GenesisContract,
    Member,
    ProtocolParameters,
    parse_genesis,
    write_genesis,
)
from ledger.keys import SigningKey
from ledger.quorum_certificate import QuorumCertificate, vote_bytes
from ledger.store import MemoryStore, Store
from ledger.transaction import Event, SignedTransaction, Transaction, sign_transaction
from ledger.world_state import StateSnapshot

TIME_MS = 1_750_000_000_000


def seeded_key(name: str) -> SigningKey:
    """A key that is the same in every run."""
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


CLIENT = seeded_key("client")
OTHER_CLIENT = seeded_key("other client")


def genesis_bytes(name: str = "sample", members: int = 4, protocol: ProtocolParameters | None = None) -> bytes:
    """A genesis of so many members and one contract."""
    return write_genesis(
        name=name,
        time_ms=TIME_MS,
        protocol=protocol or ProtocolParameters(),
        members=[
            Member(
                id=index,
                name=f"cooperative {index}",
                consensus_key=seeded_key(f"consensus {index}").public_key,
                transport_key=seeded_key(f"transport {index}").public_key,
                operator_key=seeded_key(f"operator {index}").public_key,
            )
            for index in range(members)
        ],
        client_authorities=[seeded_key("authority").public_key],
        contracts=[
            GenesisContract(
                name="notes",
                source='"""Notes."""\n',
                arguments=(7, -1, "text", True, b"\x00\xff", ContractReference(contract="notes"), [1, [b"x"]]),
            )
        ],
    )


GENESIS_BYTES = genesis_bytes()
GENESIS = parse_genesis(GENESIS_BYTES)


def transaction(nonce: int, *, client: SigningKey = CLIENT, **changes: Any) -> SignedTransaction:
    """A signed transaction of the sample network."""
    fields: dict[str, Any] = {
        "network": GENESIS.network_id,
        "sender": client.public_key,
        "nonce": nonce,
        "expiry_height": 1000,
        "expiry_time": TIME_MS // 1000 + 3600,
        "gas_limit": 100_000,
        "contract": "notes",
        "method": "put",
        "arguments": (nonce, "note"),
    }
    return sign_transaction(Transaction(**fields | changes), client)


def certify(
    header: Header, genesis: Genesis = GENESIS, signers: Sequence[int] = (0, 1, 2), key_names: str = "consensus {}"
) -> QuorumCertificate:
    """A certificate with the votes of these members."""
    message = vote_bytes(genesis.network_id, header.epoch, header.height, header.hash)
    votes = tuple((signer, seeded_key(key_names.format(signer)).sign(message)) for signer in signers)
    return QuorumCertificate(epoch=header.epoch, height=header.height, header_hash=header.hash, signatures=votes)


def run_block(plan: BlockPlan, state: StateReader) -> BlockOutcome:
    """What the stand-in runtime makes of a plan."""
    writes: dict[bytes, bytes | None] = {}
    scheduled = []
    pending = {key for key, _ in state.scan(b"s/")}
    for key in sorted(pending):
        due, call_id = int.from_bytes(key[2:10], "big"), int.from_bytes(key[10:18], "big")
        if due * 1000 <= plan.time_ms:
            writes[key] = None
            writes[b"c/notes/ran/%d" % call_id] = encode(plan.height)
            scheduled.append(ScheduledOutcome(due=due, call_id=call_id, outcome=outcome(gas_used=11)))
    calls = []
    for index, call in enumerate(plan.calls):
        key = b"c/%s/%s" % (call.contract.encode(), call.sender[:4].hex().encode())
        if call.method == "fail":
            calls.append(outcome(status="reverted", code="NO"))
            continue
        if call.method == "later":
            due = decode(call.arguments)[0]  # type: ignore[index]
            key = b"s/" + due.to_bytes(8, "big") + (plan.height * 1000 + index).to_bytes(8, "big")
        writes[key] = None if call.method == "drop" else call.arguments
        if call.method == "govern":
            (document,) = decode(call.arguments)  # type: ignore[misc]
            writes[configuration_key(plan.epoch + 1)] = encode_decision(plan.height + plan.window, document)
        event = Event.of(call.contract, "Noted", {"height": plan.height, "index": index})
        calls.append(outcome(result=encode(index), events=(event,)))
    kept = [key for key in pending if key not in writes]
    kept += [key for key, value in writes.items() if key.startswith(b"s/") and value is not None]
    return BlockOutcome(
        scheduled=tuple(scheduled),
        calls=tuple(calls),
        writes=tuple(sorted(writes.items())),
        next_due=int.from_bytes(min(kept)[2:10], "big") if kept else None,
    )


def outcome(
    *,
    status: str = "ok",
    code: str = "",
    gas_used: int = 1000,
    result: bytes = encode(None),
    events: tuple[Event, ...] = (),
) -> CallOutcome:
    """A call's outcome."""
    return CallOutcome(status=status, code=code, gas_used=gas_used, result=result, events=events)


GENESIS_OUTCOME = BlockOutcome(
    scheduled=(),
    calls=(outcome(),),
    writes=tuple((b"c/notes/founded/%03d" % number, encode(number)) for number in range(40)),
    next_due=None,
)


def new_chain(store: Store | None = None, genesis: Genesis = GENESIS) -> Chain:
    """A chain with its genesis block."""
    chain = Chain.open(MemoryStore(LEDGER_TABLES) if store is None else store, genesis)
    chain.create(GENESIS_OUTCOME)
    return chain


def open_state(chain: Chain) -> StateSnapshot:
    """The state after the head. To be closed (it is a context manager)."""
    return StateSnapshot(chain._store.snapshot())


def execute(chain: Chain, *transactions: SignedTransaction, time_ms: int | None = TIME_MS + 1000) -> Block:
    """Plans, runs and commits the next block; `time_ms` None is the null request."""
    planned = chain.plan(chain.height + 1, time_ms, transactions)
    with open_state(chain) as state:
        ran = run_block(planned.plan, state)
    return chain.commit(planned, ran)
