"""Second half of the checker: bodies of functions become nodes of the canonical tree.

The tables `_EXPRESSIONS` and `_STATEMENTS` below *are* the allow-list: syntax without a rule is refused. Names are resolved
here (locals to slots, constants to their values), so the tree needs no scopes. Nothing is judged by type: what is wrong
for a value's type is a TYPE fault when it runs, never a verdict at deploy (CONTRACTS.md section 6).
"""

import ast
from collections.abc import Callable
from typing import Any, Final

from contracts.declarations import (
    Declarations,
    Source,
    check_literal,
    check_local,
    read_constant,
    read_docstring,
    read_hint,
    refuse,
    refuse_unknown,
)
from contracts.language import (
    BINARY_OPERATORS,
    BUILTINS,
    CODE_PATTERN,
    COMPARISONS,
    CONTEXT_NAMES,
    HOST_FUNCTIONS,
    KIT_NAMES,
    LOCALS_MAX,
    VALUE_METHODS,
)
from contracts.tree import Function, Node, Scalar


def lower_function(declared: Declarations, source: Source) -> Function:
    """One function as the tree has it. Raises ContractRefused."""
    body = _Body(declared, source)
    block = body.block(read_docstring(source.node.body))
    return Function(
        source.node.name, source.kind, source.roles, source.parameters, source.result, body.slot_count, block
    )


