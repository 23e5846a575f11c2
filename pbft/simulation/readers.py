"""Readers of a simulated cluster: vouched views, and proofs of receipts and nonce windows, held against the truth.

They ask with the client library's questions, in the middle of the faults, of doors that may lie or lag. What they came
to believe must be what the ledger of a correct replica says of that height, however long ago it was (D11, D47, D48).
"""

from collections import Counter
from functools import partial
from typing import Final

from ledger.admission import NonceWindow, nonce_key, parse_nonce_window
from ledger.encoding import decode, encode
from ledger.errors import InvalidProof
from ledger.proofs import VerifiedReceipt, VerifiedState, verify_proof_from
from ledger.transaction import parse_receipt, parse_transaction
from pbft.client.questions import ProofQuestion, ReadQuestion, VouchedView
from pbft.core.client_session import Committed
from pbft.core.quorum import Quorums
from pbft.node.assembly import Node
from pbft.simulation.checkers import Violation
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster
from pbft.simulation.outcome import TOTAL_KEY
from pbft.wire.client_frames import Proof, View

TOTAL_METHODS: Final = frozenset({"add", "add_private"})


class Readers:
    """What was asked, and what was believed."""

    def __init__(self, cluster: Cluster, clients: Clients) -> None:
        self.believed: Counter[str] = Counter()
        self._cluster, self._clients = cluster, clients
        self._asked = 0
        self._quorums = Quorums.of(len(cluster.machines))
        self._views: list[VouchedView] = []
        self._receipts: list[VerifiedReceipt] = []
        self._windows: list[tuple[bytes, VerifiedState]] = []

    def ask(self, client: int) -> None:
        """One question, in turn: for the total, for a committed transaction's receipt, for a client's nonce window."""
        committed = [s.submission.tx_id for s in self._clients.sessions if isinstance(s.outcome, Committed)]
        kind, self._asked = self._asked % 3, self._asked + 1
        if kind == 0:
            self._ask_total()
        elif kind == 1 and committed:
            self._ask_receipt(self._cluster.random.choice(committed))
        else:
            self._ask_window(self._cluster.client_key(client).public_key)

    def _ask_total(self) -> None:
        view = partial(View, contract="register", method="total", arguments=encode([TOTAL_KEY]))
        self._clients.ask(
            lambda correlation: ReadQuestion(
                view(correlation=correlation, min_height=self._clients.belief.height or 0),
                replicas=range(self._quorums.n),
                wanted=self._quorums.weak,
            ),
            self._views.append,
        )

    def _ask_receipt(self, tx_id: bytes) -> None:
        def verify(proof: bytes) -> None:
            verified = self._verify(proof)
            if not isinstance(verified, VerifiedReceipt) or verified.receipt.tx_id != tx_id:
                raise InvalidProof("other", "a proof of something else")
            self._receipts.append(verified)

        self._ask_proof(verify, tx_id=tx_id, key=None)

    def _ask_window(self, client: bytes) -> None:
        def verify(proof: bytes) -> None:
            verified = self._verify(proof)
            if not isinstance(verified, VerifiedState) or verified.key != nonce_key(client):
                raise InvalidProof("other", "a proof of something else")
            self._windows.append((client, verified))

        self._ask_proof(verify, tx_id=None, key=nonce_key(client))

    def _ask_proof(self, verify: object, *, tx_id: bytes | None, key: bytes | None) -> None:
        replicas = self._cluster.random.sample(range(self._quorums.n), self._quorums.n)
        self._clients.ask(
            lambda correlation: ProofQuestion(
                Proof(correlation=correlation, tx_id=tx_id, key=key),
                subject="what a reader asked",
                replicas=replicas,
                verify=verify,  # type: ignore[arg-type]
            ),
            lambda proof: None,
        )

    def _verify(self, proof: bytes) -> VerifiedReceipt | VerifiedState:
        return verify_proof_from(proof, self._cluster.genesis.configuration, self._cluster.signing.verify)

    def check(self, node: Node) -> None:
        """Everything believed, against the ledger of a correct replica. Raises Violation."""
        totals, windows = _replay(node)
        for view in self._views:
            told = decode(view.result) if view.status == "ok" else None
            if told != totals[view.height]:
                raise Violation("readers", f"the total at {view.height} was {totals[view.height]}, vouched as {told!r}")
        for verified in self._receipts:
            height = verified.header.height
            if node.chain.block(height).receipts[verified.index] != verified.receipt.to_bytes():
                raise Violation("readers", f"a receipt proved at {height} is not there")
        for client, state in self._windows:
            window = NonceWindow() if state.value is None else parse_nonce_window(state.value)
            if window != windows[state.header.height].get(client, NonceWindow()):
                raise Violation("readers", f"a nonce window proved at {state.header.height} was another one")
        self.believed = Counter(view=len(self._views), receipt=len(self._receipts), window=len(self._windows))


def _replay(node: Node) -> tuple[list[int], list[dict[bytes, NonceWindow]]]:
    """The register's total and every client's nonce window after each height, from the blocks alone."""
    totals, windows = [0], [dict[bytes, NonceWindow]()]
    for height in range(1, node.chain.height + 1):
        block = node.chain.block(height)
        calls = {signed.tx_id: signed.transaction for signed in map(parse_transaction, block.transactions)}
        total, seen = totals[-1], dict(windows[-1])
        for receipt in map(parse_receipt, block.receipts):
            transaction = calls.get(receipt.tx_id)
            if transaction is None or receipt.status == "refused":
                continue
            seen[receipt.sender] = seen.get(receipt.sender, NonceWindow()).compute_with(receipt.nonce)
            if receipt.status == "ok" and transaction.method in TOTAL_METHODS:
                number = transaction.arguments[1]
                assert isinstance(number, int)
                total += number
        totals.append(total)
        windows.append(seen)
    return totals, windows
