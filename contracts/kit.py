"""The kit names as types, for an author's editor and for `mypy --strict`.

Owns the author's typed surface only. A contract's source is text for the compiler and never runs as Python, so nothing
here has behaviour: every function raises `NotInPythonError`. What each name does: `contracts/README.md`; its gas:
`gas.py`.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Generic, NoReturn, TypeAlias, TypeVar, dataclass_transform

_K = TypeVar("_K")
_V = TypeVar("_V")
_T = TypeVar("_T")
_Method = TypeVar("_Method", bound=Callable[..., Any])

Address: TypeAlias = bytes
"""32 bytes: an account's public key, or a contract's address."""

Indexed = Annotated[_T, "indexed"]
"""On a storage map: it can be iterated. On an event field: readers may search by it."""


class NotInPythonError(TypeError):
    """A kit name was called as Python; contracts run only in the contract runtime."""


def _only_in_a_contract(name: str) -> NoReturn:
    message = f"{name} works inside a contract; run the contract with contracts.testing"
    raise NotInPythonError(message)


class Contract:
    """Base of the one contract class of a file. Its annotated fields are storage, its methods the interface."""


@dataclass_transform(frozen_default=True, order_default=True, eq_default=True)
class Struct:
    """Base of a frozen record; fields in order, compared field by field in that order."""


@dataclass_transform(frozen_default=True, eq_default=True)
class Event:
    """Base of a typed event, made and handed to `emit` in one expression."""


class Interface:
    """Base of a list of another contract's methods: `IToken(address).transfer(to, amount)` calls it."""

    def __init__(self, address: Address, /) -> None:
        _only_in_a_contract("Interface")


class Map(Generic[_K, _V]):
    """Storage by key. A missing key reads the zero value of V; V may be Map or Vec."""

    def __getitem__(self, key: _K, /) -> _V:
        _only_in_a_contract("Map")

    def __setitem__(self, key: _K, value: _V, /) -> None:
        _only_in_a_contract("Map")

    def __delitem__(self, key: _K, /) -> None:
        _only_in_a_contract("Map")

    def __contains__(self, key: _K, /) -> bool:
        _only_in_a_contract("Map")

    def __iter__(self) -> Iterator[_K]:
        _only_in_a_contract("Map")

    def keys(self) -> list[_K]:
        """The keys in key-byte order; `Indexed` maps only."""
        _only_in_a_contract("Map")

    def values(self) -> list[_V]:
        """The values in key-byte order; `Indexed` maps only."""
        _only_in_a_contract("Map")

    def items(self) -> list[tuple[_K, _V]]:
        """(key, value) in key-byte order; `Indexed` maps only."""
        _only_in_a_contract("Map")


class Vec(Generic[_V]):
    """A growing row of values in storage."""

    def __getitem__(self, index: int, /) -> _V:
        _only_in_a_contract("Vec")

    def __setitem__(self, index: int, value: _V, /) -> None:
        _only_in_a_contract("Vec")

    def __len__(self) -> int:  # noqa: PLE0303 (it raises)
        _only_in_a_contract("Vec")

    def __iter__(self) -> Iterator[_V]:
        _only_in_a_contract("Vec")

    def append(self, value: _V, /) -> None:
        """Add at the end."""
        _only_in_a_contract("Vec")

    def pop(self) -> _V:
        """Take the last value away; INDEX when empty."""
        _only_in_a_contract("Vec")


class Ledger:
    """Balances whose total changes only by mint and burn. They may be negative: who may owe is the contract's rule."""

    def __getitem__(self, account: bytes | str, /) -> int:
        _only_in_a_contract("Ledger")

    def move(self, source: bytes | str, target: bytes | str, amount: int, /) -> None:
        """Take from one account, give to another; AMOUNT when negative."""
        _only_in_a_contract("Ledger")

    def mint(self, account: bytes | str, amount: int, /) -> None:
        """Make amount on the account; the total grows. AMOUNT when negative."""
        _only_in_a_contract("Ledger")

    def burn(self, account: bytes | str, amount: int, /) -> None:
        """Destroy amount of the account; the total shrinks. AMOUNT when negative."""
        _only_in_a_contract("Ledger")

    def total(self) -> int:
        """The sum of all balances."""
        _only_in_a_contract("Ledger")


class Context:
    """What a call knows about where it runs; the same on every replica."""

    sender: Address
    """Who called this method: an account, or the contract that called."""
    signer: Address
    """Who signed the transaction; of a scheduled call the contract's own address."""
    address: Address
    """This contract's own address."""
    time: int
    """Agreed time of the block, UTC seconds."""
    height: int
    """Height of the block."""
    network: bytes
    """The network id, 32 bytes."""
    tx_id: bytes
    """The transaction's id, 32 bytes."""


