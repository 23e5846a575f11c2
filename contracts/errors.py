"""How a contract can end other than well: refused at deploy, or aborted while it runs.

A refusal is for its author: code, line, column and a hint. An abort is for the receipt: a status and a stable code,
never text of the host (CONTRACTS.md section 8 rule 2). Aborts derive from BaseException, so that no handler of ordinary
errors can catch one by accident; the language itself has no exceptions.
"""

from typing import ClassVar, Final

from ledger.errors import InvariantViolation


class ContractRefused(Exception):
    """The source is not a contract of this language. Lines, and columns in characters, count from 1; the whole file is
    1:1."""

    def __init__(self, code: str, line: int, column: int, hint: str) -> None:
        super().__init__(code, line, column, hint)
        self.code = code
        self.line = line
        self.column = column
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.line}:{self.column} {self.code}: {self.hint}"


class Abort(BaseException):
    """The call ends here and leaves no effect. `status` and `code` go into the receipt."""

    status: ClassVar[str] = "error"

    def __init__(self, code: str, *, detail: str = "") -> None:
        """`detail` names a part of the contract's own code that the code is about; it is the receipt's result."""
        super().__init__(code)
        self.code = code
        self.detail = detail


class Revert(Abort):
    """The contract's own refusal: `require` or `assert` with the contract's code, or a role it asks for (ROLE)."""

    status = "reverted"


class OutOfGas(Abort):
    """The gas limit is used up; the whole limit is consumed."""

    status = "out_of_gas"

    def __init__(self) -> None:
        super().__init__("OUT_OF_GAS")


class Fault(Abort):
    """The contract did something that has no meaning; `code` is one of FAULT_CODES."""


FAULT_CODES: Final = {
    "TYPE": "an operation on a value of the wrong type, or a value that does not fit its declared type",
    "OVERFLOW": "an integer outside [-2**255, 2**255)",
    "DIVISION": "division by zero",
    "VALUE": "a value outside what the operation accepts",
    "INDEX": "an index outside the row",
    "KEY": "a key that is not in the dict",
    "UNBOUND": "a local variable read before it was assigned",
    "DEPTH": "calls nested too deeply, or containers nested too deeply",
    "MEMORY": "more memory cells than a call may use",
    "TEXT_SIZE": "a text or byte string longer than the limit",
    "STATE_SIZE": "a storage key or value longer than the limit",
    "EVENTS": "more events than a transaction may emit, or one too large",
    "RESULT": "a result too large, or another contract's result of another type than declared",
    "AMOUNT": "a negative amount given to a Ledger",
    "NOT_INDEXED": "iterating a Map that is not declared Indexed",
    "ARGUMENTS": "arguments that do not fit the method's parameters",
    "CONTRACT": "no contract at that name or address",
    "METHOD": "no such method that this caller may call",
    "REENTRY": "a call of a contract that is already being called",
    "READ_ONLY": "a write, event or scheduled call inside a view",
    "SCHEDULE": "a due time out of range, a method that is not @scheduled, or too many scheduled calls",
    "GOVERNANCE": "a change of configuration or code by any contract but `governance` or `code`, or in no block",
    "PENDING": "a change of configuration while one is decided and its epoch has not begun",
    "CONFIGURATION": "a document that is no configuration, or not that of the next epoch",
    "SOURCE": "a source that is no contract of this language",
    "CONTRACT_NAME": "a name that no contract can have, or that one has already",
    "CODE_FULL": "more contracts, or more code, than a network holds",
    "UNCHANGED": "an upgrade to the code that the contract runs already",
    "LAYOUT": "an upgrade that drops or retypes a field of storage, which the result names",
    "INTERNAL": "the engine met a state it should never meet; all gas is consumed",
}


class RuntimeInconsistency(InvariantViolation):
    """World state holds what no run of this engine can have written: the replica must stop."""
