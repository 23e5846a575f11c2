"""The blocking client, for scripts: the same methods as `TwistedClient`, with the reactor in a thread of its own.

    with Client(read_network(data_dir), identity) as client:
        outcome = client.submit(account, "ping", "ping")

The process's one reactor is imported when the first `Client` is opened, never by importing this module, and its thread
goes on until the process ends, because a reactor cannot be started twice. A program that runs the reactor itself uses
`TwistedClient`.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from ledger.transaction import SignedTransaction
from pbft.client.account import Account, NonceKeeper
from pbft.client.network import ClientNetwork
from pbft.client.options import ClientOptions
from pbft.client.questions import HeadAnswer
from pbft.client.submissions import SubmitResult
from pbft.client.twisted_client import QueryAnswer, ReadLevel, TwistedClient
from pbft.node.tls import TlsIdentity

Result = TypeVar("Result")

_THREAD_NAME: Final = "gridquorum-reactor"
_start_lock: Final = threading.Lock()


def running_reactor() -> Any:
    """The process's reactor, running: started in a daemon thread if nothing runs it yet."""
    from twisted.internet import reactor as installed  # here: importing this module must install none

    reactor: Any = installed

    with _start_lock:
        if not reactor.running and not any(thread.name == _THREAD_NAME for thread in threading.enumerate()):
            started = threading.Event()
            reactor.callWhenRunning(started.set)
            run = {"installSignalHandlers": False}  # signals belong to the main thread
            threading.Thread(target=reactor.run, kwargs=run, name=_THREAD_NAME, daemon=True).start()
            started.wait()
    return reactor


class Client:
    """A client whose methods wait. Open it with `with`, from any thread but the reactor's."""

    def __init__(self, network: ClientNetwork, identity: TlsIdentity, *, options: ClientOptions | None = None) -> None:
        self.network = network
        self._reactor = running_reactor()
        self._client = TwistedClient(self._reactor, network, identity, options=options)

    def __enter__(self) -> "Client":
        blockingCallFromThread(self._reactor, self._client.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        blockingCallFromThread(self._reactor, self._client.stop)

    def submit(
        self,
        account: Account,
        contract: str,
        method: str,
        *arguments: object,
        gas_limit: int | None = None,
        follows: int | None = None,
        patience_ms: int | None = None,
    ) -> SubmitResult:
        """Sign a call and see it through. Raises WindowFull, NotVouched."""
        return self._wait(
            lambda: self._client.submit(
                account,
                contract,
                method,
                *arguments,
                gas_limit=gas_limit,
                follows=follows,
                patience_ms=patience_ms,
            )
        )

    def submit_signed(
        self, signed: SignedTransaction, *, account: Account | None = None, patience_ms: int | None = None
    ) -> SubmitResult:
        """See a signed transaction through; safe to repeat."""
        return self._wait(lambda: self._client.submit_signed(signed, account=account, patience_ms=patience_ms))

    def query(
        self,
        contract: str,
        method: str,
        *arguments: object,
        read: ReadLevel = "vouched",
        min_height: int = 0,
        replica: int | None = None,
        account: Account | None = None,
        patience_ms: int | None = None,
    ) -> QueryAnswer:
        """Call a view at a read level. Raises NotVouched, QueryFailed."""
        return self._wait(
            lambda: self._client.query(
                contract,
                method,
                *arguments,
                read=read,
                min_height=min_height,
                replica=replica,
                account=account,
                patience_ms=patience_ms,
            )
        )

    def receipt_proof(self, tx_id: bytes, *, patience_ms: int | None = None) -> bytes:
        """The verified proof file of a receipt. Raises NoProof."""
        return self._wait(lambda: self._client.receipt_proof(tx_id, patience_ms=patience_ms))

    def state_proof(self, key: bytes, *, min_height: int = 0, patience_ms: int | None = None) -> bytes:
        """The verified proof file of a key of the world state. Raises NoProof."""
        return self._wait(lambda: self._client.state_proof(key, min_height=min_height, patience_ms=patience_ms))

    def read_nonces(self, address: bytes) -> NonceKeeper:
        """The nonces that the chain says an account has used. Raises NoProof, NotVouched."""
        return self._wait(lambda: self._client.read_nonces(address))

    def head(self, *, wanted: int | None = None) -> HeadAnswer:
        """Where the replicas say they are. Raises NotVouched."""
        return self._wait(lambda: self._client.head(wanted=wanted))

    def _wait(self, ask: "Callable[[], Deferred[Result]]") -> Result:
        """Run `ask` in the reactor's thread and wait for what its Deferred fires with, or raise its failure."""
        return cast("Result", blockingCallFromThread(self._reactor, cast("Any", ask)))
