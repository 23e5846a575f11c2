"""The blocking client, for scripts: the same methods as `TwistedClient`, with the reactor in a thread of its own.

    with Client.open(Path(".gridquorum/dev-4")) as client:       # genesis.json, network.json and client/ are there
        outcome = client.submit(client.account, "ping", "ping")

The process's one reactor is imported when the first `Client` is opened, never by importing this module, and its thread
goes on until the process ends, because a reactor cannot be started twice. A program that runs the reactor itself uses
`TwistedClient`.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from ledger.keys import SigningKey
from ledger.transaction import SignedTransaction
from pbft.client.account import Account, NonceKeeper
from pbft.client.network import CLIENT_FOLDER, ClientNetwork, read_network
from pbft.client.options import ClientOptions
from pbft.client.questions import HeadAnswer
from pbft.client.submissions import SubmitResult
from pbft.client.twisted_client import QueryAnswer, ReadLevel, TwistedClient
from pbft.node.client_identity import read_client
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

    def __init__(
        self,
        network: ClientNetwork,
        identity: TlsIdentity,
        *,
        key: SigningKey | None = None,
        options: ClientOptions | None = None,
    ) -> None:
        self.network = network
        self._key = key
        self._account: Account | None = None
        self._reactor = running_reactor()
        self._client = TwistedClient(self._reactor, network, identity, options=options)

    @classmethod
    def open(cls, directory: Path, *, options: ClientOptions | None = None) -> "Client":
        """A client of the network in `directory`, with the identity and account in its folder `client/`.

        Raises InvalidNetworkDirectory, IdentityError.
        """
        network = read_network(directory)
        identity = read_client(directory / CLIENT_FOLDER)
        return cls(network, identity.tls, key=identity.account, options=options)

    @property
    def account(self) -> Account:
        """The account that the client was opened with; its used nonces are read from the chain, once, by proof."""
        if self._account is None:
            if self._key is None:
                raise ValueError("this client was made without an account's key")
            nonces = self.read_nonces(self._key.public_key)
            self._account = Account(self._key, network=self.network.network_id, nonces=nonces)
        return self._account

    @property
    def address(self) -> bytes:
        """The address of that account, without asking the chain."""
        if self._key is None:
            raise ValueError("this client was made without an account's key")
        return self._key.public_key

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
        private: Sequence[object] = (),
        patience_ms: int | None = None,
    ) -> SubmitResult:
        """Sign a call and see it through; `private` values travel beside it (D50). Raises WindowFull, NotVouched."""
        return self._wait(
            lambda: self._client.submit(
                account,
                contract,
                method,
                *arguments,
                gas_limit=gas_limit,
                follows=follows,
                private=private,
                patience_ms=patience_ms,
            )
        )

    def submit_signed(
        self,
        signed: SignedTransaction,
        *,
        payload: bytes = b"",
        account: Account | None = None,
        patience_ms: int | None = None,
    ) -> SubmitResult:
        """See a signed transaction through; safe to repeat."""
        return self._wait(
            lambda: self._client.submit_signed(signed, payload=payload, account=account, patience_ms=patience_ms)
        )

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
