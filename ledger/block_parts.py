"""What a block is planned and committed with: its calls, its writes to the state, and when the next call is due."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.admission import NONCES_PREFIX, NonceWindow, Verdict, nonce_key
from ledger.errors import InvariantViolation
from ledger.execution import BlockPlan, Call, make_call
from ledger.late_values import LateValues
from ledger.payload import read_values
from ledger.store import ReadView
from ledger.transaction import SignedTransaction

SCHEDULE_PREFIX: Final = b"s/"
"""State keys of scheduled calls: prefix, due seconds (8 bytes, big-endian), call id (8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBlock:
    """A block between its two halves: what is decided before the contracts run."""

    plan: BlockPlan  # what the worker gets
    parent_hash: bytes
    batch_time_ms: int | None  # None for a null request
    batch_digest: bytes
    transactions_root: bytes
    transactions: tuple[SignedTransaction, ...]
    verdicts: tuple[Verdict, ...]  # one per transaction
    windows: tuple[tuple[bytes, NonceWindow], ...]  # (client, nonce window after the block) where it changed

    @property
    def height(self) -> int:
        """The height that this block gets."""
        return self.plan.height


def make_calls(
    transactions: Sequence[SignedTransaction], verdicts: Sequence[Verdict], payloads: Mapping[bytes, bytes]
) -> tuple[Call, ...]:
    """What the worker is asked to run: the transactions that execute, in the batch's order."""
    judged = zip(transactions, verdicts, strict=True)
    return tuple([_make_call(signed, payloads) for signed, verdict in judged if verdict.is_executed])


def _make_call(signed: SignedTransaction, payloads: Mapping[bytes, bytes]) -> Call:
    """A transaction's call, with its private payload if it declares one (D50)."""
    transaction = signed.transaction
    payload = payloads.get(signed.tx_id, b"")
    if bool(payload) != bool(transaction.commitments):
        raise InvariantViolation("payload", "a body without its payloads reached execution", tx_id=signed.tx_id)
    method = (transaction.contract, transaction.method)
    arguments, values = signed.encoded_arguments, read_values(payload)
    return make_call((signed.tx_id, transaction.sender, *method, arguments, transaction.gas_limit, values))


def merge_writes(
    writes: Sequence[tuple[bytes, bytes | None]], windows: Sequence[tuple[bytes, NonceWindow]]
) -> list[tuple[bytes, bytes | None]]:
    """The contracts' writes and the chain's own, ascending. The key space of nonces is the chain's alone."""
    for key, _ in writes:
        if key.startswith(NONCES_PREFIX):
            raise InvariantViolation("write", "the runtime wrote a nonce window", got=key)
    return sorted([*writes, *[(nonce_key(client), window.to_bytes()) for client, window in windows]])


def earliest_due_ms(
    values: LateValues, view: ReadView, writes: Sequence[tuple[bytes, bytes | None]] = ()
) -> int | None:
    """When the earliest scheduled call is due once these writes are applied."""
    changed = {key: value for key, value in writes if key.startswith(SCHEDULE_PREFIX)}
    waiting = [key for key, value in changed.items() if value is not None]
    for key, _ in values.scan(view, SCHEDULE_PREFIX):
        if key not in changed:
            waiting.append(key)
            break
    if not waiting:
        return None
    return int.from_bytes(min(waiting)[len(SCHEDULE_PREFIX) : len(SCHEDULE_PREFIX) + 8], "big") * 1000
