"""What `prices.py` measures: every operation of the language, small and large where its cost depends on size.

An operation is one line or more that a loop repeats, or a pair: lines before the loop, and those that it repeats. What
they work on (`xs`, `ys`, `text`, `long`, `d`, ...) is made by the method that they stand in.
"""

from typing import Final

from ledger.curves import CURVES, Curve

NAMES: Final = (
    "Address, Contract, Event, Indexed, Interface, Ledger, Map, Struct, Vec, canonical, change_configuration, ctx, "
    "emit, external, init, mul_div, private_value, read_der_signature, require, role, schedule, scheduled, sha256, "
    "verify_ecdsa, verify_ed25519, view"
)
SOURCE: Final = """from contracts import {names}


class Point(Struct):
    x: int
    y: int


class Said(Event):
    n: int
    t: str


class IOther(Interface):
    def echo(self, row: list[int]) -> list[int]: ...
    def nothing(self) -> None: ...


class Trial(Contract):
    n: int
    t: str
    raw: bytes
    maybe: int | None
    row: list[int]
    point: Point
    table: dict[str, int]
    deep: list[list[int]]
    hollow: list[list[int]]
    m: Map[int, int]
    mt: Map[tuple[str, int], bool]
    points: Map[int, Point]
    homes: Indexed[Map[str, int]]
    nobody: Indexed[Map[int, int]]
    inner: Map[int, Map[int, int]]
    vec: Vec[int]
    pvec: Vec[Point]
    cash: Ledger
    other: Address

    @init
    def setup(self, other: Address) -> None:
        self.other = other
        self.n = 2 ** 200
        self.t = "abcdefgh"
        self.row = list(range(50))
        self.deep = [[1, 2, 3] for i in range(30)]
        self.hollow = [[] for i in range(300)]
        self.table = {{str(i): i for i in range(50)}}
        self.cash.mint("a", 1000)
        for i in range(20):
            self.homes[str(i)] = i
            self.vec.append(i)
            self.pvec.append(Point(i, i))
            self.points[i] = Point(i, i)

    @external
    def run(self, count: int) -> None:
        big, small, zero = 2 ** 254 - 12345, 7, 0
        short, text, long = "a", "abc def ghi jkl", "x"
        for i in range(13):
            long = long + long
        raw, longraw = bytes(text), bytes(long)
        xs, ys = [1, 2, 3], list(range(300))
        names = [str(i) for i in range(60)]
        big_keys = [2 ** 100 + i for i in range(40)]
        d = {{"a": 1, "b": 2}}
        wide = {{("a", 1): 1, ("b", 2): 2}}
        nested = [[1, 2], [3, 4]]
        p, q = Point(1, 2), Point(1, 2)
        t2 = ("a", 1)
        flag = True
{before}
        for i in range(count):
{body}

    @scheduled
    def later(self, n: int) -> None:
        pass

    def two(self, a: int, b: int) -> int:
        return a

    @external
    @role("boss")
    def ruled(self) -> None:
        pass


def nothing() -> None:
    pass


def same(n: int) -> int:
    return n


def halves(n: int) -> tuple[int, int]:
    return (n % 2, n)
"""
OTHER: Final = b"""from contracts import Contract, view


class Other(Contract):
    @view
    def echo(self, row: list[int]) -> list[int]:
        return row

    @view
    def nothing(self) -> None:
        pass
"""


