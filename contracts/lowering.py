"""Second half of the checker: bodies of functions become statements of the canonical tree.

The table `_RULES` below *is* the allow-list of statements, as the one of `lowering_expressions.py` is of expressions:
syntax without a rule is refused.
"""

import ast
from collections.abc import Callable
from typing import Any, Final

from contracts.language import BINARY_OPERATORS
from contracts.lowering_expressions import ExpressionLowering, names_in
from contracts.source_parts import Declarations, Source, check_local, read_docstring, read_hint, refusal, unknown_syntax
from contracts.tree import Function, Node


def lower_function(declared: Declarations, source: Source) -> Function:
    """One function as the tree has it. Raises ContractRefused."""
    body = _Body(declared, source)
    block = body.block(read_docstring(source.node.body))
    return Function(
        source.node.name, source.kind, source.roles, source.parameters, source.result, body.slot_count, block
    )


class _Body(ExpressionLowering):
    """The lowering of one function."""

    def __init__(self, declared: Declarations, source: Source) -> None:
        super().__init__(declared, is_method=source.kind != "helper")
        self.loops = 0
        for parameter in source.parameters:
            self.slot(source.node, parameter.name)
        for target in _assigned_names(source.node.body):
            if target.id not in self.slots:
                check_local(declared, target, target.id)
                self.slot(target, target.id)

    # --- statements ---

    def block(self, statements: list[ast.stmt]) -> Node:
        nodes = [node for statement in statements if (node := self.statement(statement)) is not None]
        return Node("block", None, tuple(nodes) or (Node("pass"),))

    def statement(self, node: ast.stmt) -> Node | None:
        rule = _RULES.get(type(node))
        if rule is None:
            raise unknown_syntax(node, "STATEMENT")
        lowered: Node | None = rule(self, node)
        return lowered

    def _expression_statement(self, node: ast.Expr) -> Node | None:
        if isinstance(node.value, ast.Constant) and type(node.value.value) is str:
            return None  # a text by itself is a comment
        if not isinstance(node.value, ast.Call):
            if type(node.value).__name__ in {"Await", "Yield", "YieldFrom", "NamedExpr", "Lambda", "Set", "SetComp"}:
                raise unknown_syntax(node.value, "STATEMENT")
            raise refusal(node, "STATEMENT", "an expression by itself does nothing; only calls stand alone")
        return Node("expr", None, (self.expression(node.value),))

    def _assign(self, node: ast.Assign) -> Node:
        if len(node.targets) != 1:
            raise refusal(node, "TARGET", "one target per assignment")
        return self._assign_to(node.targets[0], node.value)

    def _annotated_assign(self, node: ast.AnnAssign) -> Node:
        read_hint(self.declared, node.annotation)
        if node.value is None:
            raise refusal(node, "TARGET", "a variable gets a value where it is declared")
        if not isinstance(node.target, ast.Name):
            raise refusal(node.target, "TARGET", "only local variables have a type here")
        return self._assign_to(node.target, node.value)

    def _assign_to(self, target: ast.expr, value: ast.expr) -> Node:
        if isinstance(target, ast.Name):
            return Node("assign", self.slots[target.id], (self.expression(value),))
        if isinstance(target, ast.Tuple):
            return Node("unpack", self.unpacked(target), (self.expression(value),))
        if isinstance(target, ast.Subscript):
            container, index = self._item(target)
            return Node("set_item", None, (container, index, self.expression(value)))
        if isinstance(target, ast.Attribute):
            return Node("set_field", self._field(target), (self.expression(value),))
        raise refusal(target, "TARGET", "assign to a name, a tuple of names, a subscript or self.field")

    def _item(self, target: ast.Subscript) -> tuple[Node, Node]:
        if isinstance(target.slice, ast.Slice):
            raise refusal(target, "TARGET", "slices cannot be assigned or deleted")
        return self.expression(target.value), self.expression(target.slice)

    def _field(self, target: ast.Attribute) -> str:
        if not self.is_method or not isinstance(target.value, ast.Name) or target.value.id != "self":
            raise refusal(target, "TARGET", "only fields of self can be assigned; structs are frozen")
        if target.attr not in self.declared.fields:
            raise refusal(target, "UNKNOWN_FIELD", f"the contract declares no field {target.attr!r}")
        if self.declared.fields[target.attr].hint.kind in {"map", "indexed", "vec", "ledger"}:
            raise refusal(target, "TARGET", "a Map, Vec or Ledger is changed through its items and methods")
        return target.attr

    def _aug_assign(self, node: ast.AugAssign) -> Node:
        operator = BINARY_OPERATORS.get(type(node.op))
        if operator is None:
            raise refusal(node, "OPERATOR", "`@=` and `/=` are not operators of the language: use //=")
        if isinstance(node.target, ast.Name):
            return Node("aug_local", (self.slots[node.target.id], operator), (self.expression(node.value),))
        if isinstance(node.target, ast.Subscript):
            container, index = self._item(node.target)
            return Node("aug_item", operator, (container, index, self.expression(node.value)))
        return Node("aug_field", (self._field(node.target), operator), (self.expression(node.value),))

    def _delete(self, node: ast.Delete) -> Node:
        if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Subscript):
            raise refusal(node, "DELETE", "only `del container[key]`")
        return Node("del_item", None, self._item(node.targets[0]))

    def _if(self, node: ast.If) -> Node:
        return Node("if", None, (self.expression(node.test), self.block(node.body), self.block(node.orelse)))

    def _while(self, node: ast.While) -> Node:
        if node.orelse:
            raise refusal(node.orelse[0], "LOOP_ELSE", "loops have no else")
        return Node("while", None, (self.expression(node.test), self._loop_block(node.body)))

    def _for(self, node: ast.For) -> Node:
        if node.orelse:
            raise refusal(node.orelse[0], "LOOP_ELSE", "loops have no else")
        target = self.loop_target(node.target)
        return Node("for", target, (self.expression(node.iter), self._loop_block(node.body)))

    def _loop_block(self, statements: list[ast.stmt]) -> Node:
        self.loops += 1
        block = self.block(statements)
        self.loops -= 1
        return block

    def _break(self, node: ast.Break | ast.Continue) -> Node:
        if self.loops == 0:
            raise refusal(node, "SYNTAX", "break and continue stand inside a loop")
        return Node("break" if isinstance(node, ast.Break) else "continue")

    def _pass(self, _node: ast.Pass) -> Node:
        return Node("pass")

    def _return(self, node: ast.Return) -> Node:
        return Node("return", None, () if node.value is None else (self.expression(node.value),))

    def _assert(self, node: ast.Assert) -> Node:
        if node.msg is None:
            raise refusal(node, "CODE", 'an assertion has a code: assert condition, "CODE"')
        return Node("assert", None, (self.expression(node.test), self.code(node.msg)))


def _assigned_names(statements: list[ast.stmt]) -> list[ast.Name]:
    """Names that a function's own statements assign, in order of appearance; comprehensions have their own."""
    names: list[ast.Name] = []
    for statement in statements:
        if isinstance(statement, ast.Assign):
            names += [name for target in statement.targets for name in names_in(target)]
        elif isinstance(statement, ast.AnnAssign | ast.AugAssign | ast.For):
            names += names_in(statement.target)
        for inner in (getattr(statement, "body", []), getattr(statement, "orelse", [])):
            if isinstance(inner, list):
                names += _assigned_names([item for item in inner if isinstance(item, ast.stmt)])
    return names


_Rule = Callable[[_Body, Any], Node | None]
_RULES: Final[dict[type[ast.stmt], _Rule]] = {
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
