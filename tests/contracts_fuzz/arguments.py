"""Hostile arguments: calls whose bytes are what a parameter wants, nearly that, or anything else.

One contract has a method for each kind of hint and each way across a boundary: storage, events, another contract,
`canonical`, the schedule, keys of maps and accounts, and operators that want ints. Most arguments fit their hints, with
numbers at the edges of every width; some have a part of another type (a bool for an int above all), some are other
values, some are bytes that nobody encoded. What must come out is only known to be the same wherever it runs.
"""

import random
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from contracts_fuzz.campaign import SENDER, Side, call, plan_block

from ledger.encoding import encode
from ledger.execution import Call

HINTS: Final = (
    "int", "bool", "str", "bytes", "Address", "int | None", "list[int]", "list[list[int]]", "dict[str, int]",
    "dict[int, str]", "tuple[int, str]", "tuple[Address, bool]", "Offer", "Nest", "list[Offer]", "Offer | None",
    "dict[int, Offer]", "list[int | None]",
)  # fmt: skip
EDGES: Final = (
    0, 1, -1, 2, 127, 128, 255, 256, -32, -33, -128, -129, 65_535, 65_536, 2**31, 2**32 - 1, 2**32, 2**62, -(2**62),
    2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**64, 2**254, 2**255 - 1, -(2**255),
)  # fmt: skip
TEXTS: Final = ("", "a", "12", "-7", "x" * 31, "x" * 32, "\u00e9", "ab" * 200)
BLOBS: Final = (b"", b"a", SENDER, bytes(31), bytes(33), b"x" * 300)
HEADS: Final = bytes(
    (0, 0x7F, 0x80, 0x90, 0x91, 0xA1, 0xC0, 0xC2, 0xC3, 0xC4, 0xCC, 0xCD, 0xCE, 0xCF, 0xD0, 0xD3, 0xFF)
)
"""Bytes that begin a value of each kind, to be put where they do not belong."""
CALLS: Final = 50
"""In a block."""
GAS_LIMITS: Final = (500, 2_000, 8_000, 100_000, 100_000)

_HEAD: Final = """from contracts import Address, Contract, Event, Interface, Ledger, Map, Struct, Vec
from contracts import canonical, ctx, emit, external, init, schedule, scheduled


class Offer(Struct):
    price: int
    who: str


class Nest(Struct):
    offer: Offer
    rows: list[int]
    ok: bool


class IOther(Interface):
    def double(self, n: int) -> int: ...

    def echo(self, row: list[int]) -> list[int]: ...


"""
_FIELDS: Final = """class Fuzz(Contract):
    other: Address
    cash: Ledger
    row: Vec[int]
    ints: Map[int, int]
    homes: Map[Address, int]
    pairs: Map[tuple[int, str], int]
    flags: Map[bytes, bool]
"""
_FIRST: Final = """
    @init
    def setup(self, other: Address) -> None:
        self.other = other

    @scheduled
    def later(self, a: int, b: list[int]) -> None:
        self.ints[a] = b[0]
"""
_WAYS: Final = {
    "keep{i}(self, a: {h}) -> {h}": "self.f{i} = a; self.g{i}[3] = a; emit(E{i}(a, 1)); return a",
    "turn{i}(self, a: {h}) -> {o}": "self.f{j} = a; return a",
    "tell{i}(self, a: {h}) -> {h}": "emit(E{i}(a, a)); return a",
    "give{i}(self, a: {h}) -> {o}": "return a",
    "ask{i}(self, a: {h}, n: int = 3) -> int": "return IOther(self.other).double(a) + n",
    "echo{i}(self, a: {h}) -> list[int]": "return IOther(self.other).echo(a)",
    "bytes{i}(self, a: {h}) -> bytes": "return canonical([a, a])",
    "wait{i}(self, a: {h}) -> int": "return schedule(ctx.time, 'later', a, [a])",
    "same{i}(self, a: {h}, b: {o}) -> bool": "return a == b or a in [b]",
    "less{i}(self, a: {h}, b: {h}) -> bool": "return a < b",
    "reckon{i}(self, a: {h}, b: {h}) -> int": "n = a + b; n += a - b; return n * a // b % 7",
    "int{i}(self, a: {h}) -> int": "self.ints[a] += 1; self.row.append(a); return self.row[a] + range(a)[1]",
    "home{i}(self, a: {h}) -> int": "self.homes[a] += 5; return self.homes[a]",
    "by{i}(self, a: {h}) -> int": "self.homes[ctx.sender] += a; return self.homes[ctx.sender]",
    "pair{i}(self, a: {h}) -> int": "self.pairs[a] += 5; return self.pairs[a]",
    "flag{i}(self, a: {h}) -> bool": "self.flags[a] = True; self.flags[b''] = a; return self.flags[a]",
    "mint{i}(self, a: {h}) -> int": "self.cash.mint(a, 5); self.cash.move(a, 'b', 2); return self.cash[a]",
    "pay{i}(self, a: {h}) -> int": "self.cash.mint('b', a); return self.cash.total()",
}
"""Signature of a method -> its statements; `h` is the hint, `o` another, whose number is `j`."""


