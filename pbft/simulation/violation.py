"""The names of all properties that a run can break, and the exception that says which.

The names are stable: a planted defect counts as found only where the property that it breaks reports it.
"""

from collections.abc import Mapping
from typing import Final

PROPERTIES: Final[Mapping[str, str]] = {
    # of the ledgers, while they grow
    "agreement": "one header hash at each height, at all replicas, over restarts",
    "validity": "blocks hold only what clients signed, under a time that some clock of the run may show",
    "exactly once": "every (client, nonce) has at most one receipt that used it, and one effect in the contract",
    "certificates": "every certificate that moves h, or that is stored, verifies against the configuration alone",
    "state": "the state root of a head is that of the values below it, computed anew",
    "monotonic": "view, certified and executed height of a replica never go back, over restarts",
    # of what replicas say, by the bytes on the wire
    "journal first": "nothing promised leaves a node before its durable journal says it",
    "one voice": "no node signs two different things for one (type, view, height), over restarts",
    "left view": "who has sent a VIEW-CHANGE says nothing new in an older view (M29)",
    "deposal": "who holds two contradicting proposals or NEW-VIEWs of the primary of a view has left that view",
    "prepared": "COMMITs of correct replicas for one (view, height) name one digest",
    "privacy": "no private value is in plain on any disk, in any answer, or in a frame that carries no body",
    "evidence": "what is kept as evidence convicts off line, and never a replica that said nothing false",
    # of each node, after every turn
    "bounds": "every collection of a replica, and every table of its door, stays within its named limit",
    # of what clients are told
    "durable reply": "a reply leaves when its block, or what makes it again, is durable, and says what that block says",
    "replies": "a client was told the receipt that the ledgers hold; of one nonce at most one transaction committed",
    "readers": "a vouched view, and a proved receipt or nonce window, is what the ledger says of that height",
    # of how a run ends
    "completion": "every session has its outcome, and every correct replica stands on one certified head",
    "proofs": "receipts verify off line against the genesis file alone",
    "halts": "no correct replica stopped itself but for a full disk, or for a record that its disk let rot",
    # of faults that a replica must notice
    "damage": "a journal whose record was changed stops the start",
}
"""What each name means."""


class Violation(AssertionError):
    """A property does not hold; `checker` is its name in PROPERTIES."""

    def __init__(self, checker: str, detail: str) -> None:
        assert checker in PROPERTIES, checker
        super().__init__(f"{checker}: {detail}")
        self.checker = checker
