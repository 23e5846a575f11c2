"""The contracts of `prices.py`: an operation is written into one, it calls another, and a third only gets values."""

from typing import Final

NAMES: Final = (
    "Address, Contract, Event, Indexed, Interface, Ledger, Map, Struct, Vec, canonical, change_configuration, ctx, "
    "emit, external, init, mul_div, private_value, read_der_signature, require, role, schedule, scheduled, sha256, "
    "verify_ecdsa, verify_ed25519, view"
)
SOURCE: Final = """from contracts import {names}


class Point(Struct):
    x: int
    y: int


class Tray(Struct):
    row: list[int]


class Chest(Struct):
    tray: Tray
    row: list[int]


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
    hollows: list[list[list[int]]]
    hollow_dicts: list[dict[str, int]]
    dicts_of_rows: list[dict[str, list[int]]]
    trays: list[Tray]
    tuples: list[tuple[list[int]]]
    chests: list[Chest]
    maybes: list[list[list[int] | None]]
    deepest: list[list[list[list[list[int]]]]]
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
        self.hollows = [[[]] for i in range(300)]
        self.hollow_dicts = [{{}} for i in range(300)]
        self.dicts_of_rows = [{{"": []}} for i in range(300)]
        self.trays = [Tray([]) for i in range(300)]
        self.tuples = [([],) for i in range(300)]
        self.chests = [Chest(Tray([]), []) for i in range(300)]
        self.maybes = [[None, []] for i in range(300)]
        self.deepest = [[[[[]]]] for i in range(300)]
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
TAKER: Final = """from contracts import Contract, Struct, external, scheduled


class Tray(Struct):
    row: list[int]


class Chest(Struct):
    tray: Tray
    row: list[int]


class Taker(Contract):
    @external
    def take(self, row: list[{hint}]) -> None:
        pass

    @scheduled
    def keep(self, row: list[{hint}]) -> None:
        pass
"""
