"""Contracts that must work, each near something that is forbidden: name -> (body of `run`, result as plain values)."""

from typing import Any, Final

from contracts_corpus.sources import check_of
from ledger import known_ecdsa_answers

BENIGN: Final[dict[str, tuple[str, Any]]] = {
    "arithmetic": ("return (7 // 2) * 10 + 7 % 3 - -4", 35),
    "floor of negatives": ("return -7 // 2 * 100 + -7 % 3", -398),
    "the largest number": ("return 2 ** 254 - 1 + 2 ** 254", 2**255 - 1),
    "the smallest number": ("return -(2 ** 254) - 2 ** 254", -(2**255)),
    "wide product": ("return mul_div(2 ** 200, 2 ** 100, 2 ** 150)", 2**150),
    "bits": ("return (0xF0 | 0x0F) ^ (1 << 4) & 0xFF", 239),
    "octal and binary": ("return 0o17 + 0b11 + 1_000", 1018),
    "chained comparison": ("return 1 if 1 < 2 <= 2 != 3 else 0", 1),
    "short circuit": ("return 1 if len([1]) == 1 or 1 // 0 == 0 else 0", 1),
    "conditional": ("x = 5\nreturn 10 if x > 3 else 20", 10),
    "while with break": ("i = 0\nwhile True:\n    i += 1\n    if i == 10:\n        break\nreturn i", 10),
    "continue": ("t = 0\nfor i in range(10):\n    if i % 2 == 0:\n        continue\n    t += i\nreturn t", 25),
    "range downwards": ("return sum([i for i in range(10, 0, -3)])", 22),
    "for over a dict": ("t = 0\nd = {3: 1, 4: 2}\nfor k in d:\n    t += k * d[k]\nreturn t", 11),
    "unpacking": ("t = 0\nfor a, b in [(1, 2), (3, 4)]:\n    t += a * b\nreturn t", 14),
    "swap": ("a = 1\nb = 2\na, b = b, a\nreturn a * 10 + b", 21),
    "comprehension with conditions": ("return len([i for i in range(100) if i % 2 == 0 if i % 3 == 0])", 17),
    "dict comprehension": ("d = {i: i * i for i in range(5)}\nreturn d[4] + len(d)", 21),
    "nested comprehension": ("return sum([len([j for j in range(i)]) for i in range(5)])", 10),
    "list methods": (
        "x = [3, 1]\nx.append(2)\nx.insert(0, 9)\nx.extend([5])\ny = x.pop(0)\nreturn y * 10 + x.index(2)",
        92,
    ),
    "list is shared, copy is not": ("a = [1]\nb = a\nc = a.copy()\nb.append(2)\nreturn len(a) * 10 + len(c)", 21),
    "negative index and slice": ("x = [1, 2, 3, 4]\nreturn x[-1] * 100 + sum(x[1:3]) * 10 + len(x[:-3])", 451),
    "sorted with a key": ("x = sorted([3, 1, 2], key=negate)\nreturn x[0] * 100 + x[1] * 10 + x[2]", 321),
    "sorted tuples": ('x = sorted([(2, "b"), (1, "z"), (2, "a")])\nreturn 1 if x[1][1] == "a" else 0', 1),
    "text methods": ('return len(" a,b,c ".strip().upper().replace(",", "--").split("--"))', 3),
    "text of characters": ('t = ""\nfor c in "añ水":\n    t = c + t\nreturn 1 if t == "水ña" else 0', 1),
    "f-string": ('x = 12\nt = f"{x}-{x + 1}-{True}"\nreturn 1 if t == "12-13-True" else len(t)', 1),
    "number from text": ('return int("-12") + len(str(10 ** 20))', 9),
    "bytes": ('b = b"\\x01\\xff" + bytes("ä")\nreturn b[1] * 100 + len(b)', 25_504),
    "hash is the standard one": (
        'return 1 if sha256(b"abc").hex().startswith("ba7816bf8f01cfea") else 0',
        1,
    ),
    "any, all, min, max": ("return max([1, 5, 3]) * 10 + min(4, 2) if any([1 > 2, True]) and all([True]) else 0", 52),
    "zip and enumerate": (
        "t = 0\nfor i, pair in enumerate(zip([1, 2], [3, 4])):\n    t += i * pair[0] * pair[1]\nreturn t",
        8,
    ),
    "reversed": ("return reversed([1, 2, 3])[0]", 3),
    "tuples as keys": ('d = {(1, "a"): 5}\nreturn d[(1, "a")]', 5),
    "get with a default": ("d = {1: 2}\nx = d.get(7, 40)\nreturn x + d.get(1, 0)", 42),
    "delete from a dict": ("d = {1: 1, 2: 2}\ndel d[1]\nreturn len(d) * 10 + d.pop(2)", 12),
    "storage scalar and map": (
        "self.m[5] += 7\nself.m[6] = self.m[5]\ndel self.m[5]\nreturn self.m[6] * 10 + self.m[5]",
        70,
    ),
    "membership in storage": ("self.m[1] = 0\nreturn 1 if 1 in self.m and 2 not in self.m else 0", 1),
    "indexed iteration": (
        'n = self.names\nn["bb"] = 3\nn["a"] = 2\nfor k in n:\n    self.m[0] = self.m[0] * 10 + n[k]\nreturn self.m[0]',
        23,
    ),
    "lists in storage": ("self.big = [1, 2]\nx = self.big\nx.append(3)\nreturn len(self.big) * 10 + len(x)", 23),
    "recursion that ends": ("return branch(8)", 0),
    "events": ("emit(Said(n=1))\nemit(Said(2))\nreturn 1", 1),
    "a scheduled call": ('return 1 if schedule(ctx.time + 60, "later") >= 0 else 0', 1),
    "context": ("return 1 if ctx.height > 0 and ctx.sender == ctx.signer and len(ctx.network) == 32 else 0", 1),
    "canonical is canonical": ("return 1 if canonical({2: 1, 1: 2}) == canonical({1: 2, 2: 1}) else 0", 1),
    "a signature that does not hold": (
        "return 1 if verify_ed25519(ctx.sender, ctx.sender, sha256(b'') + sha256(b'')) else 2",
        2,
    ),
    **{
        f"a meter's signature on {case.curve}": (f"return 1 if {check_of(case)} else 2", 1 if case.holds else 2)
        for case in known_ecdsa_answers.CASES
        if case.name in {"honest", "x of R above n"}
    },
    "true is not one": ("return 10 if True == 1 or True in [1] or [1].copy() == [True] else 20", 20),
    "dict walked as it was": ("d = {1: 1}\nfor k in d:\n    d[k + 1] = 1\nreturn len(d)", 2),
    "keys renamed under their loop": (
        """self.names["a"] = 1
for k in self.names:
    del self.names[k]
    self.names[k + "b"] = 2
return self.names["ab"] * 10 + self.names["a"]""",
        20,
    ),
    "the least power": ("return (-2) ** 255", -(2**255)),
    "characters beyond 16 bits": ('t = "a\U0001f600b"\nreturn len(t) * 10 + len(bytes(t[1]))', 34),
    "a sharp s stays": ('return len("\u00df\ufb01".upper()) * 10 + len("\u00a0".strip())', 21),
    "an end of a long range": ("return range(10 ** 18)[-1]", 10**18 - 1),
    "require that holds": ('require(1 < 2, "NO")\nassert 2 > 1, "NO"\nreturn 1', 1),
    "deep but allowed": ("return " + "(" * 12 + "1" + ")" * 12, 1),
    "long but allowed": ("x = 0\n" + "x += 1\n" * 200 + "return x", 200),
    "none and optional": ("x = None\nd = {1: 2}\nreturn 1 if x is None and d.get(5) is None else 0", 1),
}
