"""Expressions as the slow walker evaluates them: each gives a value.

Part of the definition of the language (`walker.py`). An expression is evaluated when it is reached, its operands from
left to right; the run that it belongs to has paid for it, and what is a run of its own pays here (`paid`).
"""

import hashlib
from abc import ABC, abstractmethod
from typing import Any

from contracts.calls import HostOperation
from contracts.compiler import CallContract
from contracts.errors import Fault, Revert
from contracts.gas import GAS, VALUE_BYTES_MAX, compute_run_cost, compute_step_cost, split_runs
from contracts.language import CODE_PATTERN
from contracts.machine import Machine
from contracts.tree import Function, Node, parse_tree
from contracts.values import InterfaceValue, StructShape, StructValue
from contracts.walker_methods import call_method
from contracts.walker_operations import (
    binary,
    call_builtin,
    compare,
    get_item,
    get_slice,
    items_of,
    list_of,
    sort,
    to_text,
)
from contracts.walker_storage import HANDLES, Place
from contracts.walker_values import (
    ADDRESS_LENGTH,
    any_from_plain,
    any_to_plain,
    as_key,
    in_range,
    need,
    need_type,
    pay_row,
    pay_text,
    to_bytes,
)
from ledger.curves import CURVES, read_der_signature
from ledger.encoding import decode

Locals = dict[int, Any]
"""Slot -> value, for the variables that are bound."""