ctx: Context = Context()


def external(method: _Method) -> _Method:
    """Mark: transactions and other contracts may call it."""
    return method


def view(method: _Method) -> _Method:
    """Mark: may be called by anybody, also without a transaction; cannot write, emit or schedule."""
    return method


def init(method: _Method) -> _Method:
    """Mark: runs once, at deploy, with the deploy's arguments."""
    return method


def invariant(method: _Method) -> _Method:
    """Mark: a rule without arguments that returns a bool; tests check it after every call."""
    return method


def migrate(method: _Method) -> _Method:
    """Mark: runs once, at an upgrade to this code, with the upgrade's arguments and all that was stored before."""
    return method


def scheduled(method: _Method) -> _Method:
    """Mark: `schedule` may name it; nobody else can call it."""
    return method


def role(name: str) -> Callable[[_Method], _Method]:
    """Mark: only a sender that holds the role in the contract `members` may call it, else ROLE."""

    def marked(method: _Method) -> _Method:
        return method

    return marked


def require(condition: bool, code: str, /) -> None:
    """Revert the whole transaction with the code unless the condition is True."""
    _only_in_a_contract("require")


def emit(event: Event, /) -> None:
    """Add the event to the receipt."""
    _only_in_a_contract("emit")


def schedule(due: int, method: str, /, *arguments: Any) -> int:
    """Run this contract's @scheduled method in the first block at or after due (UTC seconds). Returns the call's id."""
    _only_in_a_contract("schedule")


def mul_div(a: int, b: int, divisor: int, /) -> int:
    """floor(a * b / divisor); only the result must fit 256 bits."""
    _only_in_a_contract("mul_div")


def canonical(value: Any, /) -> bytes:
    """The canonical encoding of a value (structs as the list of their fields)."""
    _only_in_a_contract("canonical")


def sha256(data: bytes, /) -> bytes:
    """SHA-256, 32 bytes."""
    _only_in_a_contract("sha256")


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes, /) -> bool:
    """Whether the signature is this key's over the message; False too for malformed keys and signatures."""
    _only_in_a_contract("verify_ed25519")


def verify_ecdsa(curve: str, public_key: bytes, message: bytes, signature: bytes, /) -> bool:
    """Whether the signature of a meter is this key's over the SHA-256 of the message; False too for malformed ones.

    curve -- secp192k1, secp192r1, secp256k1, secp256r1, secp384r1, brainpool256r1 or brainpool384r1; else VALUE
    public_key -- b"\\x04" and the coordinates x and y, each of the curve's width, on the curve
    signature -- r and s, big-endian, each of the curve's width and from 1 to the curve's order less 1. Both s and its
    negative hold: a record's identity is its payload, never its signature.
    """
    _only_in_a_contract("verify_ecdsa")


def read_der_signature(curve: str, data: bytes, /) -> tuple[bytes, bool]:
    """The form that verify_ecdsa takes of a signature in DER, and whether the DER was strict; (b"", False) if neither.

    Meters exist that leave out the 00 before a high octet; such numbers are read as unsigned. Say so in the receipt.
    """
    _only_in_a_contract("read_der_signature")


def change_configuration(document: bytes, /) -> list[Address]:
    """Decide the members and parameters of the next epoch; the contract `governance` alone may. Returns the operator
    keys of its members, in their order. PENDING while a change waits."""
    _only_in_a_contract("change_configuration")


def deploy_contract(name: str, source: bytes, arguments: bytes, /) -> Address:
    """Bring in the source that this transaction has as its second argument, under a new name, and run its @init with
    the canonical bytes of an array of arguments; the contract `code` alone may, called by a transaction. Returns its
    address. SOURCE where it is no contract."""
    _only_in_a_contract("deploy_contract")


def upgrade_contract(name: str, source: bytes, arguments: bytes, /) -> bytes:
    """Let a contract go on with the source that this transaction brings, and run its @migrate; as `deploy_contract`.

    Returns the hash of the new code. LAYOUT where what is stored would be lost."""
    _only_in_a_contract("upgrade_contract")


def private_value(index: int, /) -> Any:
    """A value of the private payload that came beside the transaction, from 0 on; INDEX where there is none.

    Whatever a contract stores, emits or returns is public for ever: derive from it only what may be.
    """
    _only_in_a_contract("private_value")
