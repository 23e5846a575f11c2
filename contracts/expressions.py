"""Expressions of the canonical tree as closures: each is a function of the local variables that gives a value.

The closures are a cache of the tree, never the contract itself. Tight cases (ints, assigned locals, constants) are
written out; all else goes to the tables of `operations.py` and `builtins.py`, and both ways give the same value, gas
and fault. A local that is certainly assigned is read without asking; the others are asked each time (UNBOUND).
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from contracts.boundary import Boundary
from contracts.builtins import BUILTIN_OPERATIONS
from contracts.codecs import make_codec
from contracts.entries import make_entry_reader
from contracts.errors import Fault, OutOfGas
from contracts.gas import GAS, compute_run_cost, compute_step_cost
from contracts.machine import Machine
from contracts.operations import get_item, get_slice, iterate, pay_text
from contracts.storage import Handle, MapHandle, field_prefix, make_handle
from contracts.tree import Node, Tree
from contracts.values import ADDRESS_BYTES, InterfaceValue, StructShape, StructValue, make_key

Env = list[Any]
Expression = Callable[[Env], Any]


class _Unbound:
    """What a local variable holds before it is assigned; never a value."""

    __slots__ = ()


UNBOUND: Final = _Unbound()


class ExpressionWeaver:
    """Weaves the expressions of one contract at one name."""

    def __init__(
        self,
        tree: Tree,
        contract: str,
        machine: Machine,
    ) -> None:
        self.machine = machine
        self.shapes = {record.name: StructShape(record) for record in tree.structs}
        self.boundary = Boundary(machine, self.shapes)
        self.events = {record.name: StructShape(record) for record in tree.events}
        self.interfaces = {declaration.name: declaration for declaration in tree.interfaces}
        self.fields = {field.name: field.hint for field in tree.fields}
        self.prefixes = {name: field_prefix(contract, name) for name in self.fields}
        self.handles: dict[str, Handle] = {
            name: make_handle(self.boundary, hint, self.prefixes[name])
            for name, hint in self.fields.items()
            if hint.kind in {"map", "indexed", "vec", "ledger"}
        }
        self.codecs = {
            name: make_codec(self.boundary, hint) for name, hint in self.fields.items() if name not in self.handles
        }
        self.assigned: set[int] = set()
        """Slots that are certainly assigned where the weaver is."""

    def expression(self, node: Node) -> Expression:
        weave: Callable[[Node], Expression] = getattr(self, f"_weave_{node.kind}")
        return weave(node)

    def expressions(self, nodes: tuple[Node, ...]) -> list[Expression]:
        return [self.expression(node) for node in nodes]

    def run(self, node: Node) -> Expression:
        """An expression that is a straight run of its own: pays when it is reached."""
        machine, cost, expression = self.machine, compute_run_cost(node), self.expression(node)

        def run(env: Env) -> Any:
            machine.gas -= cost
            if machine.gas < 0:
                raise OutOfGas
            return expression(env)

        return run

    # --- names and constants ---

    def _weave_const(self, node: Node) -> Expression:
        value = node.value
        return lambda env: value

    def _weave_local(self, node: Node) -> Expression:
        slot = node.value
        assert type(slot) is int
        if slot in self.assigned:
            return operator.itemgetter(slot)

        def local(env: Env) -> Any:
            value = env[slot]
            if value is UNBOUND:
                raise Fault("UNBOUND")
            return value

        return local

    def _weave_field(self, node: Node) -> Expression:
        name = str(node.value)
        handle = self.handles.get(name)
        if handle is not None:
            return lambda env: handle
        read, key = self.codecs[name].read, self.prefixes[name]
        return lambda env: read(key)

    def _weave_ctx(self, node: Node) -> Expression:
        machine, name = self.machine, str(node.value)
        if name == "sender":
            return lambda env: machine.sender
        read = operator.attrgetter(name)
        return lambda env: read(machine)

    # --- displays ---

    def _weave_list(self, node: Node) -> Expression:
        machine, items, count = self.machine, self.expressions(node.children), len(node.children)

        def display(env: Env) -> Any:
            machine.cells -= count
            if machine.cells < 0:
                raise Fault("MEMORY")
            return [item(env) for item in items]

        return display

    def _weave_tuple(self, node: Node) -> Expression:
        machine, items, count = self.machine, self.expressions(node.children), len(node.children)

        def display(env: Env) -> Any:
            machine.grow(count)
            return tuple([item(env) for item in items])

        return display

    def _weave_dict(self, node: Node) -> Expression:
        machine, items = self.machine, self.expressions(node.children)
        pairs = list(zip(items[::2], items[1::2], strict=True))

        def display(env: Env) -> Any:
            machine.grow(2 * len(pairs))
            made: dict[Any, Any] = {}
            for key, value in pairs:
                place = make_key(machine, key(env))
                made[place] = value(env)
            return made

        return display

    def _weave_format(self, node: Node) -> Expression:
        machine, pieces, to_str = self.machine, self.expressions(node.children), BUILTIN_OPERATIONS["str"]

        def text(env: Env) -> Any:
            parts = [to_str(machine, piece(env)) for piece in pieces]
            pay_text(machine, sum(map(len, parts)))
            return "".join(parts)

        return text

    def _weave_struct(self, node: Node) -> Expression:
        return self._record(self.shapes[str(node.value)], node)

    def _weave_event(self, node: Node) -> Expression:
        return self._record(self.events[str(node.value)], node)

    def _record(self, shape: StructShape, node: Node) -> Expression:
        machine, items, count = self.machine, self.expressions(node.children), len(node.children)

        def construct(env: Env) -> Any:
            machine.grow(count)
            return StructValue(shape, tuple([item(env) for item in items]))

        return construct

    def _weave_interface(self, node: Node) -> Expression:
        declaration, address = self.interfaces[str(node.value)], self.expression(node.children[0])

        def construct(env: Env) -> Any:
            value = address(env)
            if type(value) is not bytes or len(value) != ADDRESS_BYTES:
                raise Fault("TYPE")
            return InterfaceValue(declaration, value)

        return construct

    # --- comprehensions ---

    def binder(self, target: Any) -> Callable[[Env, Any], None]:
        """What gives a loop's variables one item."""
        unpacks, slots = target[0], target[1:]
        if not unpacks:
            slot = slots[0]

            def bind(env: Env, item: Any) -> None:
                env[slot] = item

            return bind
        if len(slots) == 2:
            return _bind_two(*slots)
        first, count = slots[0], len(slots)
        in_a_row = tuple(slots) == tuple(range(first, first + count))

        def unpack(env: Env, item: Any) -> None:
            if type(item) is not tuple and type(item) is not list:
                raise Fault("TYPE")
            if len(item) != count:
                raise Fault("VALUE")
            if in_a_row:
                env[first : first + count] = item
            else:
                for place, part in zip(slots, item, strict=True):
                    env[place] = part

        return unpack

    def _steps(self, node: Node, first_condition: int) -> Callable[[Env], Any]:
        """Steps over the items that pass the conditions, with the variables bound and the steps paid."""
        machine, iterated = self.machine, self.expression(node.children[0])
        assert type(node.value) is tuple
        bind = self.binder(node.value)
        self.assigned.update(slot for slot in node.value[1:] if type(slot) is int)
        conditions = [self.run(condition) for condition in node.children[first_condition:]]
        step_cost = compute_step_cost(node.value)

        def steps(env: Env) -> Any:
            for item in iterate(machine, iterated(env)):
                machine.gas -= step_cost
                if machine.gas < 0:
                    raise OutOfGas
                bind(env, item)
                for condition in conditions:
                    verdict = condition(env)
                    if verdict is False:
                        break
                    if verdict is not True:
                        raise Fault("TYPE")
                else:
                    yield None

        return steps

    def _weave_list_comp(self, node: Node) -> Expression:
        assert type(node.value) is tuple
        if not node.value[0] and len(node.children) == 2:
            return self._plain_list_comp(node)
        before = set(self.assigned)
        machine, steps = self.machine, self._steps(node, 2)
        element = self.run(node.children[1])
        self.assigned = before

        def comprehend(env: Env) -> Any:
            made = []
            for _ in steps(env):
                machine.charge(GAS.display_item)
                machine.grow(1)
                made.append(element(env))
            return made

        return comprehend

    def _plain_list_comp(self, node: Node) -> Expression:
        """The commonest comprehension: one variable, no condition. The step and the item are paid together."""
        machine, iterated = self.machine, self.expression(node.children[0])
        assert type(node.value) is tuple and type(node.value[1]) is int
        slot, before = node.value[1], set(self.assigned)
        self.assigned.add(slot)
        element, cost = self.expression(node.children[1]), compute_run_cost(node.children[1])
        self.assigned = before
        step_cost = GAS.loop_step + GAS.display_item

        def comprehend(env: Env) -> Any:
            made = []
            for item in iterate(machine, iterated(env)):
                machine.gas -= step_cost
                if machine.gas < 0:
                    raise OutOfGas
                machine.cells -= 1
                if machine.cells < 0:
                    raise Fault("MEMORY")
                env[slot] = item
                machine.gas -= cost
                if machine.gas < 0:
                    raise OutOfGas
                made.append(element(env))
            return made

        return comprehend

    def _weave_dict_comp(self, node: Node) -> Expression:
        before = set(self.assigned)
        machine, steps = self.machine, self._steps(node, 3)
        key, value = self.run(node.children[1]), self.run(node.children[2])
        self.assigned = before

        def comprehend(env: Env) -> Any:
            made: dict[Any, Any] = {}
            for _ in steps(env):
                machine.charge(GAS.display_pair)
                machine.grow(2)
                place = make_key(machine, key(env))
                made[place] = value(env)
            return made

        return comprehend

    # --- parts ---

    def _weave_subscript(self, node: Node) -> Expression:
        machine = self.machine
        index = self.expression(node.children[1])
        if node.children[0].kind == "field":
            handle = self.handles.get(str(node.children[0].value))
            if type(handle) is MapHandle:
                if handle.codec is None:
                    get = handle.get
                    return lambda env: get(index(env))
                return make_entry_reader(handle, handle.codec, index)
        container = self.expression(node.children[0])

        def subscript(env: Env) -> Any:
            holder = container(env)
            position = index(env)
            if type(holder) is list and type(position) is int and 0 <= position < len(holder):
                return holder[position]
            return get_item(machine, holder, position)

        return subscript

    def _weave_slice(self, node: Node) -> Expression:
        machine, container = self.machine, self.expression(node.children[0])
        bounds = self.expressions(node.children[1:])
        assert type(node.value) is tuple
        has_lower, has_upper = node.value

        def take_slice(env: Env) -> Any:
            holder = container(env)
            lower = bounds[0](env) if has_lower else None
            upper = bounds[-1](env) if has_upper else None
            if (has_lower and lower is None) or (has_upper and upper is None):
                raise Fault("TYPE")
            return get_slice(machine, holder, lower, upper)

        return take_slice

    def _weave_attribute(self, node: Node) -> Expression:
        name, operand = str(node.value), node.children[0]
        if operand.kind == "local" and type(operand.value) is int and operand.value in self.assigned:
            return _attribute_of_local(operand.value, name)
        record = self.expression(operand)

        def attribute(env: Env) -> Any:
            value = record(env)
            if type(value) is not StructValue:
                raise Fault("TYPE")
            try:
                return value.values[value.shape.positions[name]]
            except KeyError:
                raise Fault("TYPE") from None

        return attribute


def _attribute_of_local(slot: int, name: str) -> Expression:
    """Of a local variable that is certainly assigned, the commonest record: read in place."""

    def attribute(env: Env) -> Any:
        value = env[slot]
        if type(value) is not StructValue:
            raise Fault("TYPE")
        try:
            return value.values[value.shape.positions[name]]
        except KeyError:
            raise Fault("TYPE") from None

    return attribute


def _bind_two(first: int, second: int) -> Callable[[Env, Any], None]:
    """Two names, the commonest tuple of targets."""

    def unpack(env: Env, item: Any) -> None:
        if type(item) is not tuple and type(item) is not list:
            raise Fault("TYPE")
        if len(item) != 2:
            raise Fault("VALUE")
        env[first], env[second] = item

    return unpack
