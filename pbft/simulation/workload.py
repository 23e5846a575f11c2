"""Clients of a simulated cluster: they submit through several replicas, ask again, and believe W equal receipts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger.block import Block
from ledger.encoding import Value
from ledger.payload import make_payload
from ledger.transaction import SignedTransaction, Transaction, parse_receipt, sign_transaction
from pbft.core.quorum import Quorums
from pbft.simulation.cluster import Cluster
from pbft.wire.codec import parse_request

RETRY_MS = 2_000


@dataclass(kw_only=True)
class Outstanding:
    """A transaction on its way, and who answered what."""

    signed: SignedTransaction
    payload: bytes  # private, beside it; empty without one
    through: tuple[int, ...]  # the replicas that it is handed to
    answers: dict[int, bytes] = field(default_factory=dict)  # replica -> receipt
    acknowledged: bytes | None = None  # the receipt that W replicas gave


class Workload:
    """Submits transactions and keeps the clients' side of the truth."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.outstanding: dict[bytes, Outstanding] = {}
        self.nonces: dict[int, int] = {}
        cluster.block_listeners.append(self._block_executed)

    def submit(
        self,
        client: int,
        method: str,
        arguments: Sequence[Value],
        *,
        through: Sequence[int],
        gas_limit: int = 50_000,
        nonce: int | None = None,
        expiry_height: int = 5_000,
        private: Sequence[Value] = (),
        contract: str = "register",
    ) -> SignedTransaction:
        """Signs a call, `private` values beside it; hands it to replicas now and every 2 s until W answered alike."""
        if nonce is None:
            nonce = self.nonces.get(client, 0)
            self.nonces[client] = nonce + 1
        commitments, payload = make_payload(private, draw=self.cluster.random.randbytes)
        key = self.cluster.client_key(client)
        transaction = Transaction(
            network=self.cluster.genesis.network_id,
            sender=key.public_key,
            nonce=nonce,
            expiry_height=expiry_height,
            expiry_time=self.cluster.now_ms // 1000 + 86_400,
            gas_limit=gas_limit,
            contract=contract,
            method=method,
            arguments=tuple(arguments),
            commitments=commitments,
        )
        signed = sign_transaction(transaction, key)
        self.outstanding[signed.tx_id] = Outstanding(signed=signed, payload=payload, through=tuple(through))
        self._hand_in(signed.tx_id)
        return signed

    def _hand_in(self, tx_id: bytes) -> None:
        request = self.outstanding[tx_id]
        if request.acknowledged is not None:
            return
        for replica in request.through:
            node = self.cluster.machines[replica].node
            if node is None:
                continue
            used = node.chain.find_used(request.signed.transaction.sender, request.signed.transaction.nonce)
            if used is not None:
                self._answer(replica, tx_id, used.receipt)
            else:
                node.driver.on_request(parse_request(request.signed.raw, node.rules, request.payload))
        self.cluster.at(RETRY_MS, lambda: self._hand_in(tx_id))

    def _block_executed(self, replica: int, block: Block) -> None:
        for data in block.receipts:
            receipt = parse_receipt(data)
            if receipt.tx_id in self.outstanding and receipt.status != "refused":
                self._answer(replica, receipt.tx_id, data)

    def _answer(self, replica: int, tx_id: bytes, receipt: bytes) -> None:
        request = self.outstanding[tx_id]
        request.answers[replica] = receipt
        weak = Quorums.of(len(self.cluster.machines)).weak
        if list(request.answers.values()).count(receipt) >= weak:
            request.acknowledged = receipt

    @property
    def is_done(self) -> bool:
        """Whether every transaction has its answer."""
        return all(request.acknowledged is not None for request in self.outstanding.values())

    def acknowledged(self) -> list[bytes]:
        """The ids of the transactions that have their answer."""
        return [tx_id for tx_id, request in self.outstanding.items() if request.acknowledged is not None]
