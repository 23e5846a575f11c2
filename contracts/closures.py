"""Statements and functions of the canonical tree as closures.

A statement is a function of the local variables that gives None, or the signal that leaves its block: BREAK, CONTINUE
or RETURN (the value waits in the machine). Each straight run pays once, when it is entered (`gas.split_runs`).
"""

from collections.abc import Callable
from typing import Any, Final

from contracts.calls import CallWeaver, Routine
from contracts.entries import make_entry_changer, make_entry_writer
from contracts.errors import Fault, OutOfGas
from contracts.expressions import Env, Expression
from contracts.gas import GAS, compute_run_cost, compute_step_cost, split_runs
from contracts.operations import BINARY, delete_item, get_item, iterate, set_item
from contracts.storage import MapHandle
from contracts.tree import Function, Node

Statement = Callable[[Env], Any]

BREAK: Final = "break"
CONTINUE: Final = "continue"
RETURN: Final = "return"


class Weaver(CallWeaver):
    """Weaves one contract: its routines, by name (methods as `self.<name>`)."""

    def weave(self, functions: tuple[Function, ...]) -> None:
        """Fill `routines` with every function of the tree."""
        for function in functions:
            defaults = tuple(parameter.default for parameter in function.parameters if parameter.has_default)
            routine = Routine(len(function.parameters), defaults, function.slot_count)
            self.routines[routine_name(function)] = routine
        for function in functions:
            self.assigned = set(range(len(function.parameters)))
            block, is_read_only = self.block(function.body), function.kind in {"view", "invariant"}
            self.routines[routine_name(function)].weave(self.machine, block, is_read_only=is_read_only)

    # --- blocks ---

    def block(self, node: Node, surcharge: int = 0) -> Statement:
        """A block; `surcharge` is paid with its first run (the step of a loop)."""
        runs: list[Statement] = []
        for cost, statements in split_runs(node.children):
            if [statement.kind for statement in statements] == ["pass"]:  # above all, an `if` without `else`
                runs.append(self._nothing(cost + surcharge))
            else:
                runs.append(self._straight(cost + surcharge, [self.statement(statement) for statement in statements]))
            surcharge = 0
        if len(runs) == 1:
            return runs[0]

        def block(env: Env) -> Any:
            for run in runs:
                signal = run(env)
                if signal is not None:
                    return signal
            return None

        return block

    def _nothing(self, cost: int) -> Statement:
        machine = self.machine

        def run_nothing(_env: Env) -> None:
            machine.gas -= cost
            if machine.gas < 0:
                raise OutOfGas

        return run_nothing

    def _straight(self, cost: int, statements: list[Statement]) -> Statement:
        machine = self.machine
        if len(statements) == 1:
            only = statements[0]

            def run_one(env: Env) -> Any:
                machine.gas -= cost
                if machine.gas < 0:
                    raise OutOfGas
                return only(env)

            return run_one
        if len(statements) == 2:
            first, second = statements

            def run_two(env: Env) -> Any:
                machine.gas -= cost
                if machine.gas < 0:
                    raise OutOfGas
                signal = first(env)
                return second(env) if signal is None else signal

            return run_two

        def run(env: Env) -> Any:
            machine.gas -= cost
            if machine.gas < 0:
                raise OutOfGas
            for statement in statements:
                signal = statement(env)
                if signal is not None:
                    return signal
            return None

        return run

    def statement(self, node: Node) -> Statement:
        weave: Callable[[Node], Statement] = getattr(self, f"_weave_{node.kind}")
        return weave(node)

    # --- simple statements ---

    def _weave_expr(self, node: Node) -> Statement:
        if node.children[0].kind == "host" and node.children[0].value == "require":
            return self._weave_assert(node.children[0])
        expression = self.expression(node.children[0])

        def evaluate(env: Env) -> None:
            expression(env)

        return evaluate

    def _weave_assign(self, node: Node) -> Statement:
        value, slot = self.expression(node.children[0]), node.value
        assert type(slot) is int
        self.assigned.add(slot)

        def assign(env: Env) -> None:
            env[slot] = value(env)

        return assign

    def _weave_unpack(self, node: Node) -> Statement:
        value = self.expression(node.children[0])
        assert type(node.value) is tuple
        bind = self.binder((True, *node.value))
        self.assigned.update(slot for slot in node.value if type(slot) is int)

        def unpack(env: Env) -> None:
            bind(env, value(env))

        return unpack

    def _map_field(self, node: Node) -> MapHandle | None:
        """The handle of a subscripted storage map, if the tree says so."""
        handle = self.handles.get(str(node.value)) if node.kind == "field" else None
        return handle if type(handle) is MapHandle else None

    def _weave_set_item(self, node: Node) -> Statement:
        machine = self.machine
        container, index, value = self.expressions(node.children)
        handle = self._map_field(node.children[0])
        if handle is not None and handle.codec is not None:
            return make_entry_writer(handle, handle.codec, index, value)

        def set_in(env: Env) -> None:
            holder = container(env)
            position = index(env)
            set_item(machine, holder, position, value(env))

        return set_in

    def _weave_set_field(self, node: Node) -> Statement:
        write, key = self.codecs[str(node.value)].write, self.prefixes[str(node.value)]
        value = self.expression(node.children[0])

        def set_field(env: Env) -> None:
            write(key, value(env))

        return set_field

    def _weave_aug_local(self, node: Node) -> Statement:
        assert type(node.value) is tuple
        slot, symbol = node.value
        assert type(slot) is int
        combine = self.operation(str(symbol), Node("local", slot), node.children[0])
        self.assigned.add(slot)

        def augment(env: Env) -> None:
            env[slot] = combine(env)

        return augment

    def _weave_aug_item(self, node: Node) -> Statement:
        machine, combine = self.machine, BINARY[str(node.value)]
        container, index, operand = self.expressions(node.children)
        handle = self._map_field(node.children[0])
        codec = handle.codec if handle is not None else None
        if handle is not None and codec is not None:
            return make_entry_changer(handle, codec, index, str(node.value), operand)

        def augment(env: Env) -> None:
            holder = container(env)
            position = index(env)
            before = get_item(machine, holder, position)
            after = combine(machine, before, operand(env))
            if type(holder) is list and 0 <= position < len(holder):  # the operand may have made it shorter
                holder[position] = after
            else:
                set_item(machine, holder, position, after)

        return augment

    def _weave_aug_field(self, node: Node) -> Statement:
        assert type(node.value) is tuple
        name, symbol = node.value
        codec, key = self.codecs[str(name)], self.prefixes[str(name)]
        read, write = codec.read, codec.write
        machine, combine, operand = self.machine, BINARY[str(symbol)], self.expression(node.children[0])

        def augment(env: Env) -> None:
            before = read(key)
            write(key, combine(machine, before, operand(env)))

        return augment

    def _weave_del_item(self, node: Node) -> Statement:
        machine = self.machine
        container, index = self.expressions(node.children)

        def delete(env: Env) -> None:
            holder = container(env)
            delete_item(machine, holder, index(env))

        return delete

    def _weave_assert(self, node: Node) -> Statement:
        machine, refuse = self.machine, self.host["require"]
        condition, code = self.expressions(node.children)

        def check(env: Env) -> None:
            verdict = condition(env)
            if verdict is not True:
                refuse(machine, verdict, code(env))

        return check

    def _weave_pass(self, _node: Node) -> Statement:
        return lambda env: None

    def _weave_break(self, _node: Node) -> Statement:
        return lambda env: BREAK

    def _weave_continue(self, _node: Node) -> Statement:
        return lambda env: CONTINUE

    def _weave_return(self, node: Node) -> Statement:
        machine = self.machine
        if not node.children:
            return lambda env: RETURN
        value = self.expression(node.children[0])

        def leave(env: Env) -> Any:
            machine.result = value(env)
            return RETURN

        return leave

    # --- branches and loops ---

    def _weave_if(self, node: Node) -> Statement:
        """With all its `elif`: they stand in a row, so that a chain of two hundred nests no deeper than one."""
        before, after = set(self.assigned), []
        arms: list[tuple[int, Expression, Statement]] = []
        cost: int | None = 0  # of the first one its own run has paid
        while cost is not None:
            arms.append((cost, self.expression(node.children[0]), self.block(node.children[1])))
            after.append(self.assigned)
            self.assigned, last = set(before), node.children[2]
            cost = compute_elif_cost(last)
            node = last.children[0] if cost is not None else node
        otherwise = self.block(last)
        self.assigned.intersection_update(*after)
        return self._choose(arms, otherwise) if len(arms) > 1 else self._branch(arms[0][1], arms[0][2], otherwise)

    def _branch(self, test: Expression, then: Statement, otherwise: Statement) -> Statement:
        def branch(env: Env) -> Any:
            verdict = test(env)
            if verdict is True:
                return then(env)
            if verdict is False:
                return otherwise(env)
            raise Fault("TYPE")

        return branch

    def _choose(self, arms: list[tuple[int, Expression, Statement]], otherwise: Statement) -> Statement:
        machine = self.machine

        def choose(env: Env) -> Any:
            for cost, test, then in arms:
                machine.gas -= cost
                if machine.gas < 0:
                    raise OutOfGas
                verdict = test(env)
                if verdict is True:
                    return then(env)
                if verdict is not False:
                    raise Fault("TYPE")
            return otherwise(env)

        return choose

    def _weave_while(self, node: Node) -> Statement:
        machine, cost = self.machine, GAS.loop_step + compute_run_cost(node.children[0])
        test = self.expression(node.children[0])
        before = set(self.assigned)
        body = self.block(node.children[1])
        self.assigned = before

        def loop(env: Env) -> Any:
            while True:
                machine.gas -= cost
                if machine.gas < 0:
                    raise OutOfGas
                verdict = test(env)
                if verdict is False:
                    return None
                if verdict is not True:
                    raise Fault("TYPE")
                signal = body(env)
                if signal is not None and signal is not CONTINUE:
                    return None if signal is BREAK else signal

        return loop

    def _weave_for(self, node: Node) -> Statement:
        machine, iterated = self.machine, self.expression(node.children[0])
        assert type(node.value) is tuple
        bind = self.binder(node.value)
        before = set(self.assigned)
        self.assigned.update(slot for slot in node.value[1:] if type(slot) is int)
        body = self.block(node.children[1], surcharge=compute_step_cost(node.value))
        self.assigned = before
        slot = node.value[1]
        if not node.value[0] and type(slot) is int:
            return self._loop_over_one(iterated, slot, body)

        def loop(env: Env) -> Any:
            for item in iterate(machine, iterated(env)):
                bind(env, item)
                signal = body(env)
                if signal is not None and signal is not CONTINUE:
                    return None if signal is BREAK else signal
            return None

        return loop

    def _loop_over_one(self, iterated: Expression, slot: int, body: Statement) -> Statement:
        """The commonest loop: one variable."""
        machine = self.machine

        def loop(env: Env) -> Any:
            for item in iterate(machine, iterated(env)):
                env[slot] = item
                signal = body(env)
                if signal is not None and signal is not CONTINUE:
                    return None if signal is BREAK else signal
            return None

        return loop


def compute_elif_cost(block: Node) -> int | None:
    """The gas of the run that an `else` is, where it is one `if` and nothing else, as an `elif` is; else None."""
    if len(block.children) != 1 or block.children[0].kind != "if":
        return None
    return compute_run_cost(block.children[0])


def routine_name(function: Function) -> str:
    """Methods and helpers have name spaces of their own."""
    return function.name if function.kind == "helper" else f"self.{function.name}"
