"""A no-op: what `tx ping` submits to see a transaction ordered, executed, certified and answered."""

from contracts import Contract, external


class Ping(Contract):
    @external
    def ping(self) -> None:
        """Nothing happens, and the receipt proves that it happened."""
        return
