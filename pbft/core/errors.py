"""The core's two families of failure: a peer's fault, and ours.

A peer's fault is dropped and counted under its stable code; it never stops a replica. Ours is
`ledger.errors.InvariantViolation`, and stops it.
"""


class InvalidMessage(Exception):
    """A message that the protocol refuses. `code` is stable and counted; `detail` says expected and got."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
