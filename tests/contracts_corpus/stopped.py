"""Sources that pass the checker and are stopped while they run: name -> (body of `run`, verdict).

A verdict is `out_of_gas`, or `error` with its code.
"""

from contracts_corpus.sources import check_of
from ledger.known_ecdsa_answers import CASES

LONG = 't = "a"\nfor i in range(20):\n    t = t + t\n'
MANY = LONG + "xs = [t for i in range(1000)]\n"
GROW = 't = "ab"\nwhile True:\n    t = t + t\n'

REMOVED = "d = {i: i for i in range(100000)}\nfor i in range(1, 100000):\n    del d[i]\n"
"""One key in the memory of a hundred thousand, unless the engine gives it back."""

PATH = "d = {}\ns = 1\nfor i in range(87000):\n    s = (5 * s + 1) % 131072\n    d[s] = 1\n"
"""Keys where the interpreter looks, one after the other, for a key that begins there: 87,000 of 131,072 places."""

MANY_TEXTS = 't = "ab"\nfor i in range(19):\n    t = t + t\nxs = [t]\nfor i in range(14):\n    xs = xs + xs\n'
"""16 GiB if anybody wrote them one after the other."""

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
    "one text many times encoded": (MANY_TEXTS + "return len(canonical(xs))", "error STATE_SIZE"),
    **{
        f"places of removed keys, {name}": (f"{REMOVED}while True:\n    {line}", "out_of_gas")
        for name, line in {
            "walked": "for k in d:\n        pass",
            "listed": "x = d.items()",
            "compared": "x = d == {0: 0}",
            "popped one by one": "d[1] = 1\n    x = d.pop(1)",
        }.items()
    },
    "keys along the path of another": (f"{PATH}while True:\n    x = 452479942571831817 in d", "out_of_gas"),
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
    **{
        f"meter signature bomb on {case.curve}": (f"while True:\n    x = {check_of(case)}", "out_of_gas")
        for case in CASES
        if case.name == "sum at infinity"
    },
    **{
        f"one text a thousand times, {name}": (f"{MANY}{line}", verdict)
        for name, (line, verdict) in {
            "encoded": ("return len(canonical(xs))", "error STATE_SIZE"),
            "stored": ("self.rows = xs\nreturn 1", "error STATE_SIZE"),
            "emitted": ("emit(Listed(xs))\nreturn 1", "error EVENTS"),
            "scheduled": ('return schedule(ctx.time, "later_on", xs)', "error SCHEDULE"),
            "sent": ("return IListing(ctx.address).take(xs)", "error ARGUMENTS"),
            "as a key": ("d = {tuple(xs): 1}\nreturn len(d)", "out_of_gas"),
        }.items()
    },
    "one text a thousand times, as a key of one table": (
        f"{LONG}d = {{t: 1}}\nreturn len(canonical([d for i in range(1000)]))",
        "error STATE_SIZE",
    ),
    "search that compares all with all": (
        f'{LONG}hay = t[:2499]\nneedle = t[:1198] + "ba"\nwhile True:\n    x = hay.split(needle)',
        "out_of_gas",
    ),
    # Values that are nearly right.
    "bool as a key of a dict": ("d = {True: 1}\nreturn d[True]", "error TYPE"),
    "bool as a key of storage": ("self.m[True] = 1\nreturn 1", "error TYPE"),
    "bool as an index": ("return [1, 2][True]", "error TYPE"),
    "bool as an amount": ('self.cash.mint("a", True)\nreturn 1', "error TYPE"),
    "bool in an event": ("emit(Said(True))\nreturn 1", "error TYPE"),
    "bool as a due time": ('return schedule(True, "later")', "error TYPE"),
    "bool among numbers": ("return max(1, True)", "error TYPE"),
    "bool in a tuple key": ('self.pairs[(True, "a")] = 1\nreturn 1', "error TYPE"),
    "short tuple key": ("self.pairs[(1,)] = 1\nreturn 1", "error TYPE"),
    "range kept": ("self.big = range(5)\nreturn 1", "error TYPE"),
    "range in a text": ('x = range(5)\nreturn len(f"{x}")', "error TYPE"),
    "keys of two kinds encoded": ('d = {1: 1, "a": 2}\nreturn len(canonical(d))', "error TYPE"),
    "interface as a key": ("d = {IListing(ctx.address): 1}\nreturn 1", "error TYPE"),
    "interface of a short address": ('return IListing(b"x").take([])', "error TYPE"),
    "handle in a schedule": ('return schedule(ctx.time, "later_on", self.m)', "error TYPE"),
    "aliased lists as a number": ("x = [1]\nfor i in range(25):\n    x = [x, x]\nreturn x", "error TYPE"),
    "digits of another script": ('return int("\u0661")', "error VALUE"),
    "digits with a line feed": ('return int("1\\n")', "error VALUE"),
    "code with a line feed": ('t = "A\\n"\nrequire(False, t)\nreturn 1', "error VALUE"),
    "code in another script": ('t = "\u0661"\nrequire(False, t)\nreturn 1', "error VALUE"),
    "least number negated": ("x = -(2 ** 254) * 2\nreturn -x", "error OVERFLOW"),
    "least number divided": ("return (-(2 ** 254) * 2) // -1", "error OVERFLOW"),
    "mask of all bits": ("return -1 & (2 ** 255 - 1)", "error OVERFLOW"),
    "balance past the least": (
        'for i in range(3):\n    self.cash.burn("a", 2 ** 254)\nreturn 1',
        "error OVERFLOW",
    ),
    "deleted under its loop": ("d = {1: 1, 2: 2}\nfor k in d:\n    del d[2]\nreturn 1", "error KEY"),
    "row that its loop takes from": (
        "for i in range(9):\n    self.row.append(i)\nfor x in self.row:\n    self.row.pop()\nreturn self.row.pop()",
        "error INDEX",
    ),
    "exponent past the last": ("return 1 ** 256", "error VALUE"),
    "empty separator": ('return len("abc".split(""))', "error VALUE"),
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
    "min of nothing": ("return min([0][1:])", "error VALUE"),
    "index out of range": ("x = [1]\nreturn x[5]", "error INDEX"),
    "negative index far out": ("x = [1]\nreturn x[-(10 ** 30)]", "error INDEX"),
    "missing key": ("d = {1: 2}\nreturn d[3]", "error KEY"),
    "pop of nothing": ("x = [1]\nx.pop()\nreturn x.pop()", "error INDEX"),
    "huge index": ("x = [1]\nreturn x[2 ** 200]", "error INDEX"),
    "slice far out": ("x = [1]\nreturn len(x[-(2 ** 200):2 ** 200]) // 0", "error DIVISION"),
    "negative shift": ("return 1 << -1", "error VALUE"),
    "negative power": ("return 2 ** -1", "error VALUE"),
    "zero to the zero and on": ("x = 0 ** 0\nwhile True:\n    x = x - 1 + x ** 2", "out_of_gas"),
    "modulo by zero": ("return 1 % 0", "error DIVISION"),
    "overflow by sum": ("return sum([2 ** 254, 2 ** 254])", "error OVERFLOW"),
    "overflow by abs": ("return abs(-(2 ** 255)) + 0", "error OVERFLOW"),
    "overflow by product": ("return 2 ** 200 * 2 ** 200", "error OVERFLOW"),
    "mul_div by zero": ("return mul_div(1, 1, 0)", "error DIVISION"),
    "mul_div too large": ("return mul_div(2 ** 254, 2 ** 254, 1)", "error OVERFLOW"),
    "sum of texts": ('return sum(["a"])', "error TYPE"),
    "mixed comparison": ('return 1 if 1 < "a" else 0', "error TYPE"),
    "mixed sort": ('return len(sorted([1, "a"]))', "error TYPE"),
    "sort of dicts": ("return len(sorted([{1: 1}, {2: 2}]))", "error TYPE"),
    "list as a key": ("d = {1: 1}\nx = [1]\nd[x] = 1\nreturn 1", "error TYPE"),
    "deep list as a key": (
        "d = {(1,): 1}\nt = (1,)\nfor i in range(100):\n    t = (t,)\nd[t] = 1\nreturn 1",
        "error TYPE",
    ),
    "deep equality": (
        "a = [1]\nb = [1]\nfor i in range(5000):\n    a = [a]\n    b = [b]\nreturn 1 if a == b else 0",
        "error DEPTH",
    ),
    "deep value stored": ("a = [1]\nfor i in range(200):\n    a = [a]\nself.big = a\nreturn 1", "error TYPE"),
    "unpack too few": ("a, b = [1]\nreturn a", "error VALUE"),
    "unpack a number": ("x = 1\na, b = x\nreturn a", "error TYPE"),
    "iterate a number": ("x = 1\nfor i in x:\n    pass\nreturn 1", "error TYPE"),
    "call a number": ("xs = [1]\nxs.insert(10 ** 30, 1)\nreturn xs[5]", "error INDEX"),
    "text to number bomb": ('return int("9" + "9".join(["9"] * 1))  // 0', "error TYPE"),
    "digits of a long text": ('t = "9"\nfor i in range(12):\n    t = t + t\nreturn int(t)', "error VALUE"),
    "canonical of a handle": ("return len(canonical(self.m))", "error TYPE"),
    "schedule in the far future": ('return schedule(2 ** 60, "later")', "error SCHEDULE"),
    "schedule the past": ('return schedule(-1, "later")', "error SCHEDULE"),
    "call of nobody": ("return ctx.height // 0", "error DIVISION"),
    "sha of a number": ("x = 5\nreturn len(sha256(x))", "error TYPE"),
    "verify with short keys": ('x = verify_ed25519(b"a", b"b", b"c")\nreturn 1 if x else 1 // 0', "error DIVISION"),
    "event too large": (
        't = "a"\nfor i in range(16):\n    t = t + t\nfor i in range(50):\n    emit(Told(t))\nreturn 1',
        "error EVENTS",
    ),
    "key too long": ('t = "a"\nfor i in range(12):\n    t = t + t\nself.texts[t] = 1\nreturn 1', "error STATE_SIZE"),
    "value too long": ("xs = [2 ** 200 for i in range(60000)]\nself.big = xs\nreturn 1", "error STATE_SIZE"),
    "counter reset by recursion": ("return branch(40)", "out_of_gas"),
    "while with a side effect": ("i = 0\nwhile forever(0) > 0:\n    i += 1\nreturn i", "error DEPTH"),
    "concatenate in a loop": ('t = ""\nwhile True:\n    t = t + "x"', "error MEMORY"),
    "list copied in a loop": ("x = [i for i in range(5000)]\nwhile True:\n    y = x.copy()", "error MEMORY"),
    "sort again and again": (
        "x = [(i * 7919) % 5003 for i in range(2000)]\nwhile True:\n    y = sorted(x)",
        "out_of_gas",
    ),
    "sort with a helper": ("x = [i for i in range(500)]\nwhile True:\n    y = sorted(x, key=negate)", "out_of_gas"),
    "text search quadratic": (
        't = "a"\nfor i in range(14):\n    t = t + t\nu = t + "b"\nwhile True:\n    x = u in t',
        "out_of_gas",
    ),
    "replace again and again": (
        't = "ab"\nfor i in range(14):\n    t = t + t\nwhile True:\n    x = t.replace("a", "c")',
        "out_of_gas",
    ),
    "dict equality": (
        "d = {i: i for i in range(2000)}\ne = {i: i for i in range(2000)}\nwhile d == e:\n    pass\nreturn 1",
        "out_of_gas",
    ),
    "canonical again and again": ("x = [i for i in range(3000)]\nwhile True:\n    y = canonical(x)", "out_of_gas"),
    "multiply large numbers": ("x = 2 ** 127 - 1\nwhile True:\n    y = x * x % (2 ** 200 + 1)", "out_of_gas"),
    "power again and again": ("x = 3\nwhile True:\n    y = x ** 160", "out_of_gas"),
    "zip again and again": ("x = [i for i in range(2000)]\nwhile True:\n    y = zip(x, x)", "error MEMORY"),
    "range objects": ("while True:\n    y = range(2 ** 60)", "out_of_gas"),
    "format numbers": ('x = 2 ** 254\nwhile True:\n    y = f"{x}{x}{x}{x}"', "out_of_gas"),
    "split digits": (
        't = "1,"\nfor i in range(10):\n    t = t + t\nwhile True:\n    y = [int(p) for p in t.split(",") if p != ""]',
        "out_of_gas",
    ),
    "delete and write": ("i = 0\nwhile True:\n    self.m[i] = 1\n    del self.m[i]\n    i += 1", "out_of_gas"),
    "iterate storage while growing": ("for i in range(10 ** 6):\n    self.names[str(i)] = 1\nreturn 1", "out_of_gas"),
}
