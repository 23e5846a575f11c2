"""What becomes of transactions that bring code: receipts and state, as digests for `golden.py`.

Nothing in a receipt may depend on the interpreter. What one parser takes and another does not, or refuses at another
place, is the case that matters: all refuse it, or none, with one code, at one price.
"""

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext

AUTHOR = b"\x01" * 32
CODE = b"""
from contracts import Address, Contract, deploy_contract, external, upgrade_contract


class Code(Contract):
    @external
    def deploy(self, name: str, source: bytes, arguments: bytes) -> Address:
        return deploy_contract(name, source, arguments)

    @external
    def upgrade(self, name: str, source: bytes, arguments: bytes) -> bytes:
        return upgrade_contract(name, source, arguments)
"""
"""A contract `code` without a policy: the digests do not change with the standard one."""
OLD = b"""
from contracts import Address, Contract, Map, Struct, Vec, ctx, external, init, require


class Note(Struct):
    text: str
    by: Address


class Notes(Contract):
    notes: Vec[Note]
    count: Map[Address, int]

    @init
    def setup(self, first: str) -> None:
        require(len(first) > 0, "EMPTY")
        self.notes.append(Note(first, ctx.sender))

    @external
    def write(self, text: str) -> int:
        self.notes.append(Note(text, ctx.sender))
        self.count[ctx.sender] += 1
        return len(self.notes)
"""
NEW = b"""
from contracts import Address, Contract, Map, Struct, Vec, ctx, external, migrate, require


class Line(Struct):
    text: str
    who: Address


class Notes(Contract):
    longest: int
    notes: Vec[Line]
    count: Map[Address, int]

    @migrate
    def measure(self, least: int) -> None:
        for line in self.notes:
            self.longest = max(self.longest, len(line.text))
        require(self.longest >= least, "TOO_SHORT")

    @external
    def write(self, text: str) -> int:
        self.notes.append(Line(text, ctx.sender))
        self.longest = max(self.longest, len(text))
        return self.longest
"""
STATEMENTS = {
    "a class with type parameters": "class A[T](Struct):\n    b: int",
    "a function with type parameters": "def b[T](c: int) -> int:\n    return c",
    "a type statement": "type A = int",
    "the quote of an f-string inside it": 'a = f"{b["c"]}"',
    "a quoted text inside an f-string": "a = f'{'b'}'",
    "a backslash in an f-string's braces": "a = f'{b + \"\\n\"}'",
    "a comment in an f-string's braces": "a = f'{b  # c\n}'",
    "except with a star": "try:\n    pass\nexcept* ValueError:\n    pass",
    "except without brackets": "try:\n    pass\nexcept A, B:\n    pass",
    "brackets around with": "with (a as b, c as d):\n    pass",
    "match": "match a:\n    case 1:\n        pass",
    "a template string": 'a = t"{b}"',
    "a star in a subscript": "a[*b]",
    "an unknown escape": 'a = "\\d"',
    "an octal escape too large": 'a = "\\777"',
    "a number before a word": "a = 1if b else 2",
    "a long number": "a = " + "1" * 5_000,
    "a null byte": "a = 1\x00",
    "a form feed": "a = 1\x0c",
    "a walrus as an index": "a = b[c := 1]",
    "an assertion that is always true": 'assert (1, "A")',
    "is with a literal": "a = 1 is 1",
    "a plain constant": "A = 7",
}
"""Where CPython's parsers have differed, differ, or are about to; and one that is allowed."""


def sources() -> Iterator[tuple[str, bytes]]:
    """A contract with each of them at module level, and inside a function."""
    for name, text in STATEMENTS.items():
        inside = "".join(f"    {line}\n" for line in text.split("\n"))
        helper = f"\n\ndef helper(a: int, b: int) -> int:\n{inside}    return a\n"
        yield f"{name}, outside", OLD + b"\n\n" + text.encode() + b"\n"
        yield f"{name}, inside", OLD + helper.encode()
    yield "not UTF-8", OLD + b"# \xff\n"
    yield "nothing", b""


def code_runs() -> Iterator[tuple[str, str]]:
    """One row of transactions: each one's receipt, and the whole state after it."""
    from contracts.testing import Chain
    from ledger.encoding import encode

    chain = Chain()
    code = chain.deploy(CODE, name="code")
    steps: list[tuple[str, tuple[str, str, bytes, list[object]], int]] = [
        ("deploy", ("deploy", "notes", OLD, ["one"]), 5_000_000),
        ("deploy again", ("deploy", "notes", OLD, ["one"]), 5_000_000),
        ("@init refuses", ("deploy", "other", OLD, [""]), 5_000_000),
        ("@init runs out", ("deploy", "other", OLD, ["one"]), 70_000),
        ("the same code", ("deploy", "second", OLD + b"# mine\n", ["two"]), 5_000_000),
        ("@migrate refuses", ("upgrade", "notes", NEW, [10]), 5_000_000),
        ("@migrate takes none", ("upgrade", "notes", NEW, []), 5_000_000),
        ("a lost field", ("upgrade", "notes", NEW.replace(b"count:", b"counts:"), [1]), 5_000_000),
        ("a retyped struct", ("upgrade", "notes", NEW.replace(b"who: Address", b"who: str"), [1]), 5_000_000),
        ("unchanged", ("upgrade", "notes", OLD, []), 5_000_000),
        ("upgrade", ("upgrade", "notes", NEW, [1]), 5_000_000),
        ("upgrade of nothing", ("upgrade", "nothing", NEW, [1]), 5_000_000),
    ]
    brought = [(name, ("deploy", "strange", source, ["one"]), 5_000_000) for name, source in sources()]
    for name, (method, contract, source, arguments), gas in [*steps, *brought]:
        with chain.snapshot() if contract == "strange" else nullcontext():
            outcome = chain.attempt(code, method, contract, source, encode(arguments), sender=AUTHOR, gas=gas)
            receipt = [outcome.status, outcome.code, outcome.gas_used, outcome.result]
            state = [[key, value] for key, value in sorted(chain.state.items())]
        yield f"code: {name}", hashlib.sha256(encode([receipt, state])).hexdigest()[:16]
