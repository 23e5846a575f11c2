"""Random contracts by a grammar: every kind of node, builtin, method and kit function of the language.

Of the scaffold around the random statements (fields, structs, helpers, starting values of variables) a program has
only what it uses, so that nearly every node of it is a random one and little time goes into what all programs share.
"""

import random
import re
from functools import cache
from typing import Final

from contracts_fuzz.grammar import (
    CLASSES,
    CONSTANTS,
    FIELDS,
    GRAMMAR,
    KIT,
    LEAVES,
    LOCALS,
    SETUP,
    STATEMENTS,
    VARIABLES,
)

_HOLE: Final = re.compile(r"\{([a-z]+)\}")
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_FIELD: Final = re.compile(r"self\.(\w+)")
_STRUCT_FIELD: Final = re.compile(r"\.(?:price|who)\b")
_RARE: Final = (
    "u0",
    "int({str})",
    "{list}.index",
    "// {small}",
    "{dict}[{key}]",
    "WIDE",
    "{wide}[",
    ".pop()",
    "self.queue[",
    "{list}[{small}]",
)
"""Ways that often end a program with a fault: taken a tenth as often as the others."""
_VIEW_VALUES: Final = (
    "self.n + {list}[0]",
    "sum({list})",
    "len(self.homes.items()) + {small}",
    "{offer}.price",
    "self.m[{int}]",
)
_WEIGHTS: Final = ("-n", "n % 5", "(n % 3, n)", "str(n)", "[n % 2, -n]", "n > 4")

Template = tuple[tuple[str, ...], bool]
"""Text, type of a hole, text, type, ..., text; and whether it is one of the rare ways."""


