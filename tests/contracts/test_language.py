"""The allow-list, construct by construct: programs that are accepted, and programs that are refused with which code."""

import textwrap

import pytest

from contracts.compiler import compile_source, judge_source
from contracts.errors import ContractRefused
from contracts.tree import compute_tree_hash, parse_tree

HEAD = "from contracts import Contract, Event, Interface, Map, Struct, ctx, emit, external, require, schedule, view\n\n"


def in_method(*lines: str) -> str:
    body = "\n".join(f"        {line}" for line in lines)
    head = f"{HEAD}class T(Contract):\n    n: int\n    m: Map[int, int]\n\n    @external\n"
    return f"{head}    def run(self) -> None:\n{body}\n"


def in_module(*lines: str) -> str:
    return HEAD + "\n".join(lines) + "\n\n\nclass T(Contract):\n    pass\n"


ACCEPTED = {
    "empty contract": in_module(),
    "docstrings": in_method('"""Says what it does."""', "pass"),
    "constants": in_module("A = 1", "B = -1", 'C = "x"', 'D = b"x"', "E = True", "F: int = 5"),
    "annotated local": in_method("x: int = 1", "x += 1"),
    "tuple target": in_method("a, b = 1, 2", "a, b = b, a"),
    "subscript target": in_method("xs = [1]", "xs[0] = 2", "xs[0] += 1", "self.m[1] = 2", "del self.m[1]"),
    "if elif else": in_method("if self.n == 1:", "    pass", "elif self.n == 2:", "    pass", "else:", "    return"),
    "loops": in_method("for i in range(3):", "    continue", "while True:", "    break"),
    "loop over pairs": in_method("for a, b in {1: 2}.items():", "    self.n = a + b"),
    "comprehensions": in_method("xs = [x for x in range(3) if x > 0 if x < 3]", "d = {a: b for a, b in zip(xs, xs)}"),
    "assert": in_method('assert self.n == 0, "NOT_ZERO"'),
    "f-string": in_method('s = f"{self.n} {{}} {1 + 1}"'),
    "is None": in_method("x = {1: 2}.get(1)", 'require(x is not None, "X")'),
    "wrong types are for run time": in_method('x = 1 + "a"', 'y = "a" * 3', "z = -True", "x[0] = 1"),
    "struct": in_module(
        "class S(Struct):", "    a: int", "    b: list[str]", "", "def f(s: S) -> int:", "    return s.a"
    ),
    "interface": in_module("class I(Interface):", "    def f(self, a: int) -> bool: ..."),
    "interface parameter with any name": in_module("class I(Interface):", "    def f(self, role: str) -> bool: ..."),
    "default": in_module("def f(a: int, b: int = 5) -> int:", "    return a + b"),
    "recursion": in_module("def f(a: int) -> int:", "    return 0 if a == 0 else f(a - 1)"),
    "expressions in f-strings": in_method(
        "d = {1: [2]}", 'x = f"{d[1][0:1][0]}{(1 != 2) == True}{ {1: 2}[1]}{{}}" + f"{len(\'a\')}"'
    ),
    "unicode in texts": in_method('s = "Gr\u00fc\u00dfe \u26a1"', "# \u26a1"),
    "keywords out of order": in_module(
        "class S(Struct):", "    a: int", "    b: int", "", "def f() -> S:", "    return S(b=1, a=2)"
    ),
}

