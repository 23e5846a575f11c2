"""Programs that want out, want the machine, or want something for nothing: each ends as it must, and on time.

INTERNAL, an exception that is no verdict, or more than 1,000 ns of CPU for a unit of gas would be an engine bug. (The
network's bar is 100 ns on a quiet machine; the bound here only tells a mispriced operation from a busy machine.)
"""

import time
from collections.abc import Callable

import pytest

from contracts.compiler import compile_source
from contracts.errors import ContractRefused
from contracts.testing import Chain

SENDER = b"\x01" * 32
GAS_LIMIT = 5_000_000
NANOSECONDS_PER_GAS_MAX = 1_000
GROW = 't = "ab"\nwhile True:\n    t = t + t\n'

REFUSED = {
    "class ladder": 'return "".__class__.__mro__[1].__subclasses__()',
    "frame through a generator": "return (x for x in [1]).gi_frame.f_back.f_globals",
    "frame without underscores": "g = [x for x in [1]]\nreturn g.gi_frame",
    "format string": 'return len("{0.__class__}".format(self))',
    "format_map": 'return len("{x}".format_map({}))',
    "percent with names": 'return "%(x)s".mod({})',
    "builtins": "return __builtins__",
    "import call": 'return __import__("os")',
    "import statement": "import os\nreturn 1",
    "eval": 'return eval("1")',
    "exec": 'exec("x = 1")\nreturn 1',
    "compile": 'return compile("1", "", "eval")',
    "globals": "return globals()",
    "getattr": 'return getattr(self, "x")',
    "type of a value": "return type(1)",
    "catch the meter": "try:\n    pass\nexcept BaseException:\n    pass\nreturn 1",
    "exception star": "try:\n    pass\nexcept* ValueError:\n    pass\nreturn 1",
    "finally": "try:\n    return 1\nfinally:\n    pass",
    "class pattern": "match 1:\n    case object():\n        return 1",
    "decorator of a method": "def f() -> int:\n    return 1\nreturn f()",
    "lambda default": "return (lambda x=1: x)()",
    "function attribute": "return self.run.__globals__",
    "bound method": "return [].append.__self__",
    "sort by identity": "return sorted([1, 2], key=id)",
    "hash of a text": 'return hash("a")',
    "identity": "return 1 if 1 is 1 else 0",
    "repr": "return len(repr(self))",
    "conversion": 'return len(f"{self!r}")',
    "set order": "return len({1, 2})",
    "clock": "import time\nreturn time.time()",
    "random": "return random()",
    "star call": "return max(*[1, 2])",
    "global": "global run\nreturn 1",
    "huge literal": "return " + "9" * 80,
    "deep brackets": "return " + "(" * 20 + "1" + ")" * 20,
    "deep unary": "return " + "-" * 1_000 + "1",
    "many terms": "return " + " + ".join(["1"] * 2_000),
    "long else chain": "if True:\n    return 1\n" + "elif True:\n    return 1\n" * 300,
    "private field": "return self._Trial__x",
    "assign to a method": "self.run = 1\nreturn 1",
    "assign to context": 'ctx.sender = b""\nreturn 1',
    "infinite float": "return int(1e999)",
    "walrus in a comprehension": "return len([y := 1 for x in [1]])",
}

