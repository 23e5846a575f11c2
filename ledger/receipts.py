"""From what contracts did to receipts: scheduled calls first, then one for each transaction that was not skipped."""

from typing import Final

from ledger.block_parts import PlannedBlock
from ledger.encoding import encode
from ledger.errors import InvariantViolation
from ledger.execution import BlockOutcome, CallOutcome, scheduled_call_id
from ledger.receipt_index import SCHEDULED_SENDER
from ledger.transaction import Receipt, make_receipt

_REFUSED_RESULT: Final = encode(None)


def compute_receipts(planned: PlannedBlock, outcome: BlockOutcome) -> list[Receipt]:
    """The receipts of a block in their order.

    Raises InvariantViolation where the outcome does not answer exactly the calls that the verdicts allow.
    """
    expected = len(planned.plan.calls)
    if len(outcome.calls) != expected:
        raise InvariantViolation("outcome", expected=expected, got=len(outcome.calls))
    receipts = [
        make_receipt(
            (scheduled_call_id(planned.height, run.due, run.call_id), SCHEDULED_SENDER, run.call_id, *run.outcome)
        )
        for run in outcome.scheduled
    ]
    outcomes = iter(outcome.calls)
    for signed, verdict in zip(planned.transactions, planned.verdicts, strict=True):
        if verdict.is_skipped:
            continue
        call = next(outcomes) if verdict.is_executed else _refusal(verdict.code)
        transaction = signed.transaction
        receipts.append(make_receipt((signed.tx_id, transaction.sender, transaction.nonce, *call)))
    return receipts


def _refusal(code: str) -> CallOutcome:
    return CallOutcome(status="refused", code=code, gas_used=0, result=_REFUSED_RESULT, events=())
