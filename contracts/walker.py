"""The definition of the language: a slow, obvious walker over the canonical tree.

What a contract means is what this walker does with its tree; the closures (`closures.py`) are a cache that must give
the same result, gas, writes, events and code for every program, and differential fuzzing holds them to it
(`tests/contracts/test_walker.py`). So nothing here is clever: every node is looked up by its kind when it is reached,
every local variable is asked whether it is bound, every value is asked for its type, in one way for every case.

Shared with the closures, because both must agree with the network on it: the tree, the gas table with the cost of a
straight run (`gas.py`), the canonical encoding, the codes of `errors.py`, and the host: meter, overlay, the order of a
block, the way into a contract and the kit functions with effects (`machine.py`, `overlay.py`, `host.py`,
`runtime.py`), with the form of the values that pass through it. `Runtime(weave=walk_contract)` runs this walker.

The rest of the definition: `walker_values.py` (comparison, crossing), `walker_operations.py` (operators, builtins),
`walker_methods.py`, `walker_storage.py`.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from contracts.calls import HostOperation
from contracts.compiler import CallContract, Woven, describe_contract
from contracts.errors import Fault, Revert
from contracts.gas import CALL_DEPTH_MAX, GAS, VALUE_BYTES_MAX, compute_run_cost, split_runs
from contracts.language import CODE_PATTERN
from contracts.machine import Machine
from contracts.tree import Function, Node, parse_tree
from contracts.values import InterfaceValue, StructShape, StructValue
from contracts.walker_methods import call_method
from contracts.walker_operations import (
    binary,
    call_builtin,
    compare,
    delete_item,
    get_item,
    get_slice,
    items_of,
    list_of,
    set_item,
    sort,
    to_text,
)
from contracts.walker_storage import HANDLES, Place
from contracts.walker_values import (
    ADDRESS_LENGTH,
    any_to_plain,
    as_key,
    in_range,
    need,
    need_type,
    pay_text,
    to_bytes,
)


@dataclass(frozen=True, slots=True)
class Leave:
    """Why a block is left before its end: break, continue, or return with a value."""

    how: str
    value: Any = None


Locals = dict[int, Any]
"""Slot -> value, for the variables that are bound."""

READ_ONLY_KINDS: Final = {"view", "invariant"}


class Walker:
    """Walks the functions of one contract."""

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

    # --- functions ---

    def function(self, name: str) -> Function:
        """A helper by its name, a method by `self.` and its name."""
        return next(f for f in self.tree.functions if name == (f.name if f.kind == "helper" else f"self.{f.name}"))

    def call(self, function: Function, arguments: list[Any]) -> Any:
        """Run a function. Its caller has paid; views write nothing, and nothing that they call does."""
        machine = self.machine
        machine.depth += 1
        need(machine.depth <= CALL_DEPTH_MAX, "DEPTH")
        env: Locals = {slot: parameter.default for slot, parameter in enumerate(function.parameters)}
        env.update(enumerate(arguments))
        was_read_only = machine.read_only
        machine.read_only = was_read_only or function.kind in READ_ONLY_KINDS
        left = self.block(function.body, env)
        machine.read_only = was_read_only
        machine.depth -= 1
        return None if left is None else left.value

    # --- statements: each gives None, or why its block is left ---

    def block(self, node: Node, env: Locals, surcharge: int = 0) -> Leave | None:
        """Each straight run is paid when it is entered; the step of a loop is paid with the first one of its body."""
        for cost, statements in split_runs(node.children):
            self.machine.charge(surcharge + cost)
            surcharge = 0
            for statement in statements:
                left = self.statement(statement, env)
                if left is not None:
                    return left
        return None

    def statement(self, node: Node, env: Locals) -> Leave | None:
        """A statement that a run has paid."""
        match node.kind:
            case "pass":
                return None
            case "break" | "continue":
                return Leave(node.kind)
            case "return":
                return Leave("return", self.value(node.children[0], env) if node.children else None)
            case "if":
                chosen = 1 if self.condition(node.children[0], env) else 2
                return self.block(node.children[chosen], env)
            case "while":
                return self.while_loop(node, env)
            case "for":
                return self.for_loop(node, env)
            case "expr":
                self.value(node.children[0], env)
            case "assert":
                self.require([self.value(node.children[0], env)], node.children[1], env)
            case _:
                self.assignment(node, env)
        return None

    def while_loop(self, node: Node, env: Locals) -> Leave | None:
        """The test is a run of its own, with the step of the loop."""
        test, body = node.children
        while True:
            self.machine.charge(GAS.loop_step + compute_run_cost(test))
            if not self.condition(test, env):
                return None
            left = self.block(body, env)
            if left is not None and left.how != "continue":
                return None if left.how == "break" else left

    def for_loop(self, node: Node, env: Locals) -> Leave | None:
        """Rows in memory are read as they are at each step: one that grows is walked to its new end."""
        row = self.steps(self.value(node.children[0], env))
        at = 0
        while at < len(row):
            self.bind(node.value, row[at], env)
            at += 1
            left = self.block(node.children[1], env, surcharge=GAS.loop_step)
            if left is not None and left.how != "continue":
                return None if left.how == "break" else left
        return None

    def assignment(self, node: Node, env: Locals) -> None:
        """Statements that change something: container, then index, then value are found first."""
        machine = self.machine
        value: Any = node.value
        if node.kind in {"set_item", "aug_item", "del_item"}:
            container, index = self.value(node.children[0], env), self.value(node.children[1], env)
            if node.kind == "del_item":
                delete_item(machine, container, index)
            elif node.kind == "set_item":
                set_item(machine, container, index, self.value(node.children[2], env))
            else:
                before = get_item(machine, container, index)
                after = binary(machine, str(value), before, self.value(node.children[2], env))
                set_item(machine, container, index, after)
        elif node.kind == "assign":
            env[value] = self.value(node.children[0], env)
        elif node.kind == "unpack":
            self.bind((True, *value), self.value(node.children[0], env), env)
        elif node.kind == "set_field":
            self.field(str(value)).store(self.value(node.children[0], env))
        elif node.kind == "aug_local":
            slot, operator = value
            before = self.local(slot, env)
            env[slot] = binary(machine, operator, before, self.value(node.children[0], env))
        else:
            name, operator = value
            before = self.field(name).load()
            self.field(name).store(binary(machine, operator, before, self.value(node.children[0], env)))

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
            self.machine.charge(len(value))
            self.machine.grow(len(value))
            return items_of(self.machine, value, 0)
        need(type(value) is Place, "TYPE")
        if value.hint.kind == "vec":
            return Elements(value)
        need(value.hint.kind != "ledger", "TYPE")
        return value.keys()

    def paid(self, node: Node, env: Locals) -> Any:
        """An expression that is a straight run of its own."""
        self.machine.charge(compute_run_cost(node))
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
            self.machine.charge(compute_run_cost(operand))
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
        at = 0
        while at < len(row):
            machine.charge(GAS.loop_step)
            self.bind(node.value, row[at], env)
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
        self.machine.charge(compute_run_cost(condition))
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
        """Kit functions. Those that touch the chain or keys (emit, schedule, verify_ed25519) are the host's."""
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


def walk_contract(
    tree_bytes: bytes,
    contract: str,
    machine: Machine,
    host: dict[str, HostOperation],
    call_contract: CallContract,
) -> Woven:
    """A contract that runs by walking its tree; stands where `weave_contract` stands."""
    walker = Walker(tree_bytes, contract, machine, host, call_contract)
    return describe_contract(
        walker.tree,
        contract,
        walker.shapes,
        walker.events,
        lambda function: lambda arguments: walker.call(function, arguments),
    )