class ExpressionWalker(ABC):
    """Evaluates the expressions of one contract."""

    def __init__(
        self,
        tree_bytes: bytes,
        contract: str,
        machine: Machine,
        host: dict[str, HostOperation],
        call_contract: CallContract,
    ) -> None:
        self.tree = parse_tree(tree_bytes)
        self.contract = contract
        self.machine = machine
        self.host = host
        self.call_contract = call_contract
        self.shapes = {record.name: StructShape(record) for record in self.tree.structs}
        self.events = {record.name: StructShape(record) for record in self.tree.events}
        self.interfaces = {interface.name: interface for interface in self.tree.interfaces}
        self._costs: dict[int, int] = {}
        self._runs: dict[int, list[tuple[int, tuple[Node, ...]]]] = {}

    @abstractmethod
    def call(self, function: Function, arguments: list[Any]) -> Any:
        """Run a function: statements are the walker's."""

    # --- functions ---

    def function(self, name: str) -> Function:
        """A helper by its name, a method by `self.` and its name."""
        return next(f for f in self.tree.functions if name == (f.name if f.kind == "helper" else f"self.{f.name}"))

    # --- static costs: the tree stays as it is, so each node's is computed once (by the node's identity) ---

    def cost_of(self, node: Node) -> int:
        """Gas of an expression that is a straight run of its own."""
        if id(node) not in self._costs:
            self._costs[id(node)] = compute_run_cost(node)
        return self._costs[id(node)]

    def runs_of(self, block: Node) -> list[tuple[int, tuple[Node, ...]]]:
        """The straight runs of a block, each with its cost."""
        if id(block) not in self._runs:
            self._runs[id(block)] = split_runs(block.children)
        return self._runs[id(block)]

    # --- what statements and expressions share ---

    def condition(self, node: Node, env: Locals) -> bool:
        """A bool, and nothing that could pass for one."""
        verdict = self.value(node, env)
        need_type(verdict, bool)
        return bool(verdict)

    def local(self, slot: int, env: Locals) -> Any:
        need(slot in env, "UNBOUND")
        return env[slot]

    def bind(self, target: Any, item: Any, env: Locals) -> None:
        """Give the target of a loop or of an assignment to names its value: (unpacks, slot, ...)."""
        unpacks, *slots = target
        if not unpacks:
            env[slots[0]] = item
            return
        need_type(item, tuple, list)
        need(len(item) == len(slots), "VALUE")
        for at in range(len(slots)):
            env[slots[at]] = item[at]

    def field(self, name: str) -> Place:
        """Where a field of this contract is stored."""
        hint = next(field.hint for field in self.tree.fields if field.name == name)
        return Place(self.machine, self.shapes, hint, f"c/{self.contract}/{name}/".encode())

    def steps(self, value: Any) -> Any:
        """What a loop steps over: a row in memory itself, of dicts and maps the keys as they are now."""
        if type(value) in {list, tuple, str, bytes, range}:
            return value
        if type(value) is dict:
            pay_row(self.machine, len(value))
            return items_of(self.machine, value, 0)
        need(type(value) is Place, "TYPE")
        if value.hint.kind == "vec":
            return Elements(value)
        need(value.hint.kind != "ledger", "TYPE")
        return value.keys()

    def paid(self, node: Node, env: Locals) -> Any:
        """An expression that is a straight run of its own."""
        self.machine.charge(self.cost_of(node))
        return self.value(node, env)

    def require(self, condition: list[Any], code: Node, env: Locals) -> None:
        """`require` and `assert`: the code is an expression too, and only looked at where the condition is not True."""
        if condition[0] is True:
            return
        text = self.value(code, env)
        need_type(condition[0], bool)
        need_type(text, str)
        need(CODE_PATTERN.fullmatch(text) is not None, "VALUE")
        raise Revert(text)

    # --- expressions: each gives a value ---

    def value(self, node: Node, env: Locals) -> Any:
        """The value of an expression that a run has paid."""
        match node.kind:
            case "const":
                return node.value
            case "local":
                return self.local(int(node.value), env)  # type: ignore[arg-type]
            case "field":
                place = self.field(str(node.value))
                return place if place.hint.kind in HANDLES else place.load()
            case "ctx":
                return getattr(self.machine, str(node.value))
            case "and" | "or":
                return self.logic(node, env)
            case "conditional":
                return self.paid(node.children[1 if self.condition(node.children[0], env) else 2], env)
            case "not":
                return not self.condition(node.children[0], env)
            case "compare":
                return self.comparison(node, env)
            case "list_comp" | "dict_comp":
                return self.comprehension(node, env)
            case "list" | "tuple" | "dict" | "struct" | "event" | "format":
                return self.display(node, env)
            case "sorted":
                return self.sorted(node, env)
            case "host":
                return self.host_call(node, env)
        return self.operation(node, [self.value(child, env) for child in node.children])

    def operation(self, node: Node, values: list[Any]) -> Any:
        """Expressions whose operands are all evaluated first, left to right."""
        machine = self.machine
        name: Any = node.value
        match node.kind:
            case "neg":
                need_type(values[0], int)
                return in_range(-values[0])
            case "binary":
                return binary(machine, str(name), values[0], values[1])
            case "is_none":
                return (values[0] is None) != name
            case "subscript":
                return get_item(machine, values[0], values[1])
            case "slice":
                need(None not in values[1:], "TYPE")
                has_lower, has_upper = name
                return get_slice(
                    machine, values[0], values[1] if has_lower else None, values[-1] if has_upper else None
                )
            case "attribute":
                need_type(values[0], StructValue)
                need(name in values[0].shape.fields, "TYPE")
                return values[0].values[values[0].shape.fields.index(name)]
            case "interface":
                need(type(values[0]) is bytes and len(values[0]) == ADDRESS_LENGTH, "TYPE")
                return InterfaceValue(self.interfaces[str(name)], values[0])
            case "builtin":
                return call_builtin(machine, str(name), values)
            case "call":
                return self.call(self.function(str(name)), values)
            case "method":
                receiver, *arguments = values
                if type(receiver) is InterfaceValue:
                    return self.call_contract(receiver, str(name), tuple(arguments))
                return call_method(machine, receiver, str(name), arguments)
        raise Fault("INTERNAL")

    def logic(self, node: Node, env: Locals) -> bool:
        """`and` and `or`: operands after the first are runs of their own, paid only when they are reached."""
        decides = node.kind == "or"
        if self.condition(node.children[0], env) is decides:
            return decides
        for operand in node.children[1:]:
            self.machine.charge(self.cost_of(operand))
            if self.condition(operand, env) is decides:
                return decides
        return not decides

    def comparison(self, node: Node, env: Locals) -> bool:
        """`a < b < c`: each operand evaluated once, none after the first link that does not hold."""
        left = self.value(node.children[0], env)
        for operator, operand in zip(node.value, node.children[1:], strict=True):  # type: ignore[arg-type]
            right = self.value(operand, env)
            if not compare(self.machine, str(operator), left, right):
                return False
            left = right
        return True

    def display(self, node: Node, env: Locals) -> Any:
        """Lists, tuples, dicts, structs, events and f-strings as they are written."""
        machine = self.machine
        if node.kind == "format":
            pieces = [to_text(machine, self.value(piece, env)) for piece in node.children]
            pay_text(machine, sum(len(piece) for piece in pieces))
            return "".join(pieces)
        machine.grow(len(node.children))
        if node.kind == "dict":
            pairs: dict[Any, Any] = {}
            for at in range(0, len(node.children), 2):
                key = as_key(machine, self.value(node.children[at], env))
                pairs[key] = self.value(node.children[at + 1], env)
            return pairs
        items = [self.value(item, env) for item in node.children]
        if node.kind == "list":
            return items
        if node.kind == "tuple":
            return tuple(items)
        shapes = self.shapes if node.kind == "struct" else self.events
        return StructValue(shapes[str(node.value)], tuple(items))

    def comprehension(self, node: Node, env: Locals) -> Any:
        """Conditions and elements are runs of their own; an element is paid before it is made."""
        machine, is_list = self.machine, node.kind == "list_comp"
        elements = node.children[1:2] if is_list else node.children[1:3]
        conditions = node.children[2:] if is_list else node.children[3:]
        row = self.steps(self.value(node.children[0], env))
        items: list[Any] = []
        pairs: dict[Any, Any] = {}
        target: Any = node.value
        at = 0
        while at < len(row):
            item = row[at]  # an element of storage pays for being read, then its step is paid, as in a `for`
            machine.charge(compute_step_cost(target))
            self.bind(target, item, env)
            at += 1
            if not all(self.verdict(condition, env) for condition in conditions):
                continue
            machine.charge(GAS.display_item if is_list else GAS.display_pair)
            machine.grow(len(elements))
            if is_list:
                items.append(self.paid(elements[0], env))
            else:
                key = as_key(machine, self.paid(elements[0], env))
                pairs[key] = self.paid(elements[1], env)
        return items if is_list else pairs

    def verdict(self, condition: Node, env: Locals) -> bool:
        """A condition that is a run of its own."""
        self.machine.charge(self.cost_of(condition))
        return self.condition(condition, env)

    def sorted(self, node: Node, env: Locals) -> list[Any]:
        """`sorted(row, key=helper, reverse=...)`: every key is computed, left to right, before anything is compared."""
        machine = self.machine
        names: Any = node.value
        key_name, has_reverse = names
        row = self.value(node.children[0], env)
        reverse = self.value(node.children[1], env) if has_reverse else False
        need_type(reverse, bool)
        items = list_of(items_of(machine, row, 1))
        machine.grow(2 * len(items))
        keys = items if key_name is None else [self.sort_key(str(key_name), item) for item in items]
        return sort(machine, items, keys, reverse=reverse)

    def sort_key(self, name: str, item: Any) -> Any:
        """A call of the key function costs what any call costs."""
        self.machine.charge(GAS.call + GAS.call_argument)
        return self.call(self.function(name), [item])

    def host_call(self, node: Node, env: Locals) -> Any:
        """Kit functions. Those that touch the chain or keys (emit, schedule, verify_...) are the host's."""
        machine, name = self.machine, str(node.value)
        if name == "require":
            return self.require([self.value(node.children[0], env)], node.children[1], env)
        values = [self.value(child, env) for child in node.children]
        match name:
            case "mul_div":
                for value in values:
                    need_type(value, int)
                need(values[2] != 0, "DIVISION")
                return in_range(values[0] * values[1] // values[2])
            case "canonical":
                data = to_bytes(any_to_plain(machine, values[0]), VALUE_BYTES_MAX, "STATE_SIZE")
                machine.charge(GAS.convert + len(data) // GAS.text_chars)
                machine.grow(len(data) // GAS.text_chars)
                return data
            case "sha256":
                need_type(values[0], bytes)
                machine.charge(GAS.sha256 + len(values[0]) // GAS.sha256_bytes)
                return hashlib.sha256(values[0]).digest()
            case "read_der_signature":
                need_type(values[1], bytes)
                need_type(values[0], str)
                need(values[0] in CURVES, "VALUE")
                curve = CURVES[values[0]]
                machine.charge(GAS.der_signature)
                machine.grow(2 + 2 * curve.width // GAS.text_chars)
                return read_der_signature(curve, values[1])
            case "private_value":
                need_type(values[0], int)
                need(0 <= values[0] < len(machine.private_values), "INDEX")
                data = machine.private_values[values[0]]
                machine.charge(GAS.convert + GAS.container_byte * len(data))
                machine.grow(len(data) // GAS.text_chars)
                return any_from_plain(machine, decode(data))
        return self.host[name](machine, *values)


class Elements:
    """The elements of a stored row while a loop steps over them: as many as at its start, each read at its step."""

    def __init__(self, row: Place) -> None:
        self.row = row
        self.count = row.length()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: int) -> Any:
        return self.row.element(at).load()
