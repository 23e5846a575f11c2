"""Random rows of tokens and random f-strings in a method: mostly no contract, and each interpreter must say so alike.

Interpreters differ in what they parse (f-strings since 3.12, type parameters, words that became keywords), so here is
where a verdict would differ first. Found by it: type parameters and `type X = int`, two codes for one source.
"""

import random
from collections.abc import Iterator
from typing import Final

HEAD: Final = (
    "from contracts import Contract, ctx, external, require\n\n\nclass T(Contract):\n    m: int\n\n"
    "    @external\n    def run(self, x: int, y: str) -> int:\n        "
)
_IN_F_STRINGS: Final = r"""
{ } {{ }} x y ! r s = : > 10 [ ] ( ) ' a + 1 , != == lambda if else . " f' \n \x41 \ * {x} {y} {x: {x!r} {x=} {'a'} ''
{_{1:2}[1]} é \{ \} _not_ _is_ _in_ yield_ await_ x:=1
"""
_TOKENS: Final = r"""
x y 1 ( ) [ ] { } , : = + - * ** / // % @ < > << >> == != is not in and or if else for while lambda def class return
pass break type match case _ print async await yield import from as global nonlocal del assert raise try except finally
with True False None ... . "a" 'b' b"c" f"{x}" f"{x!r}" r"\d" 0x1F 1_0 0b1 00 1.5 1j ; -> := ~ & | ^ ! $ ? ` "\d" "\400"
b"\400" u"a" rb"a" *x **y @external 0 é "é" match except* 1if 0x1for 1_ x.y self self.m ctx.sender f[T]
"""
IN_F_STRINGS: Final = (*(word.replace("_", " ") for word in _IN_F_STRINGS.split()), '"""')
TOKENS: Final = (
    *_TOKENS.split(),
    "\n        ",
    "\n            ",
    "\n    ",
    "\n",
    "type X = int",
    "def f[T](x): pass",
    "class A[T]: pass",
)


def snippets(seed: int, count: int) -> Iterator[str]:
    """Whole sources, the same ones for a seed on every interpreter."""
    rng = random.Random(seed)
    for _ in range(count):
        if rng.random() < 0.5:
            quote = rng.choice(['"', "'", '"""', "'''"])
            body = "".join(rng.choice(IN_F_STRINGS) for _ in range(rng.randint(1, 7)))
            before, after = rng.choice(["", '"a" ', 'f"{x}" ']), rng.choice(["", ' "b"', ' f"{x}"', ' f""', ' ""'])
            line = f"z = {before}f{quote}{body}{quote}{after}"
        else:
            line = " ".join(rng.choice(TOKENS) for _ in range(rng.randint(1, 9)))
        yield f"{HEAD}{line}\n        return 1\n"
