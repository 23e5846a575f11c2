"""Expressions of function bodies become nodes of the canonical tree.

The table `_RULES` below *is* the allow-list of expressions: syntax without a rule is refused. Names are resolved here
(locals to slots, constants to their values), so the tree needs no scopes. Nothing is judged by type: what is wrong for
a value's type is a TYPE fault when it runs, never a verdict at deploy (CONTRACTS.md section 6).
"""

import ast
from collections.abc import Callable
from typing import Any, Final

from contracts.language import (
    BINARY_OPERATORS,
    BUILTINS,
    CODE_PATTERN,
    COMPARISONS,
    CONSTANT_BYTES_MAX,
    CONTEXT_NAMES,
    HOST_FUNCTIONS,
    KIT_NAMES,
    LOCALS_MAX,
    VALUE_METHODS,
)
from contracts.source_parts import (
    Declarations,
    Source,
    check_literal,
    check_local,
    read_constant,
    refusal,
    unknown_syntax,
)
from contracts.tree import Node, Scalar
from ledger.encoding import encode


class ExpressionLowering:
    """The names of one function and the rules of its expressions."""

    def __init__(self, declared: Declarations, *, is_method: bool) -> None:
        self.declared = declared
        self.is_method = is_method
        self.slots: dict[str, int] = {}
        self.slot_count = 0

    def slot(self, node: ast.AST, name: str) -> int:
        """A place for one more local variable."""
        if self.slot_count >= LOCALS_MAX:
            raise refusal(node, "LOCALS", f"at most {LOCALS_MAX} local variables")
        self.slots[name] = self.slot_count
        self.slot_count += 1
        return self.slots[name]

    def unpacked(self, target: ast.Tuple) -> tuple[Scalar, ...]:
        names = [item for item in target.elts if isinstance(item, ast.Name)]
        if len(names) != len(target.elts) or not names:
            bad = next((item for item in target.elts if not isinstance(item, ast.Name)), target)
            if isinstance(bad, ast.Starred):
                raise unknown_syntax(bad, "TARGET")
            raise refusal(bad, "TARGET", "a tuple target holds names only")
        return tuple(self.slots[name.id] for name in names)

    def loop_target(self, target: ast.expr) -> tuple[Scalar, ...]:
        if isinstance(target, ast.Name):
            return (False, self.slots[target.id])
        if isinstance(target, ast.Tuple):
            return (True, *self.unpacked(target))
        raise refusal(target, "TARGET", "the target of a loop is a name or a tuple of names")

    def code(self, node: ast.expr) -> Node:
        code = self.expression(node)
        if code.kind == "const" and (type(code.value) is not str or CODE_PATTERN.fullmatch(code.value) is None):
            raise refusal(node, "CODE", "a code has 1 to 64 letters, digits and underscores")
        return code

    def expression(self, node: ast.expr) -> Node:
        rule = _RULES.get(type(node))
        if rule is None:
            raise unknown_syntax(node, "EXPRESSION")
        lowered: Node = rule(self, node)
        return lowered

    def expressions(self, nodes: list[ast.expr]) -> tuple[Node, ...]:
        return tuple(self.expression(node) for node in nodes)

    def _constant(self, node: ast.Constant) -> Node:
        if type(node.value) is complex:
            raise refusal(node, "COMPLEX", "only whole numbers exist")
        return Node("const", check_literal(node, node.value))

    def _named_constant(self, node: ast.Name, value: Scalar) -> Node:
        """The value itself, as often as it is named: counted before anything writes it."""
        self.declared.constant_bytes += len(encode(value))
        if self.declared.constant_bytes > CONSTANT_BYTES_MAX:
            raise refusal(node, "CONSTANTS", f"uses of constants stand for at most {CONSTANT_BYTES_MAX} bytes in all")
        return Node("const", value)

    def _name(self, node: ast.Name) -> Node:
        name = node.id
        if name in self.slots:
            return Node("local", self.slots[name])
        if name in self.declared.constants:
            return self._named_constant(node, self.declared.constants[name])
        if name == "self" and self.is_method:
            raise refusal(node, "NAME_USE", "self is used as self.field or self.method(...)")
        is_known = self.declared.is_defined(name) or name in BUILTINS or name in self.declared.imported
        if is_known:
            raise refusal(node, "NAME_USE", f"{name!r} is not a value here; it can only be called")
        if name.startswith("_") or name.endswith("_"):
            raise refusal(node, "UNDERSCORE", f"{name!r} cannot be a name here")
        raise refusal(node, "UNKNOWN_NAME", f"{name!r} is not defined")

    def _attribute(self, node: ast.Attribute) -> Node:
        name = node.attr
        if name.startswith("_") or name.endswith("_"):
            raise refusal(node, "UNDERSCORE", f"no name starts or ends with an underscore: {name!r}")
        if isinstance(node.value, ast.Name) and node.value.id == "self" and self.is_method:
            if name not in self.declared.fields:
                code = "NAME_USE" if name in self.declared.methods else "UNKNOWN_FIELD"
                raise refusal(node, code, f"the contract declares no field {name!r}")
            return Node("field", name)
        if isinstance(node.value, ast.Name) and node.value.id == "ctx" and "ctx" in self.declared.imported:
            if name not in CONTEXT_NAMES:
                raise refusal(node, "UNKNOWN_FIELD", f"ctx has no {name!r}")
            return Node("ctx", name)
        if all(all(field.name != name for field in record.fields) for record in self.declared.structs.values()):
            raise refusal(node, "ATTRIBUTE", f"no struct has a field {name!r}")
        return Node("attribute", name, (self.expression(node.value),))

    def _list(self, node: ast.List) -> Node:
        return Node("list", None, self.expressions(node.elts))

    def _tuple(self, node: ast.Tuple) -> Node:
        return Node("tuple", None, self.expressions(node.elts))

    def _dict(self, node: ast.Dict) -> Node:
        children: list[Node] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise refusal(value, "STAR", "write the values out")
            children += [self.expression(key), self.expression(value)]
        return Node("dict", None, tuple(children))

    def _unary(self, node: ast.UnaryOp) -> Node:
        if isinstance(node.op, ast.Not):
            return Node("not", None, (self.expression(node.operand),))
        if not isinstance(node.op, ast.USub):
            raise refusal(node, "OPERATOR", f"`{_SIGNS[type(node.op)]}` is not an operator of the language")
        if isinstance(node.operand, ast.Constant) and type(node.operand.value) is int:
            return Node("const", read_constant(node))
        return Node("neg", None, (self.expression(node.operand),))

    def _binary(self, node: ast.BinOp) -> Node:
        operator = BINARY_OPERATORS.get(type(node.op))
        if operator is None:
            advice = (
                "use // (whole numbers only)" if isinstance(node.op, ast.Div) else "not an operator of the language"
            )
            raise refusal(node, "OPERATOR", advice)
        return Node("binary", operator, (self.expression(node.left), self.expression(node.right)))

    def _boolean(self, node: ast.BoolOp) -> Node:
        return Node("and" if isinstance(node.op, ast.And) else "or", None, self.expressions(node.values))

    def _compare(self, node: ast.Compare) -> Node:
        if any(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops):
            against = node.comparators[0]
            if len(node.ops) != 1 or not (isinstance(against, ast.Constant) and against.value is None):
                raise refusal(node, "IS", "`is` compares with None only")
            return Node("is_none", isinstance(node.ops[0], ast.IsNot), (self.expression(node.left),))
        operators = tuple(COMPARISONS[type(operator)] for operator in node.ops)
        return Node("compare", operators, (self.expression(node.left), *self.expressions(node.comparators)))

    def _conditional(self, node: ast.IfExp) -> Node:
        return Node("conditional", None, self.expressions([node.test, node.body, node.orelse]))

    def _comprehension(self, node: ast.ListComp | ast.DictComp) -> Node:
        if len(node.generators) != 1:
            raise refusal(node, "COMPREHENSION", "one `for` in a comprehension")
        generator = node.generators[0]
        if generator.is_async:
            raise refusal(node, "ASYNC", "there is nothing to wait for in a contract")
        iterated = self.expression(generator.iter)
        outer = dict(self.slots)
        for name in names_in(generator.target):
            check_local(self.declared, name, name.id)
            self.slot(name, name.id)
        target = self.loop_target(generator.target)
        elements = [node.elt] if isinstance(node, ast.ListComp) else [node.key, node.value]
        inside = self.expressions([*elements, *generator.ifs])
        self.slots = outer
        return Node("list_comp" if isinstance(node, ast.ListComp) else "dict_comp", target, (iterated, *inside))

    def _subscript(self, node: ast.Subscript) -> Node:
        container = self.expression(node.value)
        if not isinstance(node.slice, ast.Slice):
            return Node("subscript", None, (container, self.expression(node.slice)))
        if node.slice.step is not None:
            raise refusal(node, "SLICE_STEP", "slices have no step; use reversed() or a loop")
        bounds = [bound for bound in (node.slice.lower, node.slice.upper) if bound is not None]
        which = (node.slice.lower is not None, node.slice.upper is not None)
        return Node("slice", which, (container, *self.expressions(bounds)))

    def _f_string(self, node: ast.JoinedStr) -> Node:
        pieces: list[Node] = []
        for piece in node.values:
            if isinstance(piece, ast.FormattedValue):
                if piece.format_spec is not None or piece.conversion != -1:
                    raise refusal(node, "FORMAT", "plain {expression} only, without : or !")
                pieces.append(self.expression(piece.value))
            else:
                pieces.append(self.expression(piece))
        return Node("format", None, tuple(pieces))

    # --- calls ---

    def _call(self, node: ast.Call) -> Node:
        if isinstance(node.func, ast.Attribute):
            return self._method_call(node, node.func)
        if not isinstance(node.func, ast.Name):
            raise refusal(node, "CALL", "functions are called by their name")
        name = node.func.id
        if name in self.slots:
            raise refusal(node, "CALL", f"{name!r} is a variable, not a function")
        if name in self.declared.functions:
            return Node("call", name, self._arguments(node, *_arity(self.declared.functions[name])))
        base = self.declared.classes.get(name)
        if base in {"Struct", "Event"}:
            return self._construct(node, name, base)
        if base == "Interface":
            return Node("interface", name, self._arguments(node, 1, 1))
        if name in BUILTINS:
            return self._builtin(node, name)
        if name in HOST_FUNCTIONS and name in self.declared.imported:
            return self._host(node, name)
        if name in KIT_NAMES and name not in self.declared.imported:
            raise refusal(node, "UNKNOWN_NAME", f"`from contracts import {name}` first")
        raise refusal(node, "UNKNOWN_FUNCTION", f"{name!r} is not a function of the language or of this file")

    def _arguments(self, node: ast.Call, least: int, most: int) -> tuple[Node, ...]:
        if node.keywords:
            raise refusal(node, "CALL", "arguments are positional (keywords for Struct and Event only)")
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                raise unknown_syntax(argument, "CALL")
        if not least <= len(node.args) <= most:
            raise refusal(node, "CALL", f"takes {least} to {most} arguments, not {len(node.args)}")
        return self.expressions(node.args)

    def _construct(self, node: ast.Call, name: str, base: str) -> Node:
        record = (self.declared.structs if base == "Struct" else self.declared.events)[name]
        names = [field.name for field in record.fields]
        given: dict[str, Node] = {}
        if len(node.args) > len(names):
            raise refusal(node, "CALL", f"{name} has {len(names)} fields")
        for field, argument in zip(names, node.args, strict=False):
            if isinstance(argument, ast.Starred):
                raise unknown_syntax(argument, "CALL")
            given[field] = self.expression(argument)
        for keyword in node.keywords:
            if keyword.arg is None:
                raise refusal(node, "STAR", "write the values out")
            if keyword.arg not in names or keyword.arg in given:
                raise refusal(node, "CALL", f"{name} has no field {keyword.arg!r} left")
            given[keyword.arg] = self.expression(keyword.value)
        if len(given) != len(names):
            raise refusal(node, "CALL", f"every field of {name} is given")
        return Node("struct" if base == "Struct" else "event", name, tuple(given[field] for field in names))

    def _builtin(self, node: ast.Call, name: str) -> Node:
        if name == "sorted":
            return self._sorted(node)
        arguments = self._arguments(node, *BUILTINS[name])
        if name == "bytes" and len(arguments) == 2:
            if arguments[1] != Node("const", "utf-8"):
                raise refusal(node, "CALL", 'bytes(text) or bytes(text, "utf-8")')
            arguments = arguments[:1]
        return Node("builtin", name, arguments)

    def _sorted(self, node: ast.Call) -> Node:
        if len(node.args) != 1 or isinstance(node.args[0], ast.Starred):
            raise refusal(node, "CALL", "sorted(row, key=helper, reverse=True)")
        children = [self.expression(node.args[0])]
        key: str | None = None
        reverse: Node | None = None
        for keyword in node.keywords:
            if keyword.arg == "key" and key is None and isinstance(keyword.value, ast.Name):
                key = keyword.value.id
                if key not in self.declared.functions or not _takes(self.declared.functions[key], 1):
                    raise refusal(node, "CALL", "key names a helper function of one parameter")
            elif keyword.arg == "reverse" and reverse is None:
                reverse = self.expression(keyword.value)
            else:
                raise refusal(node, "CALL", "sorted(row, key=helper, reverse=True)")
        children += [] if reverse is None else [reverse]
        return Node("sorted", (key, reverse is not None), tuple(children))

    def _host(self, node: ast.Call, name: str) -> Node:
        if name == "emit":
            arguments = self._arguments(node, 1, 1)
            if arguments[0].kind != "event":
                raise refusal(node, "CALL", "emit(SomeEvent(...)): the event is made where it is emitted")
            return Node("host", name, arguments)
        if name == "require" and len(node.args) == 2 and not node.keywords:
            return Node("host", name, (self.expression(node.args[0]), self.code(node.args[1])))
        arguments = self._arguments(node, *HOST_FUNCTIONS[name])
        if name == "schedule":
            target = self.declared.methods.get(str(arguments[1].value)) if arguments[1].kind == "const" else None
            if target is None or target.kind != "scheduled":
                raise refusal(node, "SCHEDULE", "the second argument is the literal name of a @scheduled method")
            least, most = _arity(target)
            if not least <= len(arguments) - 2 <= most:
                raise refusal(node, "CALL", f"{target.node.name} takes {least} to {most} arguments")
        return Node("host", name, arguments)

    def _method_call(self, node: ast.Call, function: ast.Attribute) -> Node:
        name = function.attr
        if name.startswith("_") or name.endswith("_"):
            raise refusal(node, "UNDERSCORE", f"no name starts or ends with an underscore: {name!r}")
        if self.is_method and isinstance(function.value, ast.Name) and function.value.id == "self":
            if name not in self.declared.methods:
                raise refusal(node, "UNKNOWN_FUNCTION", f"the contract has no method {name!r}")
            return Node("call", f"self.{name}", self._arguments(node, *_arity(self.declared.methods[name])))
        interfaces = [method for face in self.declared.interfaces.values() for method in face.methods]
        if name not in VALUE_METHODS and all(method.name != name for method in interfaces):
            raise refusal(node, "METHOD", f"no value has a method {name!r}")
        receiver = self.expression(function.value)
        least, most = VALUE_METHODS.get(name, (0, 32))
        if any(method.name == name for method in interfaces):
            least, most = 0, 32
        return Node("method", name, (receiver, *self._arguments(node, least, most)))