REFUSED = {
    "FLOAT": [in_method("x = 1.5"), in_method("x = 1e5"), in_method("x = .5"), in_module("A = 1.0")],
    "COMPLEX": [in_method("x = 1j")],
    "OPERATOR": [
        in_method("x = 1 / 2"),
        in_method("x = ~1"),
        in_method("x = +1"),
        in_method("x = 1 @ 2"),
        in_method("self.n /= 2"),
    ],
    "LAMBDA": [in_method("f = lambda: 1")],
    "NESTED_FUNCTION": [in_method("def f() -> None:", "    pass")],
    "NESTED_CLASS": [in_method("class A:", "    pass")],
    "EXCEPTION": [in_method("try:", "    pass", "except ValueError:", "    pass"), in_method("raise ValueError")],
    "WITH": [in_method("with self.n:", "    pass")],
    "GLOBAL": [in_method("global n")],
    "ASYNC": [in_module("async def f() -> None:", "    pass"), in_method("await self.n")],
    "GENERATOR": [in_method("yield 1"), in_method("x = sum(i for i in range(3))")],
    "MATCH": [in_method("match 1:", "    case int():", "        pass")],
    "WALRUS": [in_method("if (x := 1) == 1:", "    pass"), in_method("(x := 1)")],
    "STAR": [
        in_method("a, *b = [1, 2]"),
        in_method("x = [*[1]]"),
        in_method("x = max(*[1, 2])"),
        in_method("x = {**{}}"),
    ],
    "SET": [in_method("x = {1, 2}"), in_method("x = {i for i in range(3)}")],
    "SLICE_STEP": [in_method("x = [1][::2]")],
    "FORMAT": [
        in_method('x = f"{1:{2}}"'),
        in_method('x = f"{1:>3}"'),
        in_method('x = f"{1!r}"'),
        in_method('x = f"{self.n=}"'),
    ],
    "IS": [in_method("x = 1 is 1"), in_method("x = 1 is not True")],
    "DELETE": [in_method("x = 1", "del x"), in_method("del self.n")],
    "LOOP_ELSE": [in_method("for i in [1]:", "    pass", "else:", "    pass")],
    "TARGET": [
        in_method("x = y = 1"),
        in_method("x: int"),
        in_method("ctx.sender = 1"),
        in_method("self.m = 1"),
        in_method("xs = [1]", "xs[0:1] = [2]"),
        in_method("for self.n in [1]:", "    pass"),
        in_method("for a, (b, c) in [(1, (2, 3))]:", "    pass"),
    ],
    "COMPREHENSION": [in_method("x = [a for a in [1] for b in [2]]")],
    "UNDERSCORE": [
        in_method("x = (1).__class__"),
        in_method("x = self.__dict__"),
        in_method("x = __builtins__"),
        in_method("x = self._n"),
        in_method("_x = 1"),
        in_method("x = [].__len__()"),
        in_module("def __init__() -> None:", "    pass"),
    ],
    "ATTRIBUTE": [in_method("x = (1).real"), in_method("x = 'a'.upper"), in_method("x = [].append")],
    "METHOD": [in_method("'a'.format(1)"), in_method("x = {}.setdefault(1, 2)"), in_method("x = 'a'.encode()")],
    "UNKNOWN_FUNCTION": [
        in_method("print(1)"),
        in_method("eval('1')"),
        in_method("x = type(1)"),
        in_method("x = id(1)"),
        in_method("x = hash(1)"),
        in_method("x = getattr(self, 'n')"),
        in_method("x = open('f')"),
        in_method("x = set()"),
        in_method("self.missing()"),
    ],
    "UNKNOWN_NAME": [in_method("x = y"), in_method("x = object"), in_method("x = mul_div(1, 2, 3)")],
    "UNKNOWN_FIELD": [in_method("x = self.missing"), in_method("self.missing = 1"), in_method("x = ctx.random")],
    "NAME_USE": [
        in_method("x = self"),
        in_method("x = ctx"),
        in_method("x = len"),
        in_method("x = T"),
        in_method("x = self.run"),
    ],
    "CALL": [
        in_method("x = (1)(2)"),
        in_method("x = [len][0](1)"),
        in_method("x = len(1, 2)"),
        in_method("x = len(obj=1)"),
        in_method("x = 1", "x()"),
        in_method("x = sorted([1], key=len)"),
        in_method("emit(1)"),
        in_method("self.run(1)"),
        in_method("x = bytes('a', 'latin-1')"),
    ],
    "CODE": [in_method("assert True"), in_method('require(True, "has space")'), in_method("assert True, 5")],
    "STATEMENT": [in_method("1 + 1"), in_method("self.n")],
    "SHADOW": [
        in_method("len = 1"),
        in_method("T = 1"),
        in_method("x = [self for self in [1]]"),
        in_module("def len(a: int) -> int:", "    return a"),
        in_module("A = 1", "A = 2"),
        in_module("class S(Struct):", "    a: int", "    a: int"),
    ],
    "IMPORT": [
        "import os\n" + in_module(),
        "from os import path\n" + in_module(),
        "from contracts import *\n" + in_module(),
        "from contracts import Map as M\n" + in_module(),
        "from contracts.host import Host\n" + in_module(),
        "from . import x\n" + in_module(),
        in_method("import os"),
    ],
    "CONTRACT": ["x = 1\n", HEAD, in_module("class Other(Contract):", "    pass")],
    "CLASS": [
        in_module("class A:", "    pass"),
        in_module("class A(Struct, Event):", "    a: int"),
        in_module("class A(int):", "    pass"),
    ],
    "CONSTANT": [in_module("A = [1]"), in_module("A = 1 + 1"), in_module("A = B = 1"), in_module("A: int")],
    "MODULE_LEVEL": [
        in_module("if True:", "    pass"),
        in_module("for i in [1]:", "    pass"),
        in_module("A = 1", "A += 1"),
    ],
    "DECORATOR": [
        in_module("@view", "def f() -> None:", "    pass"),
        in_method("pass").replace("@external", "@property"),
        in_method("pass").replace("@external", "@external\n    @view"),
        in_method("pass").replace("@external", "@external()"),
    ],
    "SIGNATURE": [
        in_module("def f(*a: int) -> None:", "    pass"),
        in_module("def f(a) -> None:", "    pass"),
        in_module("def f(a: int):", "    pass"),
        in_module("def f(a: int, /) -> None:", "    pass"),
        in_method("pass").replace("(self)", "()"),
    ],
    "TYPE_HINT": [
        in_module("def f(a: float) -> None:", "    pass"),
        in_module("def f(a: list) -> None:", "    pass"),
        in_module("def f(a: int | str) -> None:", "    pass"),
        in_module("def f(a: 'int') -> None:", "    pass"),
        in_module("def f(a: Map[list[int], int]) -> None:", "    pass"),
        in_module("class S(Struct):", "    s: S"),
        in_method("pass").replace("n: int", "n: T"),
        in_method("pass").replace("(self)", "(self, a: Map[int, int])"),
        in_module("def f(a: list[list[list[list[list[list[int]]]]]]) -> None:", "    pass"),
    ],
    "SCHEDULE": [in_method('schedule(1, "run")'), in_method('x = "run"', "schedule(1, x)")],
    "DEFAULT": [in_method("pass").replace("n: int", "n: int = 5"), in_module("class S(Struct):", "    a: int = 1")],
    "INT_RANGE": [in_method(f"x = {2**255}"), in_method(f"x = -{2**255 + 1}")],
    "TEXT_ESCAPE": [
        in_method(r'x = "\ud800"'),
        in_method(r'x = "\N{BULLET}"'),
        *(in_method(rf'x = "a{escape}"') for escape in (r"\d", r"\ ", r"\8", r"\777", r"\x1", r"\u12", r"\U0001f60")),
        in_method(r'x = b"\u0041"'),
        in_method(r'x = f"\{1}"'),
    ],
    "TEXT_PREFIX": [in_method('x = u"a"'), in_method('x = rf"{1}"'), in_method('x = t"{1}"')],
    "CHARACTER": [
        in_method("x = 1\t"),
        in_method('x = "\u202e"'),
        in_method('x = "\u200b"'),
        "\ufeff" + in_module(),
        in_module("\r"),
    ],
    "IDENTIFIER": [
        in_method('x = f"{\uff53elf.n}"'),  # normalized by the parser, by tables that change with its version
        in_method('x = f"{\U00011f04}"'),  # a letter since Unicode 15: a name to some parsers, not to others
        in_method("\u00e9 = 1"),
        in_method("x\u00e9 = 1"),
        in_method("x = $"),
    ],
    "CONTINUATION": [in_method("x = 1 + \\", "    1")],
    "NUMBER": [
        in_method("x = " + "1" * 81),
        in_method('x = f"{' + "1" * 81 + '}"'),
        in_method("x = 0777"),
        in_method("x = 1if True else 2"),
    ],
    "TEXT_LITERAL": [in_method('x = "' + "a" * 4_097 + '"')],
    "BRACKETS": [
        in_method("x = " + "[" * 17 + "]" * 17),
        in_method('x = f"{' + "(" * 17 + "1" + ")" * 17 + '}"'),
        in_method('x = ((((f"{' + "[" * 13 + "]" * 13 + '}"))))'),
    ],
    "INDENTATION": [in_method(*("    " * depth + "if True:" for depth in range(16)), "    " * 16 + "pass")],
    "LINE_TOKENS": [
        in_method("x = [" + "1, " * 800 + "]"),
        in_method('x = f"{' + "-" * 1_500 + '1}"'),
        in_method("x = [" + 'f"{1+1+1+1}", ' * 200 + "]"),
    ],
    "ELIF": [in_method("if True:", "    pass", *("elif True:\n            pass" for _ in range(201)))],
    "TREE_DEPTH": [in_method("x = " + "not " * 60 + "True"), in_method("x = " + "-" * 60 + "1")],
    "FSTRING": [
        in_method('x = f"{x["a"]}"'),
        in_method("x = f'{1 #}'"),
        in_method("x = f'{{}'"),
        in_method('x = f"{(}"'),
        in_method("x = f\"{'}\" + '}'"),
        in_method('x = (f"{)}", 1)'),
    ],
    "SYNTAX": [
        in_method("x = )"),
        in_method("x = ("),
        in_method("if True"),
        in_method("break"),
        in_method('x = "abc'),
        in_method("x = 1 2"),
    ],
    "SOURCE_SIZE": [in_module() + "#" * 65_536],
}


