"""The least gas that a call of a method costs, from the tree alone, and what makes it cost more.

What a call costs is known only when it runs: loops, sizes of what is read and written, and other contracts decide. What
it costs *at least* when it works follows from the tree: the cheapest way through the branches, no step of any loop, the
smallest value at each read and write. The bound is for an author's eyes and for a first guess of a limit; what calls
really cost is measured (`contract gas --tests`). Nothing here decides anything on a replica.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.gas import GAS, compute_run_cost
from contracts.hints import HANDLE_KINDS, STORED_KINDS
from contracts.tree import Function, Node, Tree

_LOOPS: Final = frozenset({"for", "while", "list_comp", "dict_comp"})
_SIZED: Final = frozenset({"builtin", "sorted", "method", "slice", "format"})
_LEAST_OF_HOST: Final = {
    "emit": GAS.event,
    "schedule": GAS.schedule,
    "sha256": GAS.sha256,
    "verify_ed25519": GAS.ed25519,
    "verify_ecdsa": min(GAS.ecdsa.values()),
    "read_der_signature": GAS.der_signature,
}
_CALLABLE: Final = frozenset({"external", "view", "init", "scheduled", "invariant", "migrate"})


@dataclass(frozen=True, slots=True)
class GasBound:
    """The bound of one method."""

    method: str
    kind: str
    at_least: int
    grows_with: tuple[str, ...]
    """In a fixed order, of: loops, branches, storage, sizes, contracts."""


@dataclass(frozen=True, slots=True)
class _Ways:
    """Cheapest ways through some statements; None: there is no such way."""

    through: int | None
    """To the statement after them."""
    out: int | None
    """To the end of the function."""


def compute_gas_bounds(tree: Tree) -> list[GasBound]:
    """A bound for each method that something outside the contract calls, in declared order."""
    bounds = _Bounds(tree)
    return [bounds.of_method(function) for function in tree.functions if function.kind in _CALLABLE]


class _Bounds:
    """The bounds of one tree's functions."""

    def __init__(self, tree: Tree) -> None:
        self._functions = {_called_as(function): function for function in tree.functions}
        self._fields = {field.name: field.hint for field in tree.fields}
        self._least: dict[str, int] = {}

    def of_method(self, function: Function) -> GasBound:
        """The body, and what comes with every transaction: its price, arguments of a byte each, roles, result."""
        arguments = 1 + sum(not parameter.has_default for parameter in function.parameters)
        least = GAS.transaction + arguments // GAS.transaction_bytes + GAS.container_byte * arguments
        least += GAS.contract_call * len(function.roles) + self._of_function(_called_as(function))
        grows = self._growth(function.body, {_called_as(function)})
        if function.roles:
            grows = grows | {"contracts"}
        if function.parameters:
            grows = grows | {"sizes"}
        order = ("loops", "branches", "storage", "sizes", "contracts")
        return GasBound(function.name, function.kind, least, tuple(name for name in order if name in grows))

    def _of_function(self, name: str) -> int:
        if name not in self._least:
            self._least[name] = 0  # a call of itself counts nothing more: still no call costs less
            ways = self._of_block(self._functions[name].body.children)
            self._least[name] = min(way for way in (ways.through, ways.out, _NEVER) if way is not None)
        return self._least[name]

    def _of_block(self, statements: Sequence[Node]) -> _Ways:
        through: int | None = 0
        out: int | None = None
        for statement in statements:
            if through is None:
                break
            ways = self._of_statement(statement)
            out = _cheaper(out, _plus(through, ways.out))
            through = _plus(through, ways.through)
        return _Ways(through, out)

    def _of_statement(self, node: Node) -> _Ways:
        cost = compute_run_cost(node) + self._of_work(node)
        if node.kind == "return":
            return _Ways(None, cost)
        if node.kind == "if":
            first, second = (self._of_block(block.children) for block in node.children[1:])
            through = _cheaper(first.through, second.through)
            return _Ways(_plus(cost, through), _plus(cost, _cheaper(first.out, second.out)))
        if node.kind in {"for", "while"}:
            inside = self._of_block(node.children[1].children)
            if node.kind == "while":
                cost += GAS.loop_step + compute_run_cost(node.children[0])  # it looks once
            return _Ways(cost, _plus(cost, inside.out))
        return _Ways(cost, None)

    def _of_work(self, node: Node) -> int:
        """What the host and storage ask for at least, beyond the nodes of the run, and own functions' bodies."""
        if node.kind == "field":
            return GAS.storage_read if self._fields[str(node.value)].kind in STORED_KINDS else 0
        children = _always_run(node)
        least = sum(self._of_work(child) for child in children)
        if node.kind == "set_field":
            least += GAS.storage_write
        elif node.kind == "aug_field":
            least += GAS.storage_read + GAS.storage_write
        elif node.kind == "subscript" and self._is_stored_item(node.children[0]):
            least += GAS.storage_read
        elif node.kind in {"set_item", "aug_item"} and self._is_stored_item(node.children[0]):
            least += GAS.storage_write + (GAS.storage_read if node.kind == "aug_item" else 0)
        elif node.kind == "host":
            least += _LEAST_OF_HOST.get(str(node.value), 0)
        elif node.kind == "method" and node.children[0].kind == "interface":
            least += GAS.contract_call
        elif node.kind == "call":
            least += self._of_function(str(node.value))
        elif node.kind == "conditional":
            least += min(compute_run_cost(arm) + self._of_work(arm) for arm in node.children[1:])
        return least

    def _is_stored_item(self, container: Node) -> bool:
        """Whether an item of it is a value in storage: `self.map[key]` where the map holds plain values."""
        if container.kind != "field":
            return False
        hint = self._fields[str(container.value)]
        return hint.kind in HANDLE_KINDS and hint.kind != "ledger" and hint.arguments[-1].kind in STORED_KINDS

    def _growth(self, node: Node, seen: set[str]) -> frozenset[str]:
        """What the cost of a body depends on, own functions included."""
        grows = set()
        if node.kind in _LOOPS:
            grows.add("loops")
        elif node.kind in {"if", "conditional", "and", "or"}:
            grows.add("branches")
        elif node.kind in {"field", "set_field", "aug_field"} or (node.kind == "host" and node.value == "emit"):
            grows.add("storage")
        elif node.kind in _SIZED or (node.kind == "host" and node.value in {"sha256", "canonical", "schedule"}):
            grows.add("sizes")
        elif node.kind == "interface":
            grows.add("contracts")
        elif node.kind == "call" and str(node.value) not in seen:
            seen.add(str(node.value))
            grows |= self._growth(self._functions[str(node.value)].body, seen)
        return frozenset(grows).union(*(self._growth(child, seen) for child in node.children))


_NEVER: Final = 2**62
"""Of a function that no way leads out of, as `while True` without a return."""


def _called_as(function: Function) -> str:
    """What names the function in a `call` node."""
    return function.name if function.kind == "helper" else f"self.{function.name}"


def _always_run(node: Node) -> tuple[Node, ...]:
    """Children whose work is done whenever the node's is."""
    if node.kind in {"and", "or", "conditional", "if", "for", "list_comp", "dict_comp"}:
        return node.children[:1]
    return () if node.kind == "while" else node.children


def _plus(cost: int, more: int | None) -> int | None:
    return None if more is None else cost + more


def _cheaper(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else min(first, second)
