"""The meter and the frame of the call that runs: everything mutable that closures reach.

One machine belongs to one runtime and runs one call at a time. Guest code has no name for it, so nothing in a contract
can catch, reset or read the meter.
"""

from typing import TYPE_CHECKING, Any

from contracts.errors import Fault, OutOfGas
from contracts.gas import GAS, MEMORY_CELLS_MAX

if TYPE_CHECKING:
    from contracts.overlay import Overlay
    from ledger.execution import Call
    from ledger.transaction import Event


class Machine:
    """Gas and memory left, the frame of the running contract, and what the transaction has done so far."""

    __slots__ = (
        "address",
        "call",
        "calling",
        "cells",
        "cells_max",
        "contract",
        "depth",
        "epoch",
        "events",
        "gas",
        "height",
        "installed",
        "network",
        "overlay",
        "private_values",
        "read_only",
        "result",
        "sender",
        "signer",
        "time",
        "tx_id",
        "window",
    )

    def __init__(self, overlay: "Overlay") -> None:
        self.overlay = overlay
        self.gas = 0
        self.cells = 0
        self.cells_max = MEMORY_CELLS_MAX
        """Of each transaction; a test that is to meet the end of memory sooner gives less."""
        self.depth = 0
        self.contract = ""
        self.address = b""
        self.sender = b""
        self.signer = b""
        self.time = 0
        self.height = 0
        self.network = b""
        self.epoch = 0
        self.window = 0
        """A change of configuration that this block decides ends the epoch so many heights later."""
        self.tx_id = b""
        self.private_values: tuple[bytes, ...] = ()
        """The values of the transaction's private payload, encoded; none in views and scheduled calls (D50)."""
        self.read_only = False
        self.call: Call | None = None
        """The transaction's call; None in scheduled calls and at a deploy outside of a block."""
        self.installed: list[str] = []
        """Contracts whose code this transaction brought: not to be believed in once it has failed."""
        self.events: list[Event] = []
        self.calling: list[str] = []
        """Contracts whose methods are running, outermost first: none of them can be entered again."""
        self.result: Any = None
        """What a `return` statement carries to the call that it ends."""

    def begin(self, gas_limit: int) -> None:
        """A new transaction: full meter, no effects."""
        self.gas = gas_limit
        self.cells = self.cells_max
        self.depth = 0
        self.read_only = False
        self.result = None
        if self.events:
            self.events = []
        if self.installed:
            self.installed = []
        if self.calling:
            self.calling = []

    def charge(self, gas: int) -> None:
        """Pay before the work. Raises OutOfGas."""
        self.gas -= gas
        if self.gas < 0:
            raise OutOfGas

    def has_stored(self, key: bytes) -> bool:
        """Whether a value is stored there. It is looked up whole, so each byte of it costs as when it is read."""
        data = self.overlay.get(key)
        if data is not None:
            self.charge(len(data) // GAS.storage_read_bytes)
        return data is not None

    def grow(self, cells: int) -> None:
        """Take memory cells; they are never given back within a transaction. Raises Fault MEMORY."""
        self.cells -= cells
        if self.cells < 0:
            raise Fault("MEMORY")