def source(part: int, parts: int) -> str:
    """The contract, with one of so many parts of all methods: a file has a limit."""
    events, fields, methods = "", _FIELDS, _FIRST
    for i, hint in enumerate(HINTS):
        j = (i * 7 + 3) % len(HINTS)
        events += f"class E{i}(Event):\n    a: {hint}\n    n: int\n\n\n"
        fields += f"    f{i}: {hint}\n    g{i}: Map[int, {hint}]\n"
        for signature, body in _WAYS.items() if i % parts == part else ():
            lines = [signature.format(i=i, h=hint, o=HINTS[j]) + ":", *body.format(i=i, j=j).split("; ")]
            methods += "\n    @external\n    def " + "\n        ".join(lines) + "\n"
    return _HEAD + events + fields + methods


def signatures(text: str) -> list[tuple[str, list[str]]]:
    """Each method that a transaction may call, with the hints of its parameters."""
    found = re.findall(r"@external\n    def (\w+)\(self, (.*)\) ->", text)
    return [(name, re.split(r"(?:^|, )[abn]: ", parameters)[1:]) for name, parameters in found]


class ArgumentWriter:
    """Arguments from one stream of chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def anything(self, depth: int = 0) -> Any:
        """A value of any kind that the encoding knows."""
        chance = self.chance
        plain: list[Callable[[], Any]] = [
            lambda: chance.choice(EDGES),
            lambda: chance.random() < 0.5,
            lambda: chance.choice(TEXTS),
            lambda: chance.choice(BLOBS),
            lambda: None,
        ]
        if depth > 2 or chance.random() < 0.6:
            return chance.choice(plain)()
        if chance.random() < 0.7:
            return [self.anything(depth + 1) for _ in range(chance.randrange(5))]
        return {chance.choice(EDGES): self.anything(depth + 1) for _ in range(chance.randrange(4))}

    def fitting(self, hint: str) -> Any:
        """A value for a hint; now and then a part of it is of another type."""
        chance, hint = self.chance, hint.removesuffix(" = 3")
        if chance.random() < 0.06:
            return self.anything(2)
        if hint.endswith(" | None"):
            return None if chance.random() < 0.3 else self.fitting(hint.removesuffix(" | None"))
        records = {"Offer": ("int", "str"), "Nest": ("Offer", "list[int]", "bool")}
        if hint in records:
            return [self.fitting(part) for part in records[hint]]
        kind, _, inner = hint.removesuffix("]").partition("[")
        if kind == "list":
            return [self.fitting(inner) for _ in range(chance.randrange(4))]
        if kind == "tuple":
            return [self.fitting(part) for part in inner.split(", ")]
        if kind == "dict":
            key, value = inner.split(", ")
            keys: tuple[Any, ...] = EDGES if key == "int" else TEXTS
            return {chance.choice(keys): self.fitting(value) for _ in range(chance.randrange(4))}
        plain: dict[str, tuple[Any, ...]] = {"int": EDGES, "bool": (False, True), "str": TEXTS, "bytes": BLOBS}
        return chance.choice(plain.get(kind, (SENDER,)))

    def arguments(self, hints: list[str]) -> bytes:
        """Encoded arguments for parameters of these hints."""
        chance, way = self.chance, self.chance.random()
        if way < 0.1:
            return encode([self.anything() for _ in range(chance.randrange(4))])
        data = bytearray(encode([self.fitting(hint) for hint in hints]))
        if way < 0.25:
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] = chance.choice(HEADS)
            del data[chance.randrange(1, 4 * len(data) + 1) :]  # mostly nothing
        return bytes(data)


def blocks(seed: int, parts: int, count: int) -> Iterator[tuple[str, list[bytes]]]:
    """So many blocks of calls to each part: a name, and the outcome of the deploy and of each call, as bytes."""
    from contracts.compiler import weave_contract

    side, writer = Side(weave_contract), ArgumentWriter(seed)
    for part in range(parts):
        text = source(part, parts)
        done, methods = [side.deploy(text).to_bytes()], signatures(text)
        for height in range(1, count + 1):
            calls = tuple(_call(writer, methods) for _ in range(CALLS))
            done.append(side.apply(side.runtime.execute_block(plan_block(height, calls), side.state)).to_bytes())
        side.forget()
        yield f"arguments: {part}", done


def _call(writer: ArgumentWriter, methods: list[tuple[str, list[str]]]) -> Call:
    method, hints = writer.chance.choice(methods)
    made = call(method, writer.chance.choice(GAS_LIMITS))
    return made._replace(arguments=writer.arguments(hints))
