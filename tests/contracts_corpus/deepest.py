"""The program that nests deepest: as many blocks and expressions as a file may, in each of as many calls as may nest.

What a level takes of the C stack was measured in the compiled engine, for every kind of block and expression: loops
over pairs with a statement before each, arms of a conditional, and chains of `and` with more than two parts take most.
"""

from typing import Final

BLOCKS: Final = 14
"""Loops inside each other; with the function and its module that is the indentation that a file may have."""
BRACKETS: Final = 15
"""And one more around the call."""
ARMS: Final = 4
"""What is left of the depth of the tree."""

_LOOPS = [
    line
    for level in range(BLOCKS)
    for line in (
        "    " * level + "if n < 0:",
        "    " * level + "    pass",
        "    " * level + f"for a{level}, b{level} in [(1, 2)]:",
    )
]
_CALL = "1 if n < 0 else " * ARMS + "(n > 0 and True and " * BRACKETS + "%s" + ")" * BRACKETS
_BODY = ["row = [1]", *_LOOPS, "    " * BLOCKS + f"x = {_CALL}"]

DEEPEST: Final = """from contracts import Contract, external


class Deepest(Contract):
    @external
    def plain(self) -> int:
        return deep(1)

    @external
    def by_key(self) -> int:
        return sorting(1)


""" + "\n\n".join(
    f"def {name}(n: int) -> int:\n"
    + "".join(f"    {line % call if '%s' in line else line}\n" for line in _BODY)
    + "    return 0\n"
    for name, call in (("deep", "deep(1)"), ("sorting", "sorted(row, key=sorting)"))
)
"""Both methods end with the fault DEPTH; the second gets there through keys of `sorted`."""
