"""One contract around a few lines, and what the corpus puts around its bodies."""

import textwrap

from ledger.known_ecdsa_answers import EcdsaCase

ALL_NAMES = (
    "Address, Contract, Event, Indexed, Interface, Ledger, Map, Struct, Vec, canonical, change_configuration, ctx, "
    "emit, external, init, invariant, migrate, mul_div, read_der_signature, require, role, schedule, scheduled, "
    "sha256, verify_ecdsa, verify_ed25519, view"
)
BEFORE = """
class Said(Event):
    n: int


def forever(n: int) -> int:
    return forever(n + 1)


def ping(n: int) -> int:
    return pong(n)


def pong(n: int) -> int:
    return ping(n)


def branch(n: int) -> int:
    return 0 if n == 0 else branch(n - 1) + branch(n - 1)


class Told(Event):
    t: str


class Listed(Event):
    rows: list[str]


class IListing(Interface):
    def take(self, rows: list[str]) -> int: ...


def negate(n: int) -> int:
    return -n
"""
FIELDS = """
rows: list[str]
cash: Ledger
row: Vec[int]
pairs: Map[tuple[int, str], int]
texts: Map[str, int]
names: Indexed[Map[str, int]]
m: Map[int, int]
big: list[int]

@scheduled
def later(self) -> None:
    pass

@scheduled
def later_on(self, rows: list[str]) -> None:
    pass
"""


def check_of(case: EcdsaCase) -> str:
    """The expression that checks a known signature."""
    parts = (f"04{case.x}{case.y}", case.message, case.r + case.s)
    return f"verify_ecdsa({case.curve!r}, {', '.join(repr(bytes.fromhex(part)) for part in parts)})"


def contract_of(body: str, *, fields: str = "pass", before: str = "", result: str = "int") -> bytes:
    """The source of a contract whose method `run` has this body."""
    return (
        f"from contracts import {ALL_NAMES}\n\n{textwrap.dedent(before)}\n\nclass Trial(Contract):\n"
        f"{textwrap.indent(textwrap.dedent(fields), '    ')}\n\n"
        f"    @external\n    def run(self) -> {result}:\n{textwrap.indent(textwrap.dedent(body), '        ')}\n"
    ).encode()