def _check_on(curve: Curve) -> tuple[str, str]:
    """A check that is computed to its end: a key that is a point of the curve, numbers in range."""
    key = b"\x04" + b"".join([part.to_bytes(curve.width, "big") for part in curve.base])
    number = (curve.n // 3).to_bytes(curve.width, "big")
    return f"key, pair = {key!r}, {number + number!r}", f"x = verify_ecdsa({curve.name!r}, key, raw, pair)"


# Interpreters search texts of less than 2,500 characters, and for less than 100, in steps that grow with both lengths.
_HARD: Final = "hay, needle = long[:2499], long[:1198] + 'yx'"
_LONG_HARD: Final = "hay, needle = (long + long + long + long)[:29999], long[:97] + 'yx'"

# Name -> the line that is repeated, or (lines before the loop, line). Each is written four times into the loop.
OPERATIONS: Final[dict[str, str | tuple[str, str]]] = {
    "empty loop": "pass",
    "assign": "x = i",
    "unpack": "x, y = t2",
    "unpack three": ("w = (1, 2, 3)", "k, l, m = w"),
    "unpack six": ("w = (1, 2, 3, 4, 5, 6)\na, b, c, e, f, g = w", "g, e, f, b, c, a = w"),
    "for three": ("w = [(1, 2, 3), (1, 2, 3)]", "for k, l, m in w:\n    pass"),
    "comprehension of three": ("w = [(1, 2, 3), (1, 2, 3)]", "x = [k for k, l, m in w]"),
    "and": "x = flag and flag",
    "conditional": "x = 1 if flag else 2",
    "if": "if flag:\n    pass",
    "while with break": "while flag:\n    break",
    "for with continue": "for k in xs:\n    continue",
    "while": "k = 0\nwhile k < 3:\n    k += 1",
    "compare": "x = i < 5",
    "or": "x = flag or flag",
    "compare greater": "x = i > 5",
    "compare greater or equal": "x = i >= 5",
    "not equal": "x = i != 5",
    "equal": "x = i == 5",
    "not in": "x = 7 not in xs",
    "subtract": "x = i - 1",
    "bit or": "x = big | 255",
    "bit xor": "x = big ^ 255",
    "compare chain": "x = 0 <= i < 5",
    "is none": "x = i is None",
    "neg": "x = -i",
    "not": "x = not flag",
    "add": "x = i + 1",
    "add big": "x = big + small",
    "multiply": "x = i * 3",
    "multiply big": ("h = 2 ** 126 + 7", "x = h * h"),
    "divide": "x = i // 3",
    "divide big": "x = big // 987654321987",
    "modulo big": "x = big % 12345678987654321234567898",
    "power": "x = 3 ** 150",
    "power small": "x = 2 ** 2",
    "shift": "x = 3 << 200",
    "shift right": "x = big >> 3",
    "bit and": "x = big & 255",
    "mul_div": "x = mul_div(big, big, big)",
    "constant text": "x = 'abc'",
    "concatenate": "x = text + text",
    "concatenate long": "x = long + long",
    "concatenate bytes": "x = longraw + longraw",
    "format": "x = f'{i}-{text}'",
    "compare texts": ("other = long[:]", "x = long == other"),
    "order texts": ("other = long[:]", "x = long < other"),
    "text in text": "x = 'xy' in long",
    "text in text, worst": ("other = long[:4000] + 'y'", "x = other in long"),
    "find": "x = long.find('y')",
    "find, worst of short ones": ("other = long[:49] + 'y' + long[:49]", "x = long.find(other)"),
    "find, worst": ("other = long[:2000] + 'y' + long[:2000]", "x = long.find(other)"),
    "startswith": "x = long.startswith('x')",
    "endswith": "x = long.endswith(long)",
    "find, small and worst": (_HARD, "x = hay.find(needle)"),
    "find, short and worst": (_LONG_HARD, "x = hay.find(needle)"),
    "in, small and worst": (_HARD, "x = needle in hay"),
    "in bytes, small and worst": (_HARD + "\nhay, needle = bytes(hay), bytes(needle)", "x = needle in hay"),
    "replace, small and worst": (_HARD, "x = hay.replace(needle, 'z')"),
    "replace, short and worst": (_LONG_HARD, "x = hay.replace(needle, 'z')"),
    "split, small and worst": (_HARD, "x = hay.split(needle)"),
    "split, short and worst": (_LONG_HARD, "x = hay.split(needle)"),
    "split": "x = text.split()",
    "split by": "x = text.split(' ')",
    "split long": ("other = ' '.join(list(long))", "x = other.split()"),
    "split long by": ("other = ' '.join(list(long))", "x = other.split(' ')"),
    "split spaces": ("other = ' '.join(['' for k in range(4000)])", "x = other.split()"),
    "strip": "x = text.strip()",
    "upper": "x = text.upper()",
    "upper long": "x = long.upper()",
    "lower wide": ("other = long.replace('x', '\\u00e9')", "x = other.lower()"),
    "replace": "x = text.replace('a', 'b')",
    "replace in nothing": ("z = ''", "x = z.replace('a', 'b')"),
    "replace long": "x = long.replace('x', 'yz')",
    "replace nothing": "x = long.replace('', 'y')",
    "replace rarely": "x = long.replace('xxxxxxxx', '')",
    "join": "x = short.join(names)",
    "join short": "x = short.join([text])",
    "join empty": ("z = []", "x = short.join(z)"),
    "join text": "x = short.join(long)",
    "hex": "x = raw.hex()",
    "hex long": "x = longraw.hex()",
    "bytes": "x = bytes(text)",
    "bytes wide": ("other = long.replace('x', '\\u20ac')", "x = bytes(other)"),
    "slice text": "x = text[1:3]",
    "slice text long": "x = long[1:]",
    "index text": "x = text[3]",
    "index bytes": "x = raw[3]",
    "list": "x = [i, i, i]",
    "list empty": "x = []",
    "tuple": "x = (i, i)",
    "struct": "x = Point(i, i)",
    "attribute": "x = p.x",
    "dict empty": "x = {}",
    "dict": "x = {'a': i, 'b': i}",
    "dict tuple keys": "x = {(i, 'a'): i}",
    "dict big keys": "x = {big: i}",
    "list comprehension": "x = [k for k in xs]",
    "list comprehension long": "x = [k for k in ys]",
    "list comprehension none": "x = [k for k in ys if not flag]",
    "list comprehension unpacks": ("z = zip(ys, ys)", "x = [k for k, v in z]"),
    "dict comprehension": "x = {k: k for k in xs}",
    "dict comprehension long": "x = {k: k for k in ys}",
    "dict comprehension big keys": "x = {k: 1 for k in big_keys}",
    "for": "for k in xs:\n    pass",
    "for long": "for k in ys:\n    pass",
    "for text": "for k in text:\n    pass",
    "for dict": "for k in d:\n    pass",
    "for dict long": ("e = {k: 1 for k in ys}", "for k in e:\n    pass"),
    "for wide dict": "for k in wide:\n    pass",
    "for pairs": ("z = zip(xs, xs)", "for k, v in z:\n    pass"),
    "for vec": "for k in self.vec:\n    pass",
    "for indexed map": "for k in self.homes:\n    pass",
    "index list": "x = xs[1]",
    "index list negative": "x = xs[-1]",
    "index tuple": "x = t2[0]",
    "index range": ("r = range(50)", "x = r[4]"),
    "set item list": "xs[1] = i",
    "aug item list": "xs[1] += 1",
    "set item dict": "d['a'] = i",
    "set item dict big": "d2 = d\nd2['a'] = i",
    "index dict": "x = d['a']",
    "index wide dict": "x = wide[t2]",
    "aug item dict": "d['a'] += 1",
    "delete item": "d['z'] = 1\ndel d['z']",
    "append": ("z = [0]", "z.append(i)"),
    "pop": ("z = list(range(100000))", "x = z.pop()"),
    "pop first": ("z = list(range(20000))", "x = z.pop(0)"),
    "insert": ("z = [0]", "z.insert(0, i)"),
    "insert long": ("z = list(range(60000))", "z.insert(0, i)"),
    "extend": ("z = [0]", "z.extend(xs)"),
    "extend by one": ("z = [0]\none = [1]", "z.extend(one)"),
    "extend by range": ("z = [0]", "z.extend(range(3))"),
    "extend long": ("z = [0]", "z.extend(ys)"),
    "copy": "x = xs.copy()",
    "index of": "x = ys.index(250)",
    "slice list": "x = xs[1:]",
    "slice list long": "x = ys[1:]",
    "add lists": "x = xs + xs",
    "add lists long": "x = ys + ys",
    "add tuples": "x = t2 + t2",
    "equal lists": ("z = ys.copy()", "x = ys == z"),
    "equal nested": ("z = [[1, 2], [3, 4]]", "x = nested == z"),
    "equal deep": ("z = [[[[[[[[1]]]]]]]]\ny = [[[[[[[[1]]]]]]]]", "x = z == y"),
    "equal structs": "x = p == q",
    "order structs": "x = p < q",
    "equal dicts": ("e = {k: 1 for k in ys}\nf = {k: 1 for k in ys}", "x = e == f"),
    "equal dicts of dicts": ("e = {1: {1: {1: 1}}}\nf = {1: {1: {1: 1}}}", "x = e == f"),
    "equal dicts of long keys": ("e = {long[1:]: 1}\nf = {long[1:]: 1}", "x = e == f"),
    "equal dicts of long tuples": ("e = {(long, 1): 1}\nf = {(long, 1): 1}", "x = e == f"),
    "equal ranges": ("r = range(50)", "x = r == range(50)"),
    "order lists": ("z = ys.copy()", "x = ys < z"),
    "order nested": ("z = [[[[[[1]]]]]]\ny = [[[[[[1]]]]]]", "x = z < y"),
    "in list": "x = 250 in ys",
    "in list of lists": ("z = [[k] for k in ys]\nlast = [299]", "x = last in z"),
    "in dict": "x = 'a' in d",
    "in range": "x = i in range(1000)",
    "dict get": "x = d.get('a')",
    "dict get wide": "x = wide.get(t2, 0)",
    "dict keys": "x = d.keys()",
    "dict values": "x = d.values()",
    "dict items": "x = d.items()",
    "dict items empty": ("e = {}", "x = e.items()"),
    "dict items long": ("e = {k: 1 for k in ys}", "x = e.items()"),
    "dict pop": "x = d.pop('zz', 1)",
    "abs": "x = abs(i)",
    "all": ("z = [True for k in ys]", "x = all(z)"),
    "any": ("z = [False for k in ys]", "x = any(z)"),
    "any short": ("z = [False]", "x = any(z)"),
    "bool": "x = bool(i)",
    "bool of range": ("r = range(50)", "x = bool(r)"),
    "enumerate": "x = enumerate(xs)",
    "enumerate long": "x = enumerate(ys)",
    "int": "x = int('123')",
    "int long": ("z = '9' + str(2 ** 250)", "x = int('0' + z[1:])"),
    "int of bool": "x = int(flag)",
    "len": "x = len(xs)",
    "len of range": "x = len(range(100))",
    "list of range": "x = list(range(3))",
    "list of long range": "x = list(range(300))",
    "list of text": "x = list(long)",
    "list of dict": "x = list(d)",
    "max two": "x = max(i, 3)",
    "max": "x = max(xs)",
    "max long": "x = max(ys)",
    "max of two texts": "x = max(text, short)",
    "min of dict": ("e = {str(k): 1 for k in range(500)}", "x = min(e)"),
    "max of texts": "x = max(names)",
    "max of structs": ("z = [Point(k, k) for k in ys]", "x = max(z)"),
    "min": "x = min(i, 3, 4)",
    "range": "x = range(3)",
    "range of three": "x = range(3, 90, 2)",
    "reversed": "x = reversed(xs)",
    "reversed long": "x = reversed(ys)",
    "str": "x = str(i)",
    "str big": "x = str(big)",
    "str of text": "x = str(text)",
    "sum": "x = sum(xs)",
    "sum long": "x = sum(ys)",
    "sum of range": "x = sum(range(300))",
    "sum of big": ("z = [2 ** 240 + k for k in ys]", "x = sum(z)"),
    "tuple of list": "x = tuple(xs)",
    "zip": "x = zip(xs, xs)",
    "zip long": "x = zip(ys, ys)",
    "zip empty": ("z = []", "x = zip(z, z)"),
    "zip one empty": ("z = []", "x = zip(z)"),
    "zip eight empty": ("z = []", "x = zip(z, z, z, z, z, z, z, z)"),
    "zip dict": ("e = {k: 1 for k in range(9000)}", "x = zip(e, xs)"),
    "zip many": "x = zip(xs, xs, xs, xs)",
    "sorted": "x = sorted(xs)",
    "sorted one": ("z = [1]", "x = sorted(z)"),
    "sorted reverse": "x = sorted(ys, reverse=flag)",
    "sorted mixed": ("z = [k * 7919 % 1009 for k in range(1000)]", "x = sorted(z)"),
    "sorted big": ("z = [2 ** 240 + k * 7919 % 1009 for k in range(1000)]", "x = sorted(z)"),
    "sorted texts": "x = sorted(names)",
    "sorted long texts": ("z = [long + str(k * 7919 % 101) for k in range(30)]", "x = sorted(z)"),
    "sorted structs": ("z = [Point(1, k * 7919 % 101) for k in range(100)]", "x = sorted(z)"),
    "sorted tuples": ("z = [(1, (1, (1, k * 7919 % 101))) for k in range(100)]", "x = sorted(z)"),
    "sorted by key": "x = sorted(xs, key=same)",
    "sorted by tuples": "x = sorted(xs, key=halves)",
    "call": "nothing()",
    "call with argument": "x = same(i)",
    "call method": "x = self.two(i, i)",
    "field": "x = self.n",
    "field text": "x = self.t",
    "field optional": "x = self.maybe",
    "field list": "x = self.row",
    "field nested": "x = self.deep",
    "field of empty rows": "x = self.hollow",
    "field dict": "x = self.table",
    "field struct": "x = self.point",
    "set field": "self.n = i",
    "set field text": "self.t = text",
    "set field long": "self.t = long",
    "set field list": "self.row = xs",
    "set field list long": "self.row = ys",
    "set field dict": "self.table = d",
    "set field struct": "self.point = p",
    "aug field": "self.n += 1",
    "map get": "x = self.m[i]",
    "map get unwritten structs": "x = self.points[i + 100]",
    "map get struct": "x = self.points[3]",
    "map set": "self.m[i] = i",
    "map aug": "self.m[1] += 1",
    "map contains": "x = i in self.m",
    "map delete": "del self.m[i]",
    "map tuple key": "x = self.mt[t2]",
    "map tuple set": "self.mt[t2] = flag",
    "map inner": "x = self.inner[1][i]",
    "map inner set": "self.inner[i][1] = i",
    "map handle": "x = self.inner[i]",
    "homes keys": "x = self.homes.keys()",
    "homes items": "x = self.homes.items()",
    "homes values": "x = self.homes.values()",
    "keys of nothing among many writes": ("for k in range(4000):\n    self.m[k] = k", "x = self.nobody.keys()"),
    "keys of what was deleted": (
        "for k in range(300):\n    self.nobody[k] = k\n    del self.nobody[k]",
        "x = self.nobody.keys()",
    ),
    "keys after a write": (
        "for k in range(4000):\n    self.m[k] = k",
        "self.m[10000 + i] = i\nx = self.nobody.keys()",
    ),
    "vec get": "x = self.vec[3]",
    "vec get negative": "x = self.vec[-1]",
    "vec len": "x = len(self.vec)",
    "vec set": "self.vec[3] = i",
    "vec append": "self.vec.append(i)",
    "vec pop": "self.vec.append(i)\nx = self.vec.pop()",
    "vec of structs": "x = list(self.pvec)",
    "ledger get": "x = self.cash['a']",
    "ledger total": "x = self.cash.total()",
    "ledger move": "self.cash.move('a', 'b', 1)",
    "ledger mint": "self.cash.mint('a', 1)",
    "ledger burn": "self.cash.burn('a', 1)",
    "require": "require(flag, 'NO')",
    "assert": "assert flag, 'NO'",
    "sha256": "x = sha256(raw)",
    "sha256 long": "x = sha256(longraw)",
    "canonical": "x = canonical(i)",
    "canonical list": "x = canonical(ys)",
    "canonical nested": ("z = [[[[[[1]]]]]]", "x = canonical(z)"),
    "canonical dict": ("e = {k: 1 for k in ys}", "x = canonical(e)"),
    "canonical text": "x = canonical(long)",
    "canonical of rows": ("z = [[] for k in range(3000)]", "x = canonical(z)"),
    "canonical of pairs": ("z = [(k, k) for k in range(3000)]", "x = canonical(z)"),
    "canonical of tables": ("z = [{1: 1} for k in range(3000)]", "x = canonical(z)"),
    "canonical big": ("z = [2 ** 240 + k for k in ys]", "x = canonical(z)"),
    "private value": "x = private_value(0)",
    "private list": "x = private_value(1)",
    "private nested": "x = private_value(2)",
    "private empty rows": "x = private_value(3)",
    "ctx": "x = ctx.sender",
    "ctx time": "x = ctx.time",
    "interface": "x = IOther(self.other)",
    "call contract": "IOther(self.other).nothing()",
    "call contract with list": "x = IOther(self.other).echo(ys)",
    "verify_ed25519": (
        "key, sig = raw + raw, raw + raw + raw + raw",
        "x = verify_ed25519(longraw[:32], raw, longraw[:64])",
    ),
    "emit": ("z = long[:100]", "emit(Said(i, z))"),
    "schedule": "x = schedule(ctx.time + 5, 'later', i)",
    "read_der_signature": ("z = b'0\\x06\\x02\\x01\\x07\\x02\\x01\\x70'", "x, y = read_der_signature('secp256r1', z)"),
    "read_der_signature of nothing": "x = read_der_signature('secp256r1', longraw)",
    **{f"verify_ecdsa {curve.name}": _check_on(curve) for curve in CURVES.values()},
}