@pytest.mark.parametrize("source", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(source: str) -> None:
    """An accepted program has one tree with one byte string, which reads back to itself."""
    tree = compile_source(source.encode())
    data = tree.to_bytes()
    assert parse_tree(data) == tree
    assert len(compute_tree_hash(data)) == 32


@pytest.mark.parametrize(
    ("code", "source"),
    [
        pytest.param(code, source, id=f"{code}-{number}")
        for code, many in REFUSED.items()
        for number, source in enumerate(many)
    ],
)
def test_refused(code: str, source: str) -> None:
    """A refused program is refused with its code, at a place inside the file, with a hint."""
    with pytest.raises(ContractRefused) as refused:
        compile_source(source.encode())
    assert refused.value.code == code, str(refused.value)
    assert 0 <= refused.value.line <= source.count("\n") + 1
    assert refused.value.hint


def test_a_refusal_names_line_and_column() -> None:
    """An editor can jump to the place."""
    with pytest.raises(ContractRefused) as refused:
        compile_source(in_method("pass", "x = 1 / 2").encode())
    assert (refused.value.line, refused.value.column) == (10, 13)


@pytest.mark.parametrize(
    ("line", "code", "shown"),
    [
        ('x = "\u26a1\u00e9", $', "IDENTIFIER", "$"),  # the gate
        ('x = ["\u26a1\u00e9", 1 2]', "SYNTAX", "1 2"),  # the host's parser
        ('x = ["\u26a1\u00e9", 1 / 2]', "OPERATOR", "1 / 2"),  # the checker
        ('x = [f"\u26a1\u00e9{y}"]', "UNKNOWN_NAME", "y"),
        ('self.n = 1; x = "\U0001f600"; y = 1 / 2', "OPERATOR", "1 / 2"),
    ],
)
def test_columns_are_characters(line: str, code: str, shown: str) -> None:
    """Whoever refuses: what is not ASCII before the place counts as one, wherever it stands."""
    source = in_method("# \u26a1", line)
    with pytest.raises(ContractRefused) as refused:
        compile_source(source.encode())
    place = source.split("\n")[refused.value.line - 1][refused.value.column - 1 :]
    assert refused.value.code == code and place.startswith(shown)


def test_a_struct_has_a_field() -> None:
    """Its one value would be a byte that takes as long to read as several; an event may well have none."""
    for body in (["    pass"], ['    """Nothing."""'], ['    """Nothing."""', "    pass"]):
        with pytest.raises(ContractRefused) as refused:
            compile_source(in_module("class Empty(Struct):", *body).encode())
        assert (refused.value.code, refused.value.line, refused.value.column) == ("FIELD", 3, 1)
        assert "field" in refused.value.hint
        assert judge_source(in_module("class Empty(Event):", *body).encode()).is_accepted


def test_text_that_is_not_utf8_is_refused() -> None:
    """Bytes that are no text never reach a parser."""
    with pytest.raises(ContractRefused, match="UTF8"):
        compile_source(b"x = '\xff'\n")


def test_comments_and_layout_do_not_change_the_tree() -> None:
    """The tree is what the program means: two spellings of one program are one contract."""
    plain = in_method("x = 1 + 2", "self.n = x")
    spread = in_method('"""Doc."""', "x = (1 +", "     2)  # sum", "", "self.n = x")
    assert compile_source(plain.encode()).to_bytes() == compile_source(spread.encode()).to_bytes()


@pytest.mark.parametrize("name", ["print(1)", "[1]", "x += 1", "while True:\n    pass", "return 1"])
def test_a_hint_speaks_of_the_language_not_of_a_parser(name: str) -> None:
    """What stands where it must not is named by what may stand there."""
    for source in (
        f"{name}\n",
        "from contracts import Contract\n\n\nclass T(Contract):\n" + textwrap.indent(name, "    "),
    ):
        verdict = judge_source(source.encode())
        assert not verdict.is_accepted and verdict.line > 0 and verdict.column > 0
        assert "holds" in verdict.hint


def test_escapes_are_those_that_every_parser_reads_alike() -> None:
    """Two-letter, octal and numbered escapes, a broken line, and any backslash in a raw text."""
    texts = r""" "\\ \' \" \a \b \f \n \r \t \v \0 \18 \101 \377 \x41 \u00e9 \U0001f600 \
" """.strip()
    numbers = r'b"\\ \x41 \377 \0"'
    for text in (texts, numbers, r'r"\d\N{x}\u"', r'br"\u"', r'f"\\{1}\n"'):
        assert judge_source(in_method(f"x = {text}").encode()).is_accepted, text