STOPPED = {
    "endless loop": ("while True:\n    pass", "out_of_gas"),
    "endless loop with continue": ("while True:\n    continue", "out_of_gas"),
    "long range": ("x = 0\nfor i in range(10 ** 18):\n    x = i\nreturn x", "out_of_gas"),
    "sum of a long range": ("return sum(range(10 ** 10))", "out_of_gas"),
    "list of a long range": ("return len(list(range(10 ** 10)))", "out_of_gas"),
    "sorted long range": ("return len(sorted(range(10 ** 9)))", "out_of_gas"),
    "reversed long range": ("return len(reversed(range(10 ** 9)))", "out_of_gas"),
    "max of a long range": ("return max(range(10 ** 12))", "out_of_gas"),
    "any of a long range": ("return 1 if any(range(10 ** 12)) else 0", "out_of_gas"),
    "enumerate long range": ("return len(enumerate(range(10 ** 12)))", "out_of_gas"),
    "zip of long ranges": ("return len(zip(range(10 ** 12), range(10 ** 12)))", "out_of_gas"),
    "tuple of a long range": ("return len(tuple(range(10 ** 12)))", "out_of_gas"),
    "extend by a long range": ("xs = [1]\nxs.extend(range(10 ** 12))\nreturn 1", "out_of_gas"),
    "comprehension over a long range": ("return len([i for i in range(10 ** 12)])", "out_of_gas"),
    "dict comprehension": ("return len({i: i for i in range(10 ** 12)})", "out_of_gas"),
    "list that feeds its own loop": ("xs = [1]\nfor x in xs:\n    xs.append(x)\nreturn 1", "out_of_gas"),
    "doubling text": (GROW, "error TEXT_SIZE"),
    "doubling bytes": (GROW.replace('"ab"', 'b"ab"'), "error TEXT_SIZE"),
    "doubling text in f-string": (GROW.replace("t + t", 'f"{t}{t}"'), "error TEXT_SIZE"),
    "doubling list": ("t = [1]\nwhile True:\n    t = t + t", "error MEMORY"),
    "doubling tuple": ("t = (1,)\nwhile True:\n    t = t + t", "error MEMORY"),
    "self extend": ("t = [1]\nwhile True:\n    t.extend(t)", "error MEMORY"),
    "replace bomb": (
        't = "a"\nfor i in range(19):\n    t = t + t\nreturn len(t.replace("a", t))',
        "error TEXT_SIZE",
    ),
    "join bomb": ('t = "a"\nfor i in range(18):\n    t = t + t\nreturn len(t.join(list(t)))', "error TEXT_SIZE"),
    "multiplied text": ('return len("a" * 10 ** 9)', "error TYPE"),
    "multiplied list": ("return len([0] * 10 ** 9)", "error TYPE"),
    "power tower": ("x = 2\nwhile True:\n    x = x ** 255", "error OVERFLOW"),
    "shift bomb": ("return 1 << 10 ** 9", "error VALUE"),
    "product": ("x = 3\nwhile True:\n    x = x * x", "error OVERFLOW"),
    "digits": ('return int("1_0")', "error VALUE"),
    "cycle compared": (
        "a = [1]\na.append(a)\nb = [1]\nb.append(b)\nreturn 1 if a == b else 0",
        "error DEPTH",
    ),
    "cycle encoded": ("a = [1]\na.append(a)\nreturn len(canonical(a))", "error DEPTH"),
    "cycle sorted": ("a = [1]\na.append(a)\nb = sorted([a, a])\nreturn 1", "error TYPE"),
    "shared graph compared": (
        "a = [1]\nb = [1]\nfor i in range(14):\n    a = [a, a]\n    b = [b, b]\nwhile a == b:\n    pass\nreturn 1",
        "out_of_gas",
    ),
    "shared graph encoded": (
        "a = [1, 1, 1, 1]\nfor i in range(12):\n    a = [a, a, a, a]\nreturn len(canonical(a))",
        "out_of_gas",
    ),
    "nested list": ("a = [1]\nwhile True:\n    a = [a]", "out_of_gas"),
    "colliding keys": (
        "d = {0: 0}\nfor i in range(10 ** 9):\n    d[i * (2 ** 61 - 1)] = i\nreturn 1",
        "out_of_gas",
    ),
    "tuple keys": ("d = {(0, 0): 0}\nfor i in range(10 ** 9):\n    d[(i, i)] = i\nreturn 1", "out_of_gas"),
    "dict growth": ("d = {0: 0}\nfor i in range(10 ** 9):\n    d[i] = i\nreturn 1", "out_of_gas"),
    "insert at the front": ("a = [0]\nwhile True:\n    a.insert(0, 1)", "out_of_gas"),
    "search in a long text": (
        't = "a"\nfor i in range(18):\n    t = t + t\nwhile True:\n    x = t.find("ab")',
        "out_of_gas",
    ),
    "split a long text": (
        't = "a,"\nfor i in range(16):\n    t = t + t\nwhile True:\n    x = t.split(",")',
        "out_of_gas",
    ),
    "compare long texts": (
        't = "a"\nfor i in range(18):\n    t = t + t\nu = t + "a"\nt = t + "b"\nwhile u < t:\n    pass',
        "out_of_gas",
    ),
    "case of long texts": ('t = "a"\nfor i in range(18):\n    t = t + t\nwhile True:\n    x = t.upper()', "out_of_gas"),
    "hash bomb": ('b = b"a"\nfor i in range(18):\n    b = b + b\nwhile True:\n    x = sha256(b)', "out_of_gas"),
    "signature bomb": (
        "while True:\n    x = verify_ed25519(ctx.sender, ctx.sender, sha256(ctx.sender) + ctx.tx_id)",
        "out_of_gas",
    ),
    "storage bomb": ("i = 0\nwhile True:\n    self.m[i] = i\n    i += 1", "out_of_gas"),
    "read bomb": ("while True:\n    x = self.m[1]", "out_of_gas"),
    "big value read again and again": (
        "xs = [i % 100 for i in range(20000)]\nself.big = xs\nwhile True:\n    x = self.big",
        "out_of_gas",
    ),
    "big value written again and again": (
        "xs = [i % 100 for i in range(20000)]\nwhile True:\n    self.big = xs",
        "out_of_gas",
    ),
    "too many events": ("while True:\n    emit(Said(1))", "error EVENTS"),
    "too many scheduled calls": ("while True:\n    x = schedule(ctx.time, 'later')", "out_of_gas"),
    "endless recursion": ("return forever(1)", "error DEPTH"),
    "mutual recursion": ("return ping(1)", "error DEPTH"),
    "branching recursion": ("return branch(60)", "out_of_gas"),
    "recursion in a sort key": ("return len(sorted([3, 2, 1], key=forever))", "error DEPTH"),
    "unbound variable": ("if len(self.big) > 0:\n    x = 1\nreturn x", "error UNBOUND"),
    "unbound in a list": ("if len(self.big) > 0:\n    x = 1\nreturn len([x])", "error UNBOUND"),
    "bool as int": ("return True + True", "error TYPE"),
    "float by division": ("return 7 % 0", "error DIVISION"),
    "poisoned result": ('return "text"', "error TYPE"),
    "handle as a result": ("return self.m", "error TYPE"),
    "handle in a list": ("return len(canonical([self.m]))", "error TYPE"),
    "handle stored": ("self.big = [self.m]\nreturn 1", "error TYPE"),
    "handle compared": ("return 1 if self.m == self.m else 0", "error TYPE"),
    "surrogate by hand": ('return len(f"{self.m}")', "error TYPE"),
    "code that is no code": ('t = "<b>"\nrequire(False, t)\nreturn 1', "error VALUE"),
    "code of another type": ("x = 5\nrequire(False, x)\nreturn 1", "error TYPE"),
    "condition of another type": ('x = 1\nrequire(x, "NO")\nreturn 1', "error TYPE"),
    "negative range trick": ("return len(range(-(2 ** 62), 2 ** 62))", "error VALUE"),
    "whitespace split of a long text": (
        't = "a "\nfor i in range(16):\n    t = t + t\nwhile True:\n    x = t.split()',
        "out_of_gas",
    ),
}
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
"""
FIELDS = """
m: Map[int, int]
big: list[int]

