"""A typed Python module for the callers of a contract, made from its ABI.

    from market import Market                     # made by `gridquorum contract abi market.py --stub`

    market = Market("market")                     # the name under which it is deployed
    client.submit(account, *market.sell(7, 310_000))
    client.query(*market.offer(7, address))

Each method gives what the client library takes: the contract's name, the method, and the arguments as plain values.
mypy then checks arguments where they are written, not where the network refuses them. No name of a contract starts with
an underscore, so the module's own names do.
"""

from collections.abc import Iterator
from typing import Final

from contracts.abi import describe_hint
from contracts.hints import Hint
from contracts.tree import Function, Parameter, Tree, compute_tree_hash

_CALLED: Final = ("external", "view")
_TYPE_NAMES: Final = frozenset({"int", "bool", "str", "bytes", "list", "tuple", "dict", "object"})
_HEAD: Final = '''"""Calls of the contract {contract}, typed. Made by `gridquorum contract abi --stub`; do not edit.

Tree {tree}
"""

import builtins as _builtins
import dataclasses as _dataclasses
import typing as _typing

Address: _typing.TypeAlias = bytes
"""32 bytes: an account's public key, or a contract's address."""

_Call: _typing.TypeAlias = tuple[str, str, *tuple[object, ...]]
"""Contract, method, arguments: what `submit` and `query` take."""


def _plain(value: object) -> object:
    """A value as it travels: structs and tuples are lists."""
    if _dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, field.name)) for field in _dataclasses.fields(value)]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {{key: _plain(item) for key, item in value.items()}}
    return value
'''


def make_stub(tree: Tree, name: str) -> str:
    """The module's source. `name` is the deployed contract's name unless the caller says another."""
    taken = {function.name for function in tree.functions}
    taken |= {field.name for struct in tree.structs for field in struct.fields}
    prefix = "_builtins." if taken & _TYPE_NAMES else ""
    lines = [_HEAD.format(contract=tree.name, tree=compute_tree_hash(tree.to_bytes()).hex())]
    for struct in tree.structs:
        lines += ["", "@_dataclasses.dataclass(frozen=True)", f"class {struct.name}:"]
        lines += [f"    {field.name}: {_type_of(field.hint, prefix)}" for field in struct.fields] or ["    pass"]
        lines += [""]
    lines += ["", f"class {tree.name}:", f'    """Calls of a deployed {tree.name}."""', ""]
    lines += [f'    def __init__(self, _name: {prefix}str = "{name}") -> None:', "        self.__name = _name"]
    for function in tree.functions:
        if function.kind in _CALLED:
            lines += _method(function, prefix)
    return "\n".join(lines) + "\n"


def default_name(class_name: str) -> str:
    """The name under which a contract is deployed unless somebody says another: `EnergyMarket` is `energy_market`."""
    parts = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in class_name)
    return parts.strip("_")


def _method(function: Function, prefix: str) -> Iterator[str]:
    parameters = ["self", *(_parameter(each, prefix) for each in function.parameters)]
    arguments = [f"_plain({each.name})" for each in function.parameters]
    roles = f"; role {' or '.join(function.roles)}" if function.roles else ""
    yield ""
    yield f"    def {function.name}({', '.join(parameters)}) -> _Call:"
    yield f'        """{function.kind.capitalize()}, gives {describe_hint(function.result)}{roles}."""'
    yield f"        return ({', '.join(['self.__name', repr(function.name), *arguments])})"


def _parameter(parameter: Parameter, prefix: str) -> str:
    default = f" = {parameter.default!r}" if parameter.has_default else ""
    return f"{parameter.name}: {_type_of(parameter.hint, prefix)}{default}"


def _type_of(hint: Hint, prefix: str) -> str:
    """A hint as a caller's type; `prefix` where a name of the contract hides the builtin one."""
    if hint.name:
        return hint.name
    if hint.kind in {"address", "none"}:
        return {"address": "Address", "none": "None"}[hint.kind]
    parts = [_type_of(part, prefix) for part in hint.arguments]
    if hint.kind == "optional":
        return f"{parts[0]} | None"
    if hint.kind == "tuple" and not parts:
        return f"{prefix}tuple[()]"
    return f"{prefix}{hint.kind}[{', '.join(parts)}]" if parts else f"{prefix}{hint.kind}"
