"""What a file declares: imports, constants, structs, events, interfaces, the contract's fields and its functions.

First half of the checker. Reads module level and class bodies of the host's syntax tree into tables, part by part
(`source_parts.py`); bodies of functions are left to `lowering.py`. Everything not named here is refused with a code, a
line and a column.
"""

import ast
from collections.abc import Mapping
from typing import Final

from contracts.errors import ContractRefused
from contracts.hints import HINT_DEPTH_MAX, STRUCT_VALUES_MAX, Hint, is_field, is_stored
from contracts.language import KIT_MARKERS, KIT_NAMES, METHOD_PATTERN, RESERVED
from contracts.source_parts import (
    Declarations,
    Source,
    check_name,
    name_of,
    read_constant,
    read_docstring,
    read_function,
    read_hint,
    refusal,
    unknown_syntax,
)
from contracts.tree import InterfaceDeclaration, Parameter, Record, Signature

_CLASS_BASES: Final = frozenset({"Struct", "Event", "Interface", "Contract"})


def read_module(module: ast.Module) -> Declarations:
    """The declarations of a file. Raises ContractRefused."""
    declared = Declarations()
    body = read_docstring(module.body)
    for statement in body:
        _read_name(declared, statement)
    if not declared.contract:
        raise ContractRefused("CONTRACT", 1, 1, "the file has exactly one `class X(Contract)`")
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            _read_class(declared, statement)
        elif isinstance(statement, ast.FunctionDef):
            if statement.decorator_list:
                raise refusal(statement.decorator_list[0], "DECORATOR", "helper functions have no decorators")
            declared.functions[statement.name] = read_function(declared, statement, "helper", ())
    _check_structs(declared, body)
    return declared


def _read_name(declared: Declarations, statement: ast.stmt) -> None:
    """First pass: which names there are, so that order in the file does not matter."""
    if isinstance(statement, ast.ImportFrom):
        _read_import(declared, statement)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
        if (isinstance(statement, ast.Assign) and len(statement.targets) != 1) or not isinstance(target, ast.Name):
            raise refusal(statement, "CONSTANT", "a constant is `NAME = literal`")
        if statement.value is None:
            raise refusal(statement, "CONSTANT", "a constant has a value")
        if isinstance(statement, ast.AnnAssign):
            read_hint(declared, statement.annotation)
        _define(declared, statement, target.id)
        declared.constants[target.id] = read_constant(statement.value)
    elif isinstance(statement, ast.ClassDef):
        _define(declared, statement, statement.name)
        base = statement.bases[0] if len(statement.bases) == 1 else None
        if not isinstance(base, ast.Name) or base.id not in _CLASS_BASES or statement.keywords:
            raise refusal(statement, "CLASS", "a class derives from one of Struct, Event, Interface, Contract")
        if base.id not in declared.imported:
            raise refusal(base, "UNKNOWN_NAME", f"`from contracts import {base.id}` first")
        if statement.decorator_list:
            raise refusal(statement.decorator_list[0], "DECORATOR", "classes have no decorators")
        declared.classes[statement.name] = base.id
        if base.id == "Contract":
            if declared.contract:
                raise refusal(statement, "CONTRACT", "the file has exactly one `class X(Contract)`")
            declared.contract = statement.name
    elif isinstance(statement, ast.FunctionDef):
        _define(declared, statement, statement.name)
        declared.functions[statement.name] = Source(statement, "helper", (), (), Hint("none"))
    else:
        raise unknown_syntax(statement, "MODULE_LEVEL")


def _read_import(declared: Declarations, statement: ast.ImportFrom) -> None:
    if statement.module != "contracts" or statement.level:
        raise refusal(statement, "IMPORT", "only `from contracts import ...`")
    for alias in statement.names:
        if alias.name not in KIT_NAMES or alias.asname is not None:
            raise refusal(statement, "IMPORT", f"the kit has no {alias.name!r}, and its names are not renamed")
        declared.imported.add(alias.name)


def _define(declared: Declarations, node: ast.AST, name: str) -> None:
    check_name(node, name)
    if name in RESERVED:
        raise refusal(node, "SHADOW", f"{name!r} already means something")
    if declared.is_defined(name):
        raise refusal(node, "SHADOW", f"{name!r} is defined twice")


def _read_class(declared: Declarations, node: ast.ClassDef) -> None:
    base = declared.classes[node.name]
    if base == "Contract":
        _read_contract(declared, node)
    elif base == "Interface":
        declared.interfaces[node.name] = _read_interface(declared, node)
    else:
        record = Record(node.name, _read_fields(declared, node, is_event=base == "Event"))
        if base == "Struct" and not record.fields:
            raise refusal(node, "FIELD", "a struct has a field: `name: type`; one without would have a single value")
        (declared.structs if base == "Struct" else declared.events)[node.name] = record


def _check_structs(declared: Declarations, body: list[ast.stmt]) -> None:
    """No struct contains itself, nests too deeply or is too large. Each is measured once, or deploy could last."""
    measured: dict[str, tuple[int, int]] = {}  # levels below a struct, values in it

    def measure(node: ast.stmt, name: str, depth: int) -> tuple[int, int]:
        if name not in measured and depth <= HINT_DEPTH_MAX:
            hints = [parameter.hint for parameter in declared.structs[name].fields]
            inner = {other for hint in hints for other in _structs_of(hint)}
            levels = max((measure(node, other, depth + 1)[0] + 1 for other in sorted(inner)), default=0)
            values = 1 + sum(_count_values(hint, measured) for hint in hints)
            measured[name] = levels, values
        if name not in measured or depth + measured[name][0] > HINT_DEPTH_MAX:
            raise refusal(node, "TYPE_HINT", "structs contain each other, or nest too deeply")
        if measured[name][1] > STRUCT_VALUES_MAX:
            raise refusal(node, "TYPE_HINT", f"a struct holds at most {STRUCT_VALUES_MAX} values, inner ones included")
        return measured[name]

    for node in body:
        if isinstance(node, ast.ClassDef) and node.name in declared.structs:
            measure(node, node.name, 0)