@scheduled
def later(self) -> None:
    pass
"""


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_refused_at_deploy(source_of: Callable[..., bytes], body: str) -> None:
    """None of these becomes a tree."""
    with pytest.raises(ContractRefused):
        compile_source(source_of(body, before=BEFORE, fields=FIELDS))


@pytest.mark.parametrize(("body", "verdict"), STOPPED.values(), ids=STOPPED)
def test_stopped_while_running(source_of: Callable[..., bytes], body: str, verdict: str) -> None:
    """Accepted, then stopped: the verdict is exact, nothing stays, and the time was paid for."""
    chain = Chain()
    contract = chain.deploy(source_of(body, before=BEFORE, fields=FIELDS), name="trial")
    before = dict(chain.state)
    start = time.process_time_ns()
    outcome = chain.attempt(contract, "run", sender=SENDER, gas=GAS_LIMIT)
    elapsed_ns = time.process_time_ns() - start
    shown = outcome.status if outcome.status == "out_of_gas" else f"{outcome.status} {outcome.code}"
    assert shown == verdict
    assert dict(chain.state) == before
    assert outcome.events == ()
    assert outcome.gas_used <= GAS_LIMIT
    if outcome.gas_used > 50_000:
        assert elapsed_ns < NANOSECONDS_PER_GAS_MAX * outcome.gas_used


def test_the_deepest_legal_recursion_is_a_verdict(source_of: Callable[..., bytes]) -> None:
    """Blocks and expressions nested deep, called to the depth limit, through a sort key too: DEPTH, not INTERNAL."""
    blocks = "".join("    " * (depth + 1) + "if n > 0:\n" for depth in range(12))
    inner = "deep(n + 1)"
    for _ in range(5):
        inner = f"(0 + len([{inner}]))"
    deep = f"def deep(n: int) -> int:\n{blocks}{'    ' * 13}return {inner}\n    return 0\n"
    sorting = "def sorting(n: int) -> int:\n    return len(sorted([n + 1, n + 2], key=sorting))\n"
    for call in ("deep(1)", "sorting(1)"):
        chain = Chain()
        contract = chain.deploy(source_of(f"return {call}", before=deep + "\n\n" + sorting), name="trial")
        outcome = chain.attempt(contract, "run", sender=SENDER)
        assert (outcome.status, outcome.code) == ("error", "DEPTH")