def _arity(source: Source) -> tuple[int, int]:
    least = sum(not parameter.has_default for parameter in source.parameters)
    return least, len(source.parameters)


def _takes(source: Source, count: int) -> bool:
    least, most = _arity(source)
    return least <= count <= most


def names_in(target: ast.expr) -> list[ast.Name]:
    items = target.elts if isinstance(target, ast.Tuple) else [target]
    return [item for item in items if isinstance(item, ast.Name)]


_ExpressionRule = Callable[[ExpressionLowering, Any], Node]
_SIGNS: Final[dict[type[ast.unaryop], str]] = {ast.UAdd: "+", ast.Invert: "~"}
_RULES: Final[dict[type[ast.expr], _ExpressionRule]] = {
    ast.Constant: ExpressionLowering._constant,
    ast.Name: ExpressionLowering._name,
    ast.Attribute: ExpressionLowering._attribute,
    ast.List: ExpressionLowering._list,
    ast.Tuple: ExpressionLowering._tuple,
    ast.Dict: ExpressionLowering._dict,
    ast.UnaryOp: ExpressionLowering._unary,
    ast.BinOp: ExpressionLowering._binary,
    ast.BoolOp: ExpressionLowering._boolean,
    ast.Compare: ExpressionLowering._compare,
    ast.IfExp: ExpressionLowering._conditional,
    ast.ListComp: ExpressionLowering._comprehension,
    ast.DictComp: ExpressionLowering._comprehension,
    ast.Subscript: ExpressionLowering._subscript,
    ast.JoinedStr: ExpressionLowering._f_string,
    ast.Call: ExpressionLowering._call,
}
