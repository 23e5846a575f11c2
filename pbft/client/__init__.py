"""The client library: one session core without I/O (`pbft.core.client_session`), two faces over it.

    TwistedClient(reactor, network, identity)      Deferreds, for services that run a reactor already
    Client.open(directory)                         blocking, for scripts; runs the reactor in a thread of its own

Both have the same methods, the first with Deferreds:

    submit(account, contract, method, *arguments, gas_limit=, follows=, ...)  -> Committed | Rejected | OutcomeUnknown
    submit_signed(signed_transaction, ...)                                    -> the same; safe to repeat
    query(contract, method, *arguments, read="vouched", min_height=0)         -> QueryAnswer(value, height, ...)
    receipt_proof(tx_id)  -> bytes      a proof file, verified before it is returned
    state_proof(key)      -> VerifiedState
    head()                -> HeadAnswer

`pbft.client.code` makes the calls that bring contracts: `submit(account, *code.deploy("counter", source, 5))`.

Read levels (D11, D48), shown in every answer: `local` is one replica's word; `vouched` is W byte-equal answers at one
height, genuine though it may be old, never below `min_height`; `latest` is ordered like a write; `proof` is one
replica's answer under a quorum certificate, checked against the genesis file alone.

Importing this package installs no reactor: the faces take one, or import it when a `Client` starts its thread.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

from pbft.core.client_session import Committed, Outcome, OutcomeUnknown, Rejected

if TYPE_CHECKING:
    from pbft.client.account import Account
    from pbft.client.blocking import Client
    from pbft.client.twisted_client import TwistedClient

__all__ = ["Account", "Client", "Committed", "Outcome", "OutcomeUnknown", "Rejected", "TwistedClient"]

_FACES: Final = {
    "Account": "pbft.client.account",
    "Client": "pbft.client.blocking",
    "TwistedClient": "pbft.client.twisted_client",
}
"""Imported when they are asked for: commands that only read a proof need no Twisted."""


def __getattr__(name: str) -> Any:
    if name in _FACES:
        return getattr(importlib.import_module(_FACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