def _count_values(hint: Hint, measured: Mapping[str, tuple[int, int]]) -> int:
    """Values in the zero value of a field, from the sizes of structs that are known."""
    if hint.kind == "struct":
        return measured[hint.name][1]
    return 1 + (sum(_count_values(part, measured) for part in hint.arguments) if hint.kind == "tuple" else 0)


def _structs_of(hint: Hint) -> list[str]:
    return [hint.name] if hint.kind == "struct" else [name for part in hint.arguments for name in _structs_of(part)]


def _read_fields(declared: Declarations, node: ast.ClassDef, *, is_event: bool) -> tuple[Parameter, ...]:
    fields: dict[str, Parameter] = {}
    for statement in read_docstring(node.body):
        if isinstance(statement, ast.Pass):
            continue
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            raise refusal(statement, "FIELD", "this class has annotated fields only: `name: type`")
        if statement.value is not None:
            raise refusal(statement, "DEFAULT", "fields have no default values")
        name = check_name(statement, statement.target.id)
        if name in fields:
            raise refusal(statement, "SHADOW", f"{name!r} is defined twice")
        annotation, is_indexed = statement.annotation, False
        if is_event and isinstance(annotation, ast.Subscript) and name_of(annotation.value) == "Indexed":
            annotation, is_indexed = annotation.slice, True
        hint = read_hint(declared, annotation)
        if not is_stored(hint):
            raise refusal(annotation, "TYPE_HINT", "fields of structs and events hold plain values")
        fields[name] = Parameter(name, hint, is_indexed=is_indexed)
    return tuple(fields.values())


def _read_interface(declared: Declarations, node: ast.ClassDef) -> InterfaceDeclaration:
    methods: dict[str, Signature] = {}
    for statement in read_docstring(node.body):
        if not isinstance(statement, ast.FunctionDef) or statement.decorator_list:
            raise refusal(statement, "INTERFACE", "an interface has undecorated methods with `...` as body")
        body = read_docstring(statement.body)
        is_stub = len(body) == 1 and isinstance(body[0], ast.Expr | ast.Pass)
        if is_stub and isinstance(body[0], ast.Expr):
            is_stub = isinstance(body[0].value, ast.Constant) and body[0].value.value is Ellipsis
        if not is_stub and body:
            raise refusal(statement, "INTERFACE", "the body of an interface method is `...`")
        source = read_function(declared, statement, "signature", ())
        if statement.name in methods:
            raise refusal(statement, "SHADOW", f"{statement.name!r} is defined twice")
        methods[statement.name] = Signature(statement.name, source.parameters, source.result)
    return InterfaceDeclaration(node.name, tuple(methods.values()))


def _read_contract(declared: Declarations, node: ast.ClassDef) -> None:
    for statement in read_docstring(node.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if statement.value is not None:
                raise refusal(statement, "DEFAULT", "storage fields have no default values; set them in @init")
            name = check_name(statement, statement.target.id)
            hint = read_hint(declared, statement.annotation)
            if not is_field(hint):
                raise refusal(statement.annotation, "TYPE_HINT", "not a type of storage")
            _check_member(declared, statement, name)
            declared.fields[name] = Parameter(name, hint)
        elif isinstance(statement, ast.FunctionDef):
            _check_member(declared, statement, check_name(statement, statement.name))
            kind, roles = _read_markers(declared, statement)
            declared.methods[statement.name] = read_function(declared, statement, kind, roles)
        elif not isinstance(statement, ast.Pass):
            raise unknown_syntax(statement, "FIELD")
    kinds = [source.kind for source in declared.methods.values()]
    if max(kinds.count("init"), kinds.count("migrate")) > 1:
        raise refusal(node, "DECORATOR", "at most one method is @init, and one is @migrate")


def _check_member(declared: Declarations, node: ast.AST, name: str) -> None:
    if name in declared.fields or name in declared.methods:
        raise refusal(node, "SHADOW", f"{name!r} is defined twice")


def _read_markers(declared: Declarations, node: ast.FunctionDef) -> tuple[str, tuple[str, ...]]:
    kinds: list[str] = []
    roles: list[str] = []
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        name = name_of(call.func if call is not None else decorator)
        if name not in KIT_MARKERS or name not in declared.imported:
            raise refusal(decorator, "DECORATOR", "only the kit's markers, imported: external, view, init, ...")
        if name == "role":
            if call is None or len(call.args) != 1 or call.keywords:
                raise refusal(decorator, "DECORATOR", '@role("name") names one role')
            role = read_constant(call.args[0])
            if type(role) is not str or METHOD_PATTERN.fullmatch(role) is None:
                raise refusal(decorator, "DECORATOR", "a role is a literal text of lower-case letters, digits and _")
            roles.append(role)
        elif call is not None:
            raise refusal(decorator, "DECORATOR", f"@{name} is written without brackets")
        else:
            kinds.append(name)
    if len(kinds) > 1:
        raise refusal(node, "DECORATOR", "one marker per method, and roles below it")
    kind = kinds[0] if kinds else "internal"
    if roles and kind not in {"external", "view"}:
        raise refusal(node, "DECORATOR", "@role stands below @external or @view")
    return kind, tuple(roles)
