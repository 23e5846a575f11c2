"""What a contract shows of itself: its ABI as plain data, and JSON Schemas of what goes in and comes out.

Both follow from the canonical tree, so every replica and every tool derives the same from the same contract. In JSON,
bytes and addresses are hexadecimal text, tuples and structs are arrays in declared order, and keys of dicts are text:
numbers in decimal, bytes in hexadecimal.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from contracts.hints import Hint
from contracts.tree import Function, Parameter, Record, Tree
from contracts.values import ADDRESS_BYTES

ABI_VERSION: Final = 1
SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLAIN_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "bytes": {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    "address": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "none": {"type": "null"},
}
_HINT_NAMES: Final = {"address": "Address", "none": "None", "map": "Map", "vec": "Vec", "ledger": "Ledger"}
_JSON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,),
    "bool": (bool,),
    "str": (str,),
    "none": (type(None),),
}
_KEY_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "int": {"pattern": "^(0|-?[1-9][0-9]{0,76})$"},
    "str": {},
    "bytes": {"pattern": "^([0-9a-f]{2})*$"},
    "address": {"pattern": "^[0-9a-f]{64}$"},
}


_HEXADECIMAL: Final = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_WHOLE_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]{0,76}")
"""One text for each number, so that two keys are never the same one; 77 digits hold 256 bits with sign."""


class InvalidArgument(ValueError):
    """A JSON value is none of its declared type; the message names both."""


def value_from_json(value: Any, hint: Hint, structs: Mapping[str, Record]) -> Any:
    """The plain value that a JSON value stands for where `hint` is declared. Raises InvalidArgument."""
    if hint.kind == "optional":
        return None if value is None else value_from_json(value, hint.arguments[0], structs)
    if hint.kind in {"bytes", "address"} and isinstance(value, str):
        if _HEXADECIMAL.fullmatch(value) is None:
            raise InvalidArgument(f"{value!r} is not hexadecimal, as {describe_hint(hint)} asks for")
        if hint.kind == "address" and len(value) != 2 * ADDRESS_BYTES:
            raise InvalidArgument(f"{value!r} is no Address: {2 * ADDRESS_BYTES} digits")
        return bytes.fromhex(value)
    if hint.kind == "dict" and isinstance(value, dict):
        key_hint, item_hint = hint.arguments
        return {
            value_from_json(_key_of(key, key_hint), key_hint, structs): value_from_json(item, item_hint, structs)
            for key, item in value.items()
        }
    if isinstance(value, list) and hint.kind in {"list", "tuple", "struct"}:
        parts = [field.hint for field in structs[hint.name].fields] if hint.kind == "struct" else list(hint.arguments)
        if hint.kind == "list":
            parts = parts * len(value)
        if len(parts) == len(value):
            return [value_from_json(item, part, structs) for item, part in zip(value, parts, strict=True)]
    if type(value) in _JSON_TYPES.get(hint.kind, ()):
        return value
    raise InvalidArgument(f"{value!r} is no {describe_hint(hint)}")


def value_to_json(value: Any) -> Any:
    """A plain value as JSON: bytes in hexadecimal, keys as text, whole numbers as they are."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [value_to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(value_to_json(key)): value_to_json(item) for key, item in value.items()}
    return value


def _key_of(key: str, hint: Hint) -> Any:
    if hint.kind != "int":
        return key
    if _WHOLE_NUMBER.fullmatch(key) is None:
        raise InvalidArgument(f"the key {key!r} is no whole number")
    return int(key)


def compute_abi(tree: Tree) -> dict[str, Any]:
    """Contract, methods by kind, events and structs, in declared order."""
    return {
        "abi": ABI_VERSION,
        "contract": tree.name,
        "methods": [_method(function) for function in tree.functions if function.kind not in {"helper", "internal"}],
        "events": [_record(event) for event in tree.events],
        "structs": [_record(struct) for struct in tree.structs],
    }


def compute_schemas(tree: Tree) -> dict[str, Any]:
    """One JSON Schema document: of each method the arguments (an array) and the result, of each event the fields."""
    methods = {}
    for function in tree.functions:
        if function.kind in {"helper", "internal"}:
            continue
        least = sum(not parameter.has_default for parameter in function.parameters)
        methods[function.name] = {
            "arguments": _row([compute_schema(parameter.hint) for parameter in function.parameters], least),
            "result": compute_schema(function.result),
        }
    return {
        "$schema": SCHEMA_DIALECT,
        "title": tree.name,
        "$defs": {struct.name: _fields(struct) for struct in tree.structs},
        "methods": methods,
        "events": {event.name: _named(event) for event in tree.events},
    }


def compute_schema(hint: Hint) -> dict[str, Any]:
    """The JSON Schema of a plain value of this hint."""
    if hint.kind in _PLAIN_SCHEMAS:
        return dict(_PLAIN_SCHEMAS[hint.kind])
    if hint.kind == "struct":
        return {"$ref": f"#/$defs/{hint.name}"}
    parts = [compute_schema(part) for part in hint.arguments]
    if hint.kind == "optional":
        return {"anyOf": [parts[0], {"type": "null"}]}
    if hint.kind == "list":
        return {"type": "array", "items": parts[0]}
    if hint.kind == "tuple":
        return _row(parts, len(parts))
    assert hint.kind == "dict", hint.kind
    return {"type": "object", "propertyNames": _KEY_SCHEMAS[hint.arguments[0].kind], "additionalProperties": parts[1]}


def describe_hint(hint: Hint) -> str:
    """A hint as it is written in a contract."""
    if hint.name:
        return hint.name
    parts = [describe_hint(part) for part in hint.arguments]
    if hint.kind == "optional":
        return f"{parts[0]} | None"
    if hint.kind == "tuple" and not parts:
        return "tuple[()]"
    if hint.kind == "indexed":
        return f"Indexed[Map[{', '.join(parts)}]]"
    name = _HINT_NAMES.get(hint.kind, hint.kind)
    return f"{name}[{', '.join(parts)}]" if parts else name


def _method(function: Function) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": function.name,
        "kind": function.kind,
        "arguments": [_parameter(parameter) for parameter in function.parameters],
        "result": describe_hint(function.result),
    }
    return described | ({"roles": list(function.roles)} if function.roles else {})


def _record(record: Record) -> dict[str, Any]:
    return {"name": record.name, "fields": [_parameter(parameter) for parameter in record.fields]}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {"name": parameter.name, "type": describe_hint(parameter.hint)}
    if parameter.has_default:
        default = parameter.default
        described["default"] = default.hex() if isinstance(default, bytes) else default
    return described | ({"indexed": True} if parameter.is_indexed else {})


def _fields(record: Record) -> dict[str, Any]:
    return _row([compute_schema(field.hint) for field in record.fields], len(record.fields))


def _named(record: Record) -> dict[str, Any]:
    names = [field.name for field in record.fields]
    return {
        "type": "object",
        "properties": {field.name: compute_schema(field.hint) for field in record.fields},
        "required": names,
        "additionalProperties": False,
    }


def _row(parts: list[dict[str, Any]], least: int) -> dict[str, Any]:
    return {"type": "array", "prefixItems": parts, "minItems": least, "items": False}