class _Body:
    """The lowering of one function: its local names and the rules."""

    def __init__(self, declared: Declarations, source: Source) -> None:
        self.declared = declared
        self.is_method = source.kind != "helper"
        self.slots: dict[str, int] = {}
        self.slot_count = 0
        self.loops = 0
        for parameter in source.parameters:
            self._slot(source.node, parameter.name)
        for target in _assigned_names(source.node.body):
            if target.id not in self.slots:
                check_local(declared, target, target.id)
                self._slot(target, target.id)

    def _slot(self, node: ast.AST, name: str) -> int:
        if self.slot_count >= LOCALS_MAX:
            refuse(node, "LOCALS", f"at most {LOCALS_MAX} local variables")
        self.slots[name] = self.slot_count
        self.slot_count += 1
        return self.slots[name]

    # --- statements ---

    def block(self, statements: list[ast.stmt]) -> Node:
        nodes = [node for statement in statements if (node := self.statement(statement)) is not None]
        return Node("block", None, tuple(nodes) or (Node("pass"),))

    def statement(self, node: ast.stmt) -> Node | None:
        rule = _STATEMENTS.get(type(node))
        if rule is None:
            refuse_unknown(node, "STATEMENT")
        lowered: Node | None = rule(self, node)
        return lowered

    def _expression_statement(self, node: ast.Expr) -> Node | None:
        if isinstance(node.value, ast.Constant) and type(node.value.value) is str:
            return None  # a text by itself is a comment
        if not isinstance(node.value, ast.Call):
            if type(node.value).__name__ in {"Await", "Yield", "YieldFrom", "NamedExpr", "Lambda", "Set", "SetComp"}:
                refuse_unknown(node.value, "STATEMENT")
            refuse(node, "STATEMENT", "an expression by itself does nothing; only calls stand alone")
        return Node("expr", None, (self.expression(node.value),))

    def _assign(self, node: ast.Assign) -> Node:
        if len(node.targets) != 1:
            refuse(node, "TARGET", "one target per assignment")
        return self._assign_to(node.targets[0], node.value)

    def _annotated_assign(self, node: ast.AnnAssign) -> Node:
        read_hint(self.declared, node.annotation)
        if node.value is None:
            refuse(node, "TARGET", "a variable gets a value where it is declared")
        if not isinstance(node.target, ast.Name):
            refuse(node.target, "TARGET", "only local variables have a type here")
        return self._assign_to(node.target, node.value)

    def _assign_to(self, target: ast.expr, value: ast.expr) -> Node:
        if isinstance(target, ast.Name):
            return Node("assign", self.slots[target.id], (self.expression(value),))
        if isinstance(target, ast.Tuple):
            return Node("unpack", self._unpacked(target), (self.expression(value),))
        if isinstance(target, ast.Subscript):
            container, index = self._item(target)
            return Node("set_item", None, (container, index, self.expression(value)))
        if isinstance(target, ast.Attribute):
            return Node("set_field", self._field(target), (self.expression(value),))
        refuse(target, "TARGET", "assign to a name, a tuple of names, a subscript or self.field")

    def _unpacked(self, target: ast.Tuple) -> tuple[Scalar, ...]:
        names = [item for item in target.elts if isinstance(item, ast.Name)]
        if len(names) != len(target.elts) or not names:
            bad = next((item for item in target.elts if not isinstance(item, ast.Name)), target)
            if isinstance(bad, ast.Starred):
                refuse_unknown(bad, "TARGET")
            refuse(bad, "TARGET", "a tuple target holds names only")
        return tuple(self.slots[name.id] for name in names)

    def _item(self, target: ast.Subscript) -> tuple[Node, Node]:
        if isinstance(target.slice, ast.Slice):
            refuse(target, "TARGET", "slices cannot be assigned or deleted")
        return self.expression(target.value), self.expression(target.slice)

    def _field(self, target: ast.Attribute) -> str:
        if not self.is_method or not isinstance(target.value, ast.Name) or target.value.id != "self":
            refuse(target, "TARGET", "only fields of self can be assigned; structs are frozen")
        if target.attr not in self.declared.fields:
            refuse(target, "UNKNOWN_FIELD", f"the contract declares no field {target.attr!r}")
        if self.declared.fields[target.attr].hint.kind in {"map", "indexed", "vec", "ledger"}:
            refuse(target, "TARGET", "a Map, Vec or Ledger is changed through its items and methods")
        return target.attr

    def _aug_assign(self, node: ast.AugAssign) -> Node:
        operator = BINARY_OPERATORS.get(type(node.op))
        if operator is None:
            refuse(node, "OPERATOR", f"{type(node.op).__name__} is not an operator of the language")
        if isinstance(node.target, ast.Name):
            return Node("aug_local", (self.slots[node.target.id], operator), (self.expression(node.value),))
        if isinstance(node.target, ast.Subscript):
            container, index = self._item(node.target)
            return Node("aug_item", operator, (container, index, self.expression(node.value)))
        return Node("aug_field", (self._field(node.target), operator), (self.expression(node.value),))

    def _delete(self, node: ast.Delete) -> Node:
        if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Subscript):
            refuse(node, "DELETE", "only `del container[key]`")
        return Node("del_item", None, self._item(node.targets[0]))

    def _if(self, node: ast.If) -> Node:
        return Node("if", None, (self.expression(node.test), self.block(node.body), self.block(node.orelse)))

    def _while(self, node: ast.While) -> Node:
        if node.orelse:
            refuse(node.orelse[0], "LOOP_ELSE", "loops have no else")
        return Node("while", None, (self.expression(node.test), self._loop_block(node.body)))

    def _for(self, node: ast.For) -> Node:
        if node.orelse:
            refuse(node.orelse[0], "LOOP_ELSE", "loops have no else")
        target = self._loop_target(node.target)
        return Node("for", target, (self.expression(node.iter), self._loop_block(node.body)))

    def _loop_target(self, target: ast.expr) -> tuple[Scalar, ...]:
        if isinstance(target, ast.Name):
            return (False, self.slots[target.id])
        if isinstance(target, ast.Tuple):
            return (True, *self._unpacked(target))
        refuse(target, "TARGET", "the target of a loop is a name or a tuple of names")

    def _loop_block(self, statements: list[ast.stmt]) -> Node:
        self.loops += 1
        block = self.block(statements)
        self.loops -= 1
        return block

    def _break(self, node: ast.Break | ast.Continue) -> Node:
        if self.loops == 0:
            refuse(node, "SYNTAX", "break and continue stand inside a loop")
        return Node("break" if isinstance(node, ast.Break) else "continue")

    def _pass(self, _node: ast.Pass) -> Node:
        return Node("pass")

    def _return(self, node: ast.Return) -> Node:
        return Node("return", None, () if node.value is None else (self.expression(node.value),))

    def _assert(self, node: ast.Assert) -> Node:
        if node.msg is None:
            refuse(node, "CODE", 'an assertion has a code: assert condition, "CODE"')
        return Node("assert", None, (self.expression(node.test), self._code(node.msg)))

    def _code(self, node: ast.expr) -> Node:
        code = self.expression(node)
        if code.kind == "const" and (type(code.value) is not str or CODE_PATTERN.fullmatch(code.value) is None):
            refuse(node, "CODE", "a code has 1 to 64 letters, digits and underscores")
        return code

    # --- expressions ---

    def expression(self, node: ast.expr) -> Node:
        rule = _EXPRESSIONS.get(type(node))
        if rule is None:
            refuse_unknown(node, "EXPRESSION")
        lowered: Node = rule(self, node)
        return lowered

    def expressions(self, nodes: list[ast.expr]) -> tuple[Node, ...]:
        return tuple(self.expression(node) for node in nodes)

    def _constant(self, node: ast.Constant) -> Node:
        if type(node.value) is complex:
            refuse(node, "COMPLEX", "only whole numbers exist")
        return Node("const", check_literal(node, node.value))

    def _name(self, node: ast.Name) -> Node:
        name = node.id
        if name in self.slots:
            return Node("local", self.slots[name])
        if name in self.declared.constants:
            return Node("const", self.declared.constants[name])
        if name == "self" and self.is_method:
            refuse(node, "NAME_USE", "self is used as self.field or self.method(...)")
        is_known = self.declared.is_defined(name) or name in BUILTINS or name in self.declared.imported
        if is_known:
            refuse(node, "NAME_USE", f"{name!r} is not a value here; it can only be called")
        if name.startswith("_") or name.endswith("_"):
            refuse(node, "UNDERSCORE", f"{name!r} cannot be a name here")
        refuse(node, "UNKNOWN_NAME", f"{name!r} is not defined")

    def _attribute(self, node: ast.Attribute) -> Node:
        name = node.attr
        if name.startswith("_") or name.endswith("_"):
            refuse(node, "UNDERSCORE", f"no name starts or ends with an underscore: {name!r}")
        if isinstance(node.value, ast.Name) and node.value.id == "self" and self.is_method:
            if name not in self.declared.fields:
                code = "NAME_USE" if name in self.declared.methods else "UNKNOWN_FIELD"
                refuse(node, code, f"the contract declares no field {name!r}")
            return Node("field", name)
        if isinstance(node.value, ast.Name) and node.value.id == "ctx" and "ctx" in self.declared.imported:
            if name not in CONTEXT_NAMES:
                refuse(node, "UNKNOWN_FIELD", f"ctx has no {name!r}")
            return Node("ctx", name)
        if all(all(field.name != name for field in record.fields) for record in self.declared.structs.values()):
            refuse(node, "ATTRIBUTE", f"no struct has a field {name!r}")
        return Node("attribute", name, (self.expression(node.value),))

    def _list(self, node: ast.List) -> Node:
        return Node("list", None, self.expressions(node.elts))

    def _tuple(self, node: ast.Tuple) -> Node:
        return Node("tuple", None, self.expressions(node.elts))

    def _dict(self, node: ast.Dict) -> Node:
        children: list[Node] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                refuse(value, "STAR", "write the values out")
            children += [self.expression(key), self.expression(value)]
        return Node("dict", None, tuple(children))

    def _unary(self, node: ast.UnaryOp) -> Node:
        if isinstance(node.op, ast.Not):
            return Node("not", None, (self.expression(node.operand),))
        if not isinstance(node.op, ast.USub):
            refuse(node, "OPERATOR", f"{type(node.op).__name__} is not an operator of the language")
        if isinstance(node.operand, ast.Constant) and type(node.operand.value) is int:
            return Node("const", read_constant(node))
        return Node("neg", None, (self.expression(node.operand),))

    def _binary(self, node: ast.BinOp) -> Node:
        operator = BINARY_OPERATORS.get(type(node.op))
        if operator is None:
            advice = (
                "use // (whole numbers only)" if isinstance(node.op, ast.Div) else "not an operator of the language"
            )
            refuse(node, "OPERATOR", advice)
        return Node("binary", operator, (self.expression(node.left), self.expression(node.right)))

    def _boolean(self, node: ast.BoolOp) -> Node:
        return Node("and" if isinstance(node.op, ast.And) else "or", None, self.expressions(node.values))

    def _compare(self, node: ast.Compare) -> Node:
        if any(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops):
            against = node.comparators[0]
            if len(node.ops) != 1 or not (isinstance(against, ast.Constant) and against.value is None):
                refuse(node, "IS", "`is` compares with None only")
            return Node("is_none", isinstance(node.ops[0], ast.IsNot), (self.expression(node.left),))
        operators = tuple(COMPARISONS[type(operator)] for operator in node.ops)
        return Node("compare", operators, (self.expression(node.left), *self.expressions(node.comparators)))

    def _conditional(self, node: ast.IfExp) -> Node:
        return Node("conditional", None, self.expressions([node.test, node.body, node.orelse]))

    def _comprehension(self, node: ast.ListComp | ast.DictComp) -> Node:
        if len(node.generators) != 1:
            refuse(node, "COMPREHENSION", "one `for` in a comprehension")
        generator = node.generators[0]
        if generator.is_async:
            refuse(node, "ASYNC", "there is nothing to wait for in a contract")
        iterated = self.expression(generator.iter)
        outer = dict(self.slots)
        for name in _names_in(generator.target):
            check_local(self.declared, name, name.id)
            self._slot(name, name.id)
        target = self._loop_target(generator.target)
        elements = [node.elt] if isinstance(node, ast.ListComp) else [node.key, node.value]
        inside = self.expressions([*elements, *generator.ifs])
        self.slots = outer
        return Node("list_comp" if isinstance(node, ast.ListComp) else "dict_comp", target, (iterated, *inside))

    def _subscript(self, node: ast.Subscript) -> Node:
        container = self.expression(node.value)
        if not isinstance(node.slice, ast.Slice):
            return Node("subscript", None, (container, self.expression(node.slice)))
        if node.slice.step is not None:
            refuse(node, "SLICE_STEP", "slices have no step; use reversed() or a loop")
        bounds = [bound for bound in (node.slice.lower, node.slice.upper) if bound is not None]
        which = (node.slice.lower is not None, node.slice.upper is not None)
        return Node("slice", which, (container, *self.expressions(bounds)))

    def _f_string(self, node: ast.JoinedStr) -> Node:
        pieces: list[Node] = []
        for piece in node.values:
            if isinstance(piece, ast.FormattedValue):
                if piece.format_spec is not None or piece.conversion != -1:
                    refuse(node, "FORMAT", "plain {expression} only, without : or !")
                pieces.append(self.expression(piece.value))
            else:
                pieces.append(self.expression(piece))
        return Node("format", None, tuple(pieces))

    # --- calls ---

    def _call(self, node: ast.Call) -> Node:
        if isinstance(node.func, ast.Attribute):
            return self._method_call(node, node.func)
        if not isinstance(node.func, ast.Name):
            refuse(node, "CALL", "functions are called by their name")
        name = node.func.id
        if name in self.slots:
            refuse(node, "CALL", f"{name!r} is a variable, not a function")
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
            refuse(node, "UNKNOWN_NAME", f"`from contracts import {name}` first")
        refuse(node, "UNKNOWN_FUNCTION", f"{name!r} is not a function of the language or of this file")

    def _arguments(self, node: ast.Call, least: int, most: int) -> tuple[Node, ...]:
        if node.keywords:
            refuse(node, "CALL", "arguments are positional (keywords for Struct and Event only)")
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                refuse_unknown(argument, "CALL")
        if not least <= len(node.args) <= most:
            refuse(node, "CALL", f"takes {least} to {most} arguments, not {len(node.args)}")
        return self.expressions(node.args)

    def _construct(self, node: ast.Call, name: str, base: str) -> Node:
        record = (self.declared.structs if base == "Struct" else self.declared.events)[name]
        names = [field.name for field in record.fields]
        given: dict[str, Node] = {}
        if len(node.args) > len(names):
            refuse(node, "CALL", f"{name} has {len(names)} fields")
        for field, argument in zip(names, node.args, strict=False):
            if isinstance(argument, ast.Starred):
                refuse_unknown(argument, "CALL")
            given[field] = self.expression(argument)
        for keyword in node.keywords:
            if keyword.arg is None:
                refuse(node, "STAR", "write the values out")
            if keyword.arg not in names or keyword.arg in given:
                refuse(node, "CALL", f"{name} has no field {keyword.arg!r} left")
            given[keyword.arg] = self.expression(keyword.value)
        if len(given) != len(names):
            refuse(node, "CALL", f"every field of {name} is given")
        return Node("struct" if base == "Struct" else "event", name, tuple(given[field] for field in names))

    def _builtin(self, node: ast.Call, name: str) -> Node:
        if name == "sorted":
            return self._sorted(node)
        arguments = self._arguments(node, *BUILTINS[name])
        if name == "bytes" and len(arguments) == 2:
            if arguments[1] != Node("const", "utf-8"):
                refuse(node, "CALL", 'bytes(text) or bytes(text, "utf-8")')
            arguments = arguments[:1]
        return Node("builtin", name, arguments)

    def _sorted(self, node: ast.Call) -> Node:
        if len(node.args) != 1 or isinstance(node.args[0], ast.Starred):
            refuse(node, "CALL", "sorted(row, key=helper, reverse=True)")
        children = [self.expression(node.args[0])]
        key: str | None = None
        reverse: Node | None = None
        for keyword in node.keywords:
            if keyword.arg == "key" and key is None and isinstance(keyword.value, ast.Name):
                key = keyword.value.id
                if key not in self.declared.functions or not _takes(self.declared.functions[key], 1):
                    refuse(node, "CALL", "key names a helper function of one parameter")
            elif keyword.arg == "reverse" and reverse is None:
                reverse = self.expression(keyword.value)
            else:
                refuse(node, "CALL", "sorted(row, key=helper, reverse=True)")
        children += [] if reverse is None else [reverse]
        return Node("sorted", (key, reverse is not None), tuple(children))

    def _host(self, node: ast.Call, name: str) -> Node:
        if name == "emit":
            arguments = self._arguments(node, 1, 1)
            if arguments[0].kind != "event":
                refuse(node, "CALL", "emit(SomeEvent(...)): the event is made where it is emitted")
            return Node("host", name, arguments)
        if name == "require" and len(node.args) == 2 and not node.keywords:
            return Node("host", name, (self.expression(node.args[0]), self._code(node.args[1])))
        arguments = self._arguments(node, *HOST_FUNCTIONS[name])
        if name == "schedule":
            target = self.declared.methods.get(str(arguments[1].value)) if arguments[1].kind == "const" else None
            if target is None or target.kind != "scheduled":
                refuse(node, "SCHEDULE", "the second argument is the literal name of a @scheduled method")
            least, most = _arity(target)
            if not least <= len(arguments) - 2 <= most:
                refuse(node, "CALL", f"{target.node.name} takes {least} to {most} arguments")
        return Node("host", name, arguments)

    def _method_call(self, node: ast.Call, function: ast.Attribute) -> Node:
        name = function.attr
        if name.startswith("_") or name.endswith("_"):
            refuse(node, "UNDERSCORE", f"no name starts or ends with an underscore: {name!r}")
        if self.is_method and isinstance(function.value, ast.Name) and function.value.id == "self":
            if name not in self.declared.methods:
                refuse(node, "UNKNOWN_FUNCTION", f"the contract has no method {name!r}")
            return Node("call", f"self.{name}", self._arguments(node, *_arity(self.declared.methods[name])))
        interfaces = [method for face in self.declared.interfaces.values() for method in face.methods]
        if name not in VALUE_METHODS and all(method.name != name for method in interfaces):
            refuse(node, "METHOD", f"no value has a method {name!r}")
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