class ProgramWriter:
    """Writes one program; the same seed writes the same program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.left = 0
        """Holes that may still grow, so that programs have a middling size."""

    def program(self, *, is_long: bool = False) -> str:
        """The source of a contract `Fuzz` with @external run(n, t), and mostly @view look(n) and other methods.

        A long one repeats its statements until its gas is used up."""
        choose = self.random
        self.left = choose.randint(10, 60)
        block = self.block(2, 3 if is_long else 2, choose.randint(3, 6))
        if is_long:
            block = f"        for k0 in range(1000):\n{block}"
        value = self.value("int", 2)
        methods = [method("    @external\n    def run(self, n: int, t: str = 'b') -> int:", block, value)]
        if choose.random() < 0.6:
            value = self.fill(choose.choice(_VIEW_VALUES), 1)
            methods.append(method("    @view\n    def look(self, n: int) -> int:", self.block(1, 2, 1), value, "'v'"))
        if choose.random() < 0.3:
            block = self.block(1, 2, 2)
            methods.append(method("    @scheduled\n    def later(self, n: int) -> None:", block, "", "'s'"))
        if choose.random() < 0.3:
            methods.append("    @external\n    @role('boss')\n    def ruled(self) -> int:\n        return self.n\n")
        if choose.random() < 0.5:
            sound = choose.choice(["self.cash.total() >= 0", "self.n < 2 ** 200", "len(self.queue) < 90"])
            methods.append(f"    @invariant\n    def sound(self) -> bool:\n        return {sound}\n")
        return assemble(self.with_what_is_called(methods), self.helpers("".join(methods)))

    def with_what_is_called(self, methods: list[str]) -> list[str]:
        """The methods, and those that they name."""
        text = "".join(methods)
        if "self.add(" in text:
            methods.append(
                "    def add(self, a: int, b: int = 3) -> int:\n        self.n = a ^ b\n        return a - b\n"
            )
        if "self.look(" in text and "def look(" not in text:
            methods.append("    @view\n    def look(self, n: int) -> int:\n        return n + self.n\n")
        if "'later'" in text and "def later(" not in text:
            methods.append("    @scheduled\n    def later(self, n: int) -> None:\n        self.n += n\n")
        return methods

    def helpers(self, text: str) -> str:
        """The helper functions that the methods name."""
        made = ""
        if "helper(" in text:
            made += (
                "\n\ndef helper(n: int, row: list[int]) -> int:\n    for q in row:\n        n += q % 11\n    return n\n"
            )
        if "recurse(" in text:
            least = self.random.choice(["0", "1", "n"])
            made += "\n\ndef recurse(n: int) -> int:\n    if n < 1:\n"
            made += f"        return {least}\n    return recurse(n - 1) + n\n"
        if "key=weigh" in text:
            made += f"\n\ndef weigh(n: int) -> int:\n    return {self.random.choice(_WEIGHTS)}\n"
        if "key=rank" in text:
            made += "\n\ndef rank(o: Offer) -> tuple[str, int]:\n    return (o.who, -o.price)\n"
        return made

    def block(self, depth: int, indent: int, count: int = 0) -> str:
        """Statements, one to a line or more, at an indentation of four spaces each."""
        lines: list[str] = []
        for _ in range(count or self.random.randint(1, 2)):
            choices = _COMPOUND if depth > 0 and self.random.random() < 0.35 else _SIMPLE
            lines += self.statement(self.random.choice(choices), depth, indent)
        return "\n".join(lines)

    def statement(self, template: str, depth: int, indent: int) -> list[str]:
        lines = []
        for line in template.split("\n"):
            if line in {"{block}", "{loop}"}:
                lines.append(self.block(depth - 1, indent + 1))
                if line == "{loop}":
                    leave = self.random.choice(LEAVES)
                    lines += [" " * 4 * indent + self.fill(part, 1) for part in leave.split("\n")]
            else:
                lines.append(" " * 4 * indent + self.fill(line, 2))
        return lines

    def fill(self, text: str, depth: int) -> str:
        """Holes become values."""
        parts, _ = read_template(text)
        return "".join([self.value(part, depth) if at % 2 else part for at, part in enumerate(parts)])

    def value(self, kind: str, depth: int) -> str:
        """An expression of a type, seldom of another."""
        choose = self.random
        if choose.random() < 0.002:
            kind = choose.choice(sorted(VARIABLES))
        variables, ways = VARIABLES.get(kind), _WAYS.get(kind)
        if ways is None or (variables is not None and (min(depth, self.left) <= 0 or choose.random() < 0.3)):
            assert variables is not None
            return choose.choice(variables)
        self.left -= 1
        way, is_rare = choose.choice(ways)
        if is_rare and choose.random() < 0.9:
            way, _ = choose.choice(ways)
        filled = "".join([self.value(part, depth - 1) if at % 2 else part for at, part in enumerate(way)])
        return filled if filled[:1] in "([{'" or filled.isidentifier() else f"({filled})"


def method(head: str, block: str, value: str, text: str = "") -> str:
    """A method with the variables that its statements use; `text` is what `t` is, where it is no parameter."""
    last = f"        return {value}\n" if value else ""
    used = set(_WORD.findall(f"{block}\n{value}"))
    starts: list[str] = []
    for name, start in reversed(LOCALS.items()):
        if name in used:
            starts.append(start)
            used.update(_WORD.findall(start))
    if text and "t" in used:
        starts.append(f"t = {text}")
    lines = [f"        {line}" for start in reversed(starts) for line in start.split("\n")]
    return "\n".join([head, *lines, block, last])


def assemble(methods: list[str], helpers: str) -> str:
    """A whole file: around the methods and helpers, the declarations that they use."""
    text = "\n".join(methods)
    used = set(_FIELD.findall(text))
    setup = [f"        {line}\n" for name, line in SETUP.items() if name in used] or ["        pass\n"]
    fields = "".join([f"    {name}: {hint}\n" for name, hint in FIELDS.items() if name in used])
    init = "    @init\n    def setup(self, other: Address) -> None:\n" + "".join(setup)
    contract = f"class Fuzz(Contract):\n{fields}\n{init}\n{text}{helpers}"
    used = set(_WORD.findall(contract))
    if "Sold" in used or _STRUCT_FIELD.search(contract):
        used.add("Offer")
    classes = "".join([f"{source}\n\n\n" for name, source in CLASSES.items() if name in used])
    constants = "".join([f"{name} = {value}\n" for name, value in CONSTANTS.items() if name in used])
    used.update(_WORD.findall(classes))
    kit = ", ".join([name for name in KIT if name in used])
    return f"from contracts import {kit}\n\n{constants}\n\n{classes}{contract}"


@cache
def read_template(text: str) -> Template:
    """A template taken apart; `||` is the language's own `|`, doubled braces are its own braces."""
    opened = text.replace("{{{", "\x01{").replace("}}}", "}\x02").replace("{{", "\x01").replace("}}", "\x02")
    opened = opened.replace("||", "|")
    parts = tuple(part.replace("\x01", "{").replace("\x02", "}") for part in _HOLE.split(opened))
    return parts, any(rare in text for rare in _RARE)


_WAYS: Final = {kind: [read_template(rule.strip()) for rule in rules.split(" | ")] for kind, rules in GRAMMAR.items()}
_COMPOUND: Final = [text for text in STATEMENTS if "{block}" in text or "{loop}" in text]
_SIMPLE: Final = [text for text in STATEMENTS if "{block}" not in text and "{loop}" not in text]
