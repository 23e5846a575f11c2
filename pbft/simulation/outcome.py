"""What must hold when a run has ended: the clients' beliefs, the ledgers and the proofs tell one story.

It checks "completion", "exactly once", "replies", "state", "proofs", "certificates" and "halts" of `violation`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from contracts.runtime import Runtime
from ledger.admission import EXPIRED, NONCE_WINDOW
from ledger.encoding import Value, decode, encode
from ledger.execution import Call, CallOutcome
from ledger.proofs import VerifiedReceipt, verify_proof_from
from ledger.store import MemoryStore, Store
from ledger.transaction import parse_receipt, parse_transaction
from ledger.world_state import STATE_TABLES, StateSnapshot, WorldState
from pbft.core.client_session import NONCE_USED, Committed, Outcome, Rejected, ReplyContent, Submission
from pbft.node.assembly import Node
from pbft.node.inline_worker import InlineWorker
from pbft.simulation.checkers import Violation
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster

TOTAL_KEY: Final = b"total"  # the register's key that all additions go to
VIEW_GAS: Final = 100_000
PROOFS_CHECKED: Final = 3  # a run; each is the whole path from receipt to genesis


def is_level(cluster: Cluster) -> bool:
    """Whether all correct nodes run and stand on one head, certified, with nothing left to do."""
    correct = cluster.correct
    missing = len(cluster.machines) - len(cluster.checkers.faulty | cluster.decayed) - len(correct)
    heads = {node.chain.head.hash for node in correct}
    return (
        missing == 0
        and len(heads) == 1
        and all(_is_certified(node) for node in correct)
        and all(node.chain.next_due_ms is None for node in correct)
    )


def _is_certified(node: Node) -> bool:
    """Whether the head's certificate is in the ledger: the core knows it first, until its turn ends."""
    certificate = node.chain.newest_certificate()
    stored = 0 if certificate is None else certificate.height
    return node.replica.certified_height == node.chain.height == stored


def check_outcome(cluster: Cluster, clients: Clients) -> None:
    """Raises Violation where something does not hold."""
    correct = cluster.correct
    cluster.checkers.check_certificates(correct)
    check_halts(cluster)
    if cluster.checkers.told:
        raise Violation("durable reply", f"told, and never executed: heights {sorted(cluster.checkers.told)}")
    for node in correct:
        machine = cluster.machine_of(node)
        if compute_state_root(machine.ledger) != node.chain.head.state_root:
            raise Violation(
                "state", f"the values of r{machine.replica} are not those of its head at {node.chain.height}"
            )
    committed = _check_replies(clients, correct)
    additions = sum(_addend(raw) for raw in committed)
    calls = sum(parse_transaction(raw).transaction.method == "later" for raw in committed)
    for node in correct:
        total, runs = read(cluster, node, "total", [TOTAL_KEY]), read(cluster, node, "run_count", [])
        if (total, runs) != (additions, calls):
            raise Violation("exactly once", f"{total} of {additions} added, {runs} of {calls} calls ran")
    _check_proofs(cluster, correct, committed)


def check_halts(cluster: Cluster) -> None:
    """No correct replica has stopped itself, but for a full disk, or for a record that its disk let rot."""
    for replica, reason in cluster.halts:
        is_decay = replica in cluster.decayed and "damaged" in reason
        if replica not in cluster.checkers.faulty and "disk_full" not in reason and not is_decay:
            raise Violation("halts", f"r{replica}: {reason}")


def compute_state_root(ledger: Store) -> bytes:
    """The root of the values that a disk holds, from nothing but these values."""
    with StateSnapshot(ledger.snapshot()) as state:
        values = list(state.scan(b""))
    empty = MemoryStore(STATE_TABLES)
    return WorldState(empty).compute_update(empty, values).root


