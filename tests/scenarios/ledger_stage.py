"""A stage for what execution decides: one real chain, and clients' sessions that hear what its replicas answer."""

from scenarios.narration import Narration
from vectors.ledger import sample_chain as sample

from ledger.chain import Chain
from ledger.transaction import SignedTransaction, parse_receipt
from pbft.core.client_session import ClientSession, Committed, Rejected, ReplyContent, SessionTiming, Submission

START_S = sample.TIME_MS // 1000


class LedgerStage(Narration):
    """One chain, as every correct replica has it; transactions are named by the script."""

    def __init__(self) -> None:
        super().__init__()
        self.chain: Chain = sample.new_chain()
        self._names: dict[bytes, str] = {}

    def sign(self, name: str, nonce: int, **changes: object) -> SignedTransaction:
        """A transaction of client a, under a name for the transcript."""
        signed = sample.transaction(nonce, **changes)
        self._names[signed.tx_id] = name
        told = {"nonce": nonce, **changes}
        if "expiry_time" in changes:
            told["expiry_time"] = f"+{signed.transaction.expiry_time - START_S} s"
        shown = ", ".join(f"{key} {value}" for key, value in told.items() if key != "arguments")
        self._write(f"  client signs {name}: {shown}", " " * 10)
        return signed

    def execute(self, *transactions: SignedTransaction, after_s: int = 1) -> None:
        """The next block, its agreed time `after_s` seconds after the genesis."""
        block = sample.execute(self.chain, *transactions, time_ms=(START_S + after_s) * 1000)
        outcomes = {}
        for data in block.receipts:
            receipt = parse_receipt(data)
            outcomes[receipt.tx_id] = receipt.code or receipt.status
        words = [f"{self._names[t.tx_id]} {outcomes.get(t.tx_id, 'skipped, no receipt')}" for t in transactions]
        self._write(f"  block {block.header.height}, agreed time +{after_s} s: {'; '.join(words)}", " " * 10)

    def execute_null(self) -> None:
        """The next block, null."""
        block = sample.execute(self.chain, time_ms=None)
        self._write(f"  block {block.header.height}, null: {len(block.receipts)} due calls ran", "")

    def session(self, signed: SignedTransaction) -> ClientSession:
        """A client's session for a transaction, in a network of four."""
        transaction = signed.transaction
        submission = Submission(
            client=transaction.sender,
            nonce=transaction.nonce,
            tx_id=signed.tx_id,
            expiry_height=transaction.expiry_height,
            expiry_time=transaction.expiry_time,
            raw=signed.raw,
        )
        return ClientSession(submission, replicas=4, weak_quorum=2, primary=0, timing=SessionTiming())

    def answer(self, session: ClientSession, *replicas: int) -> None:
        """Replicas that executed answer the session, as the door does: with what used the nonce."""
        submission = session.submission
        stored = self.chain.find_used(submission.client, submission.nonce) or self.chain.receipt(submission.tx_id)
        assert stored is not None
        receipt = parse_receipt(stored.receipt)
        content = ReplyContent(
            client=receipt.sender,
            nonce=receipt.nonce,
            tx_id=receipt.tx_id,
            height=stored.height,
            index=stored.index,
            receipt=stored.receipt,
            header_hash=stored.header_hash,
        )
        for replica in replicas:
            self._write(
                f"  R{replica} -> client  REPLY {self._names[receipt.tx_id]}: {receipt.code or receipt.status}"
                f" at height {stored.height}",
                " " * 10,
            )
            session.receive_reply(replica, content.to_bytes())

    def refuse(self, session: ClientSession, code: str, *replicas: int) -> None:
        """Doors refuse."""
        for replica in replicas:
            self._write(f"  R{replica} -> client  REFUSED {code}", " " * 10)
            session.receive_refusal(replica, code, 1)

    @staticmethod
    def belief(session: ClientSession) -> str:
        """What a client believes now."""
        match session.outcome:
            case Committed(reply=reply):
                return f"executed at height {reply.height}"
            case Rejected(code=code):
                return f"rejected, {code}"
        return "unknown yet"
