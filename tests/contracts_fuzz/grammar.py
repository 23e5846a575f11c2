"""The grammar of the random contracts: how values, statements and loops are written, as templates with holes.

A hole `{type}` is filled with a value of that type by the same grammar, until the depth is used up, when it is a
variable or a literal. `||` is the language's own `|`, doubled braces its own braces. Some operands are zero, missing or
out of range on purpose, so that faults are met too.
"""

from typing import Final

import contracts

KIT: Final = tuple(sorted(contracts.__all__))
CONSTANTS: Final = {"STEP": "7", "WIDE": "-170141183460469231731687303715884105728"}
CLASSES: Final = {
    "Offer": "class Offer(Struct):\n    price: int\n    who: str",
    "Sold": "class Sold(Event):\n    who: Indexed[str]\n    wh: int\n    offers: list[Offer]",
    "IOther": (
        "class IOther(Interface):\n    def double(self, n: int) -> int: ...\n"
        "    def echo(self, row: list[int]) -> list[int]: ...\n    def peek(self) -> int: ...\n"
        "    def back(self, who: Address) -> int: ..."
    ),
}
FIELDS: Final = {
    "n": "int",
    "flag": "bool",
    "label": "str",
    "blob": "bytes",
    "maybe": "int | None",
    "row": "list[int]",
    "best": "Offer",
    "table": "dict[str, int]",
    "other": "Address",
    "m": "Map[int, int]",
    "offers": "Map[str, Offer]",
    "seen": "Map[tuple[str, int], bool]",
    "homes": "Indexed[Map[str, int]]",
    "pairs": "Indexed[Map[tuple[int, str], list[int]]]",
    "deep": "Map[int, Map[str, int]]",
    "book": "Map[int, Vec[int]]",
    "queue": "Vec[Offer]",
    "cash": "Ledger",
}
SETUP: Final = {
    "other": "self.other = other",
    "homes": "self.homes['a'] = 3",
    "cash": "self.cash.mint('a', 100)",
    "queue": "self.queue.append(Offer(4, 'd'))",
}
"""What @init does for a field, if the program has that field."""
LOCALS: Final = {
    "i0": "i0 = n",
    "i1": "i1 = len(t)",
    "i2": "i2 = 3",
    "b0": "b0 = n > 2",
    "t0": "t0 = t",
    "x0": "x0 = bytes(t)",
    "l0": "l0 = [n, 2, 3]",
    "s0": "s0 = ['b', t, 'a']",
    "d0": "d0 = {'a': 1, t: n}",
    "e0": "e0 = {n: [1], 5: [2, 3]}",
    "o0": "o0 = Offer(n, t)",
    "p0": "p0 = (n, t)",
    "f0": "f0 = [o0, Offer(2, 'z')]",
    "u0": "if n > 90:\n    u0 = 1",
}
"""How a local variable starts, in methods that use it; those named here first may be used by the later ones."""
VARIABLES: Final = {
    "int": ["i0", "i1", "i2", "STEP", "n", "self.n", "0", "1", "2", "5", "-3", "40", "WIDE"],
    "small": ["0", "1", "2", "-1", "i2"],
    "bool": ["b0", "True", "False", "self.flag"],
    "str": ["t0", "t", "self.label", "''", "'a'", "'b c'", "' Ab,c '", "'zzzz-\\u00e9'", "'12'"],
    "bytes": ["x0", "b''", "b'ab'", "b'0\\x06\\x02\\x01\\x07\\x02\\x01\\xf0'", "self.blob", "ctx.sender"],
    "list": ["l0", "[]", "[1, 2]", "self.row"],
    "texts": ["s0", "['a']"],
    "dict": ["d0", "{'k': 9}", "self.table"],
    "wide": ["e0", "{}"],
    "offer": ["o0", "self.best", "Offer(who='k', price=1)"],
    "offersrow": ["f0"],
    "tuple": ["p0", "(1, 'q')"],
    "curve": ["'secp256r1'", "'secp192r1'", "'secp192k1'", "'P-256'", "t0"],
    "key": ["'a'", "'b'", "t0", "'d'"],
    "any": ["None", "l0", "d0", "p0", "o0", "i0", "t0"],
}
GRAMMAR: Final[dict[str, str]] = {
    "int": """
        {int} + {int} | {int} - {int} | {int} * {int} | {int} // ({int} || 1) | {int} % ({int} || 1)
        | {int} // {small} | {small} ** {small} | {int} & {int} | {int} || {int} | {int} ^ {int}
        | {int} << {small} | {int} >> {small} | -({int}) | abs({int}) | len({list}) | len({str})
        | len({dict}) | len(self.queue) | len({bytes}) | sum({list}) | max({int}, {int})
        | min({int}, {int}, {int}) | max({list}) | len(min({texts})) | int({bool}) | int(str({int}))
        | int({str}) | {list}[{small}] | l0[{small}] | {bytes}[0] | range(3, {int}, 2)[0] | {dict}[{key}]
        | d0['a'] | {offer}.price | {tuple}[0] | {str}.find({str}) | {list}.index({int}) | l0.pop()
        | l0.pop(0) | d0.pop({key}, {int}) | ({int} if {bool} else {int})
        | mul_div({int}, {int}, {int} || 1) | self.m[{int}] | self.homes[{key}] | self.deep[{int}][{key}]
        | self.cash[{key}] | self.cash.total() | self.queue[{small}].price | self.book[{small}].pop()
        | self.add({int}, {int}) | self.add({int}) | helper({int}, {list}) | recurse({small})
        | self.look({int}) | IOther(self.other).double({int}) | IOther(self.other).peek() | ctx.time
        | ctx.height | schedule(ctx.time + {small}, 'later', {int})
        | sum([q * {int} for q in {list} if q > {int}]) | sum({wide}.get({int}, {list}))
        | {dict}.get({key}, {int}) | sum([q[1] for q in {dict}.items()]) | sum({dict}.values())
        | sum([k * v for k, v in {pairs}]) | u0 | sum(list({range})) | len(list({dict}))
        | sum(self.homes.values()) | len(self.pairs.keys()) | len(self.homes.items())
        | private_value(0) | private_value({small}) | len(private_value(1)) | private_value(2)['k']
    """,
    "small": """
        len({key}) | {small} - 1 | {small} + 1
    """,
    "range": """
        range({small}) | range({small}, 4) | range(6, {small}, -2) | range({int})
    """,
    "bool": """
        {int} < {int} | {int} <= {int} < {int} | {int} == {int} != {int} | {int} >= {small}
        | {int} > {int} | not {bool} | {str} == {str} | ({bool} and {bool}) | ({bool} or {bool} or {bool})
        | {int} in {list} | {key} in {dict} | {key} not in {texts} | {str} in {str} | {int} in {range}
        | {list} == {list} | {dict} == {dict} | {offer} == {offer} | {offer} < {offer} | {list} < {list}
        | {tuple} >= {tuple} | {any} is None | {any} is not None | {any} == {any} | all([{bool}, {bool}])
        | any([q > {int} for q in {list}]) | bool({list}) | bool({int}) | {str}.startswith({str})
        | {str}.endswith({str}) | {int} in self.m | {key} in self.homes | ({key}, {small}) in self.seen
        | self.seen[({key}, {small})] | self.maybe is None | verify_ed25519({bytes}, {bytes}, {bytes})
        | verify_ecdsa({curve}, {bytes}, {bytes}, {bytes}) | read_der_signature({curve}, {bytes})[1]
        | {bytes} < {bytes} | {wide} == {wide} | {tuple} in {wide} | {range} == {range} | b'a' in {bytes}
        | bool({any}) | change_configuration({bytes}) == {list}
        | deploy_contract({str}, {bytes}, {bytes}) == {bytes} | upgrade_contract({str}, {bytes}, {bytes}) < {bytes}
    """,
    "str": """
        {str} + {str} | {str}.upper() | {str}.lower() | {str}.strip() | {str}.replace({str}, {str})
        | {str}[{small}:] | {str}[:{small}] | {str}[{small}:{int}] | ({str} + 'x')[{small}] | str({int})
        | str({bool}) | {str}.join({texts}) | f'{i0}-{b0}{t0}' | {bytes}.hex() | max({texts})
        | {offer}.who | {tuple}[1] | {texts}[{small}] | s0.pop() | ({str} if {bool} else {str})
        | sorted({texts})[0] | self.offers[{key}].who
    """,
    "bytes": """
        bytes({str}) | {bytes} + {bytes} | {bytes}[{small}:] | sha256({bytes}) | canonical({any})
        | canonical({offersrow}) | ctx.address | ctx.signer | ctx.network | ctx.tx_id | canonical({dict})
        | canonical({wide}) | read_der_signature({curve}, {bytes})[0]
    """,
    "list": """
        [{int}, {int}] | [q + {int} for q in {list} if q != {int} if {bool}] | {list}[{small}:]
        | {list}[:{small}] | sorted({list}) | sorted({list}, reverse={bool}) | sorted({list}, key=weigh)
        | list({range}) | list({bytes}) | reversed({list}) | {list} + {list} | {list}.copy()
        | list({dict}.values()) | [q for q in {range}] | [a * b for a, b in zip({list}, {list})]
        | [k for k, v in enumerate({texts})] | list(self.homes.values()) | self.pairs[({small}, {key})]
        | list(self.book[{small}]) | IOther(self.other).echo({list}) | [q for q in self.book[{small}]]
        | [q.price for q in self.queue] | {wide}[{int}] | [q[0] for q in self.pairs] | reversed({range})
        | [len(q) for q in {str}]
    """,
    "texts": """
        [{str}, {str}] | {str}.split({str}) | {str}.split() | sorted({texts}) | {dict}.keys()
        | list(self.homes) | [q for q in {str}] | [q.who for q in {offersrow}] | list({dict})
        | {texts} + {texts} | reversed({str}) | [q for q in self.homes] | [q for q in {dict}]
    """,
    "pairs": """
        zip({list}, {list}) | enumerate({list}) | [({int}, {int})] | [[1, {int}]]
        | sorted(zip({list}, {list}))
    """,
    "dict": """
        {{{key}: {int}, {key}: {int}}} | {{q: {int} for q in {texts}}}
        | {{q: len(q) for q in {texts} if {bool}}} | {{k: v for k, v in {dict}.items()}}
    """,
    "wide": """
        {{{int}: {list}, 2 ** 70: {list}}} | {{{tuple}: {list}}} | {{(q, 'a'): [q] for q in {list}}}
        | {{q: [q] for q in {list}}}
    """,
    "offer": """
        Offer({int}, {str}) | Offer(price={int}, who={str}) | self.offers[{key}] | self.queue[{small}]
        | max({offersrow}) | sorted({offersrow})[0] | {offersrow}[{small}] | self.queue.pop()
        | min({offer}, {offer})
    """,
    "offersrow": """
        [{offer}, {offer}] | list(self.queue) | [Offer(q, 'c') for q in {list}]
        | sorted({offersrow}, key=rank, reverse={bool})
    """,
    "tuple": """
        ({int}, {str}) | tuple([{int}, {int}]) | {tuple} + {tuple} | {tuple}[:{small}]
        | max([{tuple}, {tuple}])
    """,
    "any": """
        {int} | {str} | {list} | {tuple} | {dict} | {offer} | {bytes} | self.maybe | {dict}.get({key})
        | {range} | {texts} | [{any}, {any}] | self.m
    """,
}
STATEMENTS: Final = [
    "i0 = {int}",
    "i1 = {int}",
    "i2 = {small}",
    "t0 = {str}",
    "b0 = {bool}",
    "x0 = {bytes}",
    "l0 = {list}",
    "s0 = {texts}",
    "d0 = {dict}",
    "e0 = {wide}",
    "o0 = {offer}",
    "f0 = {offersrow}",
    "p0 = ({int}, {str})",
    "i0, i1 = {int}, {int}",
    "i0, t0 = {tuple}",
    "i0 += {int}",
    "i1 -= {int}",
    "i1 *= {small}",
    "i0 //= {int} | 1",
    "i0 ^= {int}",
    "t0 += {str}",
    "l0 += {list}",
    "l0[{small}] = {int}",
    "d0[{key}] = {int}",
    "d0['a'] += {int}",
    "l0[0] *= {small}",
    "e0[{int}] = {list}",
    "l0.append({int})",
    "l0.extend({list})",
    "l0.extend({range})",
    "l0.insert({small}, {int})",
    "s0.append({str})",
    "del d0['a']",
    "del self.m[{int}]",
    "del self.homes[{key}]",
    "self.n = {int}",
    "self.n += {int}",
    "self.flag = {bool}",
    "self.label = {str}",
    "self.label += {str}",
    "self.blob = {bytes}",
    "self.maybe = {int}",
    "self.maybe = None",
    "self.row = {list}",
    "self.best = {offer}",
    "self.table = {dict}",
    "self.m[{int}] = {int}",
    "self.m[{int}] += {int}",
    "self.offers[{key}] = {offer}",
    "self.seen[({key}, {small})] = {bool}",
    "self.homes[{key}] += {int}",
    "self.homes[{str}] = {int}",
    "self.pairs[({small}, {key})] = {list}",
    "self.deep[{small}][{key}] += {int}",
    "self.book[{small}].append({int})",
    "self.queue.append({offer})",
    "self.queue[0] = {offer}",
    "self.cash.move({key}, {key}, {small})",
    "self.cash.mint({key}, {int})",
    "self.cash.burn({key}, {small})",
    "emit(Sold({str}, {int}, {offersrow}))",
    "require({int} == {int} or True, 'NEVER')",
    "require({bool} or i0 < 10 ** 20, 'SELDOM')",
    "assert {bool} or {bool} or len(t0) < 90, 'ASSERTED'",
    "schedule(ctx.time + {small}, 'later', {int})",
    "helper({int}, {list})",
    "pass",
    "self.add({int})",
    "u0 = {int}",
    "handle = self.deep[{small}]\nhandle[{key}] += {int}",
    "other = IOther(self.other)\ni0 = other.double({int})",
    "if {bool}:\n{block}",
    "if {bool}:\n{block}\nelif {bool}:\n{block}\nelse:\n{block}",
    "if {bool}:\n    u0 = 1\nelse:\n    u0 = 2",
    "for i1 in {list}:\n{loop}",
    "for i1 in {range}:\n{loop}",
    "for t0 in {texts}:\n{loop}",
    "for i0, i1 in {pairs}:\n{loop}",
    "for t0 in {dict}:\n{loop}",
    "for t0 in self.homes:\n{loop}",
    "for t0, i1 in self.homes.items():\n{loop}",
    "for o0 in self.queue:\n{loop}",
    "for t0 in {str}:\n{loop}",
    "for u1 in {wide}:\n    i1 = len(e0)\n{loop}",
    "for i1 in {bytes}:\n{loop}",
    "while i2 < {small} + 3:\n    i2 += 1\n{loop}",
    "while {bool}:\n    i2 += 1\n    if i2 > 9:\n        break\n{loop}",
    "for i1 in l0:\n    if len(l0) < 20:\n        l0.append(i1)\n{loop}",
    "if {bool} and {bool} and {bool}:\n    return {int}",
]
LEAVES: Final = ["    if {bool}:\n        continue", "    if {bool}:\n        break", "    i0 += 1", "    pass"]