def _names_in(target: ast.expr) -> list[ast.Name]:
    items = target.elts if isinstance(target, ast.Tuple) else [target]
    return [item for item in items if isinstance(item, ast.Name)]


def _assigned_names(statements: list[ast.stmt]) -> list[ast.Name]:
    """Names that a function's own statements assign, in order of appearance; comprehensions have their own."""
    names: list[ast.Name] = []
    for statement in statements:
        if isinstance(statement, ast.Assign):
            names += [name for target in statement.targets for name in _names_in(target)]
        elif isinstance(statement, ast.AnnAssign | ast.AugAssign | ast.For):
            names += _names_in(statement.target)
        for inner in (getattr(statement, "body", []), getattr(statement, "orelse", [])):
            if isinstance(inner, list):
                names += _assigned_names([item for item in inner if isinstance(item, ast.stmt)])
    return names


_Rule = Callable[[_Body, Any], Node | None]
_ExpressionRule = Callable[[_Body, Any], Node]
_STATEMENTS: Final[dict[type[ast.stmt], _Rule]] = {
    ast.Expr: _Body._expression_statement,
    ast.Assign: _Body._assign,
    ast.AnnAssign: _Body._annotated_assign,
    ast.AugAssign: _Body._aug_assign,
    ast.Delete: _Body._delete,
    ast.If: _Body._if,
    ast.While: _Body._while,
    ast.For: _Body._for,
    ast.Break: _Body._break,
    ast.Continue: _Body._break,
    ast.Pass: _Body._pass,
    ast.Return: _Body._return,
    ast.Assert: _Body._assert,
}
_EXPRESSIONS: Final[dict[type[ast.expr], _ExpressionRule]] = {
    ast.Constant: _Body._constant,
    ast.Name: _Body._name,
    ast.Attribute: _Body._attribute,
    ast.List: _Body._list,
    ast.Tuple: _Body._tuple,
    ast.Dict: _Body._dict,
    ast.UnaryOp: _Body._unary,
    ast.BinOp: _Body._binary,
    ast.BoolOp: _Body._boolean,
    ast.Compare: _Body._compare,
    ast.IfExp: _Body._conditional,
    ast.ListComp: _Body._comprehension,
    ast.DictComp: _Body._comprehension,
    ast.Subscript: _Body._subscript,
    ast.JoinedStr: _Body._f_string,
    ast.Call: _Body._call,
}
