"""What a replica asks its contract worker: canonical bytes both ways, one answer per question.

Questions, beside the greeting of every helper (`helper_messages`): `["check", source]`, `["block", plan]`, `["view",
call..., height, time, network]` and `["genesis", [[name, source, arguments], ...], time, network]`. A fault is never a
transaction's result (D54). Parsers are total and bounded and raise EncodingError.
"""

from collections.abc import Sequence
from typing import Final

from contracts.verdict import SourceVerdict, parse_source_verdict
from ledger.encoding import encode
from ledger.errors import EncodingError
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome, parse_block_outcome
from ledger.genesis import GenesisContract
from pbft.node.helper_messages import parse_answer

UNSURVIVED: Final = "WORKER"  # the code of a source that no worker survives: not a verdict of the checker (D53)


def encode_check(source: bytes) -> bytes:
    """Is this a contract?"""
    return encode(["check", source])


def encode_block(plan: BlockPlan) -> bytes:
    """Execute this block on the newest committed state."""
    return encode(["block", plan.to_bytes()])


def encode_genesis(contracts: Sequence[GenesisContract], time_ms: int, network: bytes) -> bytes:
    """Deploy these contracts on the empty state and run their @init, in order."""
    sources = [[contract.name, contract.source, contract.encoded_arguments()] for contract in contracts]
    return encode(["genesis", sources, time_ms, network])


def encode_view(call: Call, height: int, time_ms: int, network: bytes) -> bytes:
    """Run this read on the newest committed state."""
    fields = [call.tx_id, call.sender, call.contract, call.method, call.arguments, call.gas_limit]
    return encode(["view", fields, height, time_ms, network])


def parse_check_answer(message: bytes) -> SourceVerdict:
    """The checker's verdict. Raises EncodingError."""
    return parse_source_verdict(parse_answer(message))


def parse_block_answer(message: bytes, calls: int) -> BlockOutcome:
    """The outcome of a block or of the genesis, which asked for so many calls. Raises EncodingError: for a fault, and
    for a worker that answers more or fewer, which is as good as no answer (D54).
    """
    outcome = parse_block_outcome(parse_answer(message))
    if len(outcome.calls) != calls:
        raise EncodingError("calls", "one outcome for each call is expected", expected=calls, got=len(outcome.calls))
    return outcome


def parse_view_answer(message: bytes) -> CallOutcome:
    """The outcome of a view, which travels as a block outcome of one call. Raises EncodingError."""
    return parse_block_answer(message, 1).calls[0]