def read(cluster: Cluster, node: Node, method: str, arguments: Sequence[Value]) -> int:
    """A number that a view of the register gives at one node."""
    answers: list[CallOutcome] = []
    call = Call(
        tx_id=bytes(32),
        sender=bytes(32),
        contract="register",
        method=method,
        arguments=encode(list(arguments)),
        gas_limit=VIEW_GAS,
    )
    ledger = cluster.machine_of(node).ledger
    worker = InlineWorker(cluster.runtime or Runtime(), ledger)
    worker.run_view(call, node.chain.height, node.chain.head.time_ms, cluster.genesis.network_id, answers.append)
    value = decode(answers[0].result)
    if not isinstance(value, int):
        raise Violation("state", f"{method} gives {value!r}")
    return value


def _addend(raw: bytes) -> int:
    transaction = parse_transaction(raw).transaction
    number = transaction.arguments[1] if transaction.method in {"add", "add_private"} else 0
    assert isinstance(number, int)
    return number


def _check_replies(clients: Clients, correct: Sequence[Node]) -> list[bytes]:
    """The transactions that clients believe committed, each once."""
    committed: dict[bytes, bytes] = {}  # tx id -> raw
    nonces: Counter[tuple[bytes, int]] = Counter()
    for session in clients.sessions:
        submission, outcome = session.submission, session.outcome
        if outcome is None:
            raise Violation("completion", f"nonce {submission.nonce} of {submission.client.hex()[:8]} has no outcome")
        for node in correct:
            _check_end(node, submission, outcome)
        if isinstance(outcome, Committed):
            if submission.tx_id not in committed:
                nonces[submission.client, submission.nonce] += 1
            committed[submission.tx_id] = submission.raw
        elif outcome.code not in {NONCE_USED, "FAILED"} and not _may_expire(submission, correct[0]):
            raise Violation("replies", f"a valid transaction was rejected: {outcome.code}")
    if nonces and max(nonces.values()) > 1:
        raise Violation("exactly once", "two transactions of one nonce committed")
    return list(committed.values())


def _check_end(node: Node, submission: Submission, outcome: Outcome) -> None:
    """A session's end against one ledger. An expiry leaves the nonce free, so a later transaction may have used it."""
    used = node.chain.find_used(submission.client, submission.nonce)
    if isinstance(outcome, Rejected) and outcome.code == EXPIRED:
        if used is not None and parse_receipt(used.receipt).tx_id == submission.tx_id:
            raise Violation("replies", f"nonce {submission.nonce} was proved unused, and is used")
        used = node.chain.receipt(submission.tx_id)
    if outcome.reply is None or (used is None and _is_left_behind(node, outcome.reply)):
        return
    if used is None or used.receipt != outcome.reply.receipt:
        raise Violation("replies", f"a client was told a receipt that r{node.replica.replica_id} lacks")


def _is_left_behind(node: Node, reply: ReplyContent) -> bool:
    """Whether a snapshot took the node past the receipt's block without it: it carries the receipts of used nonces that
    can still be asked for, and no others (D39)."""
    is_recent = reply.nonce >= node.chain.nonce_window(reply.client).base - NONCE_WINDOW
    is_carried = is_recent and parse_receipt(reply.receipt).status != "refused"
    return not node.chain.has_body(reply.height) and not is_carried


def _may_expire(submission: Submission, node: Node) -> bool:
    """Whether the run went past the transaction's expiry."""
    head = node.chain.head
    return head.height >= submission.expiry_height or head.time_ms > submission.expiry_time * 1000


def name_end(outcome: Outcome | None) -> str:
    """How a session ended, in one word for the report."""
    if outcome is None:
        return "none"
    if isinstance(outcome, Committed):
        return "committed"
    return outcome.code if outcome.reply is not None else f"{outcome.code}_by_proof"


def _check_proofs(cluster: Cluster, correct: Sequence[Node], committed: Sequence[bytes]) -> None:
    for raw in cluster.random.sample(committed, min(PROOFS_CHECKED, len(committed))):
        tx_id = parse_transaction(raw).tx_id
        node = cluster.random.choice([node for node in correct if node.chain.receipt(tx_id) is not None])
        proved = verify_proof_from(
            node.chain.receipt_proof(tx_id), cluster.genesis.configuration, cluster.signing.verify
        )
        if not isinstance(proved, VerifiedReceipt) or proved.receipt.tx_id != tx_id:
            raise Violation("proofs", f"a proof of {tx_id.hex()} proves something else")
