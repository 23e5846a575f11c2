"""The arguments of a trial: from JSON to the bytes that a transaction would carry.

The engine judges them, nobody else: what misses a parameter's hint goes on as it is, and for what no transaction could
carry (a float, a number beyond 256 bits, half a character, too deep a nesting) stand bytes that no decoder takes. Only
what is no JSON at all is wrong usage.
"""

import json
from typing import TYPE_CHECKING, Any, Final

from pbft.cli.surface import CommandError, ExitCode

if TYPE_CHECKING:
    from contracts.tree import Tree

SHOWN_MAX: Final = 100  # characters of an argument in a message
DIGITS_MAX: Final = 78  # of a number with sign that 256 bits can hold; the interpreter itself refuses some thousands
TOO_LARGE: Final = 2**256  # stands for every number with more digits: it has no canonical form either
NOT_CANONICAL: Final = b"\xc1"  # the one byte that begins no value in MessagePack


class TrialArguments:
    """One JSON value as the arguments of a call. Once encoded, `misfit` says what does not fit, if anything."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self.misfit = ""

    def encode_for(self, tree: "Tree", method: str | None) -> bytes:
        """The canonical bytes, each argument read by the hint of its parameter."""
        from ledger.encoding import encode
        from ledger.errors import EncodingError

        value = self._value
        if isinstance(value, list):
            value = self._fit(tree, method, value)
        else:
            self.misfit = "a JSON array is expected"
        try:
            return encode(value)
        except EncodingError as error:
            self.misfit = f"no transaction can carry them: {error}"[:SHOWN_MAX]
            return NOT_CANONICAL

    def _fit(self, tree: "Tree", method: str | None, values: list[Any]) -> list[Any]:
        from contracts.abi import InvalidArgument, value_from_json

        function = next((function for function in tree.functions if function.name == method), None)
        if function is None:
            return values
        structs = {struct.name: struct for struct in tree.structs}
        hints = [parameter.hint for parameter in function.parameters]
        least = sum(not parameter.has_default for parameter in function.parameters)
        if not least <= len(values) <= len(hints):
            self.misfit = f"{len(values)} given, {least} to {len(hints)} expected"
        plain = list(values)
        for place, (value, hint) in enumerate(zip(values, hints, strict=False)):
            try:
                plain[place] = value_from_json(value, hint, structs)
            except InvalidArgument as error:
                self.misfit = f"argument {place + 1}: {error}"[:SHOWN_MAX]
        return plain


def read_arguments(text: str, what: str) -> TrialArguments:
    """The arguments in a JSON text. Raises CommandError where it is no JSON; `what` is its name on the command line."""
    try:
        return TrialArguments(json.loads(text, parse_int=_read_integer))
    except RecursionError:
        return TrialArguments(TOO_LARGE)  # nests far deeper than an encoding can
    except ValueError as error:
        raise CommandError(f"{what}: {text[:SHOWN_MAX]!r} is no JSON: {error}", ExitCode.USAGE) from error


def _read_integer(digits: str) -> int:
    return int(digits) if len(digits) <= DIGITS_MAX else TOO_LARGE
