"""What a replica asks its contract worker: canonical bytes both ways, one answer per question.

Questions: `["hello"]` first, `["check", source]`, `["block", plan]`, `["view", call..., height, time, network]` and
`["genesis", [[name, source, arguments], ...], time, network]`. Answers: `["ok", outcome]`, or `["fault", sentence]`
when the worker could not do its work, which is never a transaction's result (D54). Parsers are total and bounded and
raise EncodingError.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from contracts.verdict import SourceVerdict, parse_source_verdict
from ledger.encoding import decode, encode
from ledger.errors import EncodingError
from ledger.execution import OUTCOME_BYTES_MAX, BlockOutcome, BlockPlan, Call, CallOutcome, parse_block_outcome
from ledger.genesis import GenesisContract
from ledger.shapes import expect_array, expect_bytes, expect_name, expect_str

MESSAGE_BYTES_MAX: Final = OUTCOME_BYTES_MAX + 1_024  # an outcome and the little around it
UNSURVIVED: Final = "WORKER"  # the code of a source that no worker survives: not a verdict of the checker (D53)
CONFINEMENTS_MAX: Final = 16  # features of the kernel that a worker may name


def encode_greeting() -> bytes:
    """Who are you, and what holds you?"""
    return encode(["hello"])


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


def parse_greeting(message: bytes) -> Mapping[str, str]:
    """What confines the worker: feature of the kernel -> `on`, or why not. Raises EncodingError."""
    greeting = decode(_content(message))
    confinement = greeting.get("confinement") if isinstance(greeting, dict) else None
    if not isinstance(confinement, dict) or len(confinement) > CONFINEMENTS_MAX:
        raise EncodingError("confinement", "a map of few features is expected")
    return {expect_name(name, "feature"): expect_str(state, "state", 200) for name, state in confinement.items()}


def parse_check_answer(message: bytes) -> SourceVerdict:
    """The checker's verdict. Raises EncodingError."""
    return parse_source_verdict(_content(message))


def parse_block_answer(message: bytes, calls: int) -> BlockOutcome:
    """The outcome of a block or of the genesis, which asked for so many calls. Raises EncodingError: for a fault, and
    for a worker that answers more or fewer, which is as good as no answer (D54).
    """
    outcome = parse_block_outcome(_content(message))
    if len(outcome.calls) != calls:
        raise EncodingError("calls", "one outcome for each call is expected", expected=calls, got=len(outcome.calls))
    return outcome


def parse_view_answer(message: bytes) -> CallOutcome:
    """The outcome of a view, which travels as a block outcome of one call. Raises EncodingError."""
    return parse_block_answer(message, 1).calls[0]


def _content(message: bytes) -> bytes:
    kind, content = expect_array(decode(message, max_bytes=MESSAGE_BYTES_MAX), "answer", 2)
    if kind == "fault":
        raise EncodingError("fault", expect_str(content, "fault", 2_000))
    if kind != "ok":
        raise EncodingError("kind", "ok or fault is expected")
    return expect_bytes(content, "outcome")
