"""Contracts in a test: the real runtime in this process, no node.

    chain = Chain()
    alice, bob = chain.accounts(2)
    token = chain.deploy("contracts/token.py", owner=alice, sender=alice)
    receipt = token.transfer(bob, 250, sender=alice)
    assert token.balance_of(bob) == 250 and receipt.events[-1].name == "Transfer" and receipt.gas < 3_000
    with chain.reverts("LOW_BALANCE"):
        token.transfer(bob, 10_000, sender=alice)
    assert receipt.event("Transfer", to=bob).fields["amount"] == 250
    chain.advance(3_600)                       # an empty block an hour later: what is due runs
    with chain.snapshot(), chain.gas_within(10_000):   # undone afterwards; all calls inside cost at most that
        token.transfer(bob, 1, sender=alice)
    chain.grant(alice, "operator")             # for methods marked @role

Each call is a block of its own. Every `@invariant` of every deployed contract is checked after each block. In pytest
the fixture `chain` is a new `Chain` (`pytest_plugin.py`); random calls: `state_machine.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from contracts.client_stub import default_name
from contracts.code import MEMBERS_CONTRACT
from contracts.compiler import compile_source
from contracts.runtime import Runtime
from contracts.tree import Function, Tree
from ledger.encoding import Value, decode, encode
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome, ScheduledOutcome, contract_address

GENESIS_TIME: Final = 1_750_000_000
"""Seconds: a fixed date, so that tests do not depend on the day they run."""
GAS_LIMIT: Final = 5_000_000
"""The network's limit of one transaction."""
WINDOW: Final = 64
"""Heights after which a decided change of configuration ends the epoch; a test that goes on sets `epoch` itself."""
_MEMBERS_STUB: Final = b"""
from contracts import Address, Contract, Map, external, view


class Members(Contract):
    roles: Map[tuple[Address, str], bool]

    @external
    def grant(self, who: Address, name: str) -> None:
        self.roles[(who, name)] = True

    @view
    def has_role(self, who: Address, name: str) -> bool:
        return self.roles[(who, name)]
"""
"""Stands for the contract `members` where a test deploys none."""


class CallFailedError(AssertionError):
    """A call that should have worked did not; `status` and `code` are those of the receipt."""

    def __init__(self, where: str, outcome: CallOutcome) -> None:
        super().__init__(f"{where}: {outcome.status} {outcome.code}")
        self.status = outcome.status
        self.code = outcome.code
        self.gas = outcome.gas_used


@dataclass(frozen=True, slots=True)
class EmittedEvent:
    """An event of a receipt."""

    contract: str
    name: str
    fields: dict[str, Value]


@dataclass(frozen=True, slots=True)
class CallReceipt:
    """What a call that worked gives."""

    result: Any
    """Plain values; structs are lists of their fields."""
    gas: int
    events: list[EmittedEvent]

    def event(self, name: str, **fields: Any) -> EmittedEvent:
        """The one event of that name with these values among its fields. Raises AssertionError."""
        wanted = {field: _plain(value) for field, value in fields.items()}
        found = [event for event in self.events if event.name == name and wanted.items() <= event.fields.items()]
        if len(found) != 1:
            there = ", ".join(f"{event.name}({event.fields})" for event in self.events) or "no event"
            raise AssertionError(f"{len(found)} events {name}({wanted}), not 1; there is {there}")
        return found[0]


class MemoryState(dict[bytes, bytes]):
    """The world state as a dictionary; a `ledger.execution.StateReader`."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) whose key starts with the prefix, keys ascending."""
        return iter(sorted((key, value) for key, value in self.items() if key.startswith(prefix)))


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    source: str
    arguments: tuple[object, ...]

    def encoded_arguments(self) -> bytes:
        return encode(list(self.arguments))


class Deployed:
    """A contract on a chain: its methods are callable; views return their value, others a `CallReceipt`."""

    def __init__(self, chain: "Chain", name: str, tree: Tree) -> None:
        self.chain = chain
        self.name = name
        self.tree = tree
        self.address = contract_address(name)
        self.functions = {function.name: function for function in tree.functions if function.kind != "helper"}

    def __getattr__(self, method: str) -> Any:
        function = self.functions.get(method)
        if function is None or function.kind == "internal":
            raise AttributeError(f"the contract {self.name} has no method {method!r} to call")
        if function.kind in {"view", "invariant"}:
            return lambda *arguments, sender=bytes(32): self.chain.view(self, method, *arguments, sender=sender)
        return lambda *arguments, sender, gas=GAS_LIMIT: self.chain.call(
            self, method, *arguments, sender=sender, gas=gas
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deployed) and other.chain is self.chain and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Chain:
    """Blocks in memory, one per call."""

    watchers: ClassVar[list[Callable[[Deployed, str, CallOutcome], None]]] = []
    """Told of every transaction on any chain: contract, method, outcome. What `--gas-report` measures with."""

    def __init__(self, *, time: int = GENESIS_TIME, network: bytes = bytes(32)) -> None:
        self.runtime = Runtime()
        self.state = MemoryState()
        self.time = time
        self.height = 0
        self.network = network
        self.epoch = 0
        self.next_due: int | None = None
        self.contracts: dict[str, Deployed] = {}
        self.scheduled: list[ScheduledOutcome] = []
        """Outcomes of scheduled calls, in the order in which they ran."""
        self.gas_used = 0
        """Of all transactions so far."""
        self._accounts = 0
        self._transactions = 0

    def accounts(self, count: int) -> list[bytes]:
        """New addresses, never given before on this chain."""
        first, self._accounts = self._accounts + 1, self._accounts + count
        return [b"account-%024d" % number for number in range(first, first + count)]

    # --- deploy ---

    def deploy(
        self, source: str | Path | bytes, *positional: Any, name: str = "", sender: bytes = bytes(32), **keyword: Any
    ) -> Deployed:
        """Deploy a file (a path) or a source (bytes) and run its @init. Raises ContractRefused or CallFailedError.

        The init's arguments come by position or by name; a `Deployed` stands for its address."""
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        tree = compile_source(data)
        name = name or default_name(tree.name)
        contract = _source_of(name, data, tree, "init", positional, keyword)
        outcome = self.runtime.deploy(contract, sender, self.state, self.height, self.time * 1_000, self.network)
        for call in outcome.calls:
            if call.status != "ok":
                raise CallFailedError(f"deploy of {name}", call)
        self._apply(outcome)
        self.contracts[name] = deployed = Deployed(self, name, tree)
        return deployed

    def upgrade(
        self, old: Deployed, source: str | Path | bytes, *positional: Any, sender: bytes = bytes(32), **keyword: Any
    ) -> Deployed:
        """Let a contract go on with other code, and run its @migrate with these arguments. What is stored stays.

        Raises ContractRefused, or CallFailedError: `LAYOUT` where a field of storage would be lost. Who may do so on a
        network is the contract `code`'s to say."""
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        tree = compile_source(data)
        contract = _source_of(old.name, data, tree, "migrate", positional, keyword)
        outcome = self.runtime.upgrade(contract, sender, self.state, self.height, self.time * 1_000, self.network)
        for call in outcome.calls:
            if call.status != "ok":
                raise CallFailedError(f"upgrade of {old.name}", call)
        self._apply(outcome)
        self.contracts[old.name] = upgraded = Deployed(self, old.name, tree)
        self.check_invariants()
        return upgraded

    def grant(self, account: bytes, role: str) -> None:
        """Give a role. Only where the test's `members` is the stub, which is deployed at first use."""
        if MEMBERS_CONTRACT not in self.contracts:
            self.deploy(_MEMBERS_STUB, name=MEMBERS_CONTRACT)
        self.call(self.contracts[MEMBERS_CONTRACT], "grant", account, role, sender=account)

    # --- calls ---

    def attempt(
        self,
        contract: Deployed,
        method: str,
        *arguments: Any,
        sender: bytes,
        gas: int = GAS_LIMIT,
        private: Sequence[Any] = (),
    ) -> CallOutcome:
        """One transaction in a block of its own, with `private` values beside it: its outcome, whatever it is."""
        call = self._call(contract, method, arguments, sender, gas)
        outcome = self._block(call._replace(private_values=tuple(encode(value) for value in private)))[0]
        self.gas_used += outcome.gas_used
        for watcher in self.watchers:
            watcher(contract, method, outcome)
        return outcome

    def call(
        self,
        contract: Deployed,
        method: str,
        *arguments: Any,
        sender: bytes,
        gas: int = GAS_LIMIT,
        private: Sequence[Any] = (),
    ) -> CallReceipt:
        """One transaction that must work. Raises CallFailedError."""
        outcome = self.attempt(contract, method, *arguments, sender=sender, gas=gas, private=private)
        if outcome.status != "ok":
            raise CallFailedError(f"{contract.name}.{method}", outcome)
        events = [EmittedEvent(event.contract, event.name, event.values) for event in outcome.events]
        return CallReceipt(decode(outcome.result), outcome.gas_used, events)

    def view(self, contract: Deployed, method: str, *arguments: Any, sender: bytes = bytes(32)) -> Any:
        """The value of a view. Raises CallFailedError."""
        call = self._call(contract, method, arguments, sender, GAS_LIMIT)
        outcome = self.runtime.call_view(call, self.state, self.height, self.time * 1_000, self.network)
        if outcome.status != "ok":
            raise CallFailedError(f"{contract.name}.{method}", outcome)
        return decode(outcome.result)

    @contextmanager
    def reverts(self, code: str) -> Iterator[None]:
        """The call inside must fail with this code."""
        try:
            yield
        except CallFailedError as failure:
            if failure.code != code:
                raise
            return
        raise AssertionError(f"nothing failed with {code}")

    @contextmanager
    def gas_within(self, limit: int) -> Iterator[None]:
        """The transactions inside cost at most `limit` gas together. Raises AssertionError."""
        before = self.gas_used
        yield
        used = self.gas_used - before
        if used > limit:
            raise AssertionError(f"{used} gas, more than {limit}")

    def advance(self, seconds: int) -> list[ScheduledOutcome]:
        """An empty block that much later: the outcomes of what was due."""
        return self.at(time=self.time + seconds)

    def at(self, *, time: int, blocks: int = 1) -> list[ScheduledOutcome]:
        """Empty blocks at that time (seconds), never back: the outcomes of what was due."""
        if time < self.time:
            raise ValueError(f"time only goes forward: it is {self.time}")
        self.time = time
        before = len(self.scheduled)
        for _ in range(blocks):
            self._block()
        return self.scheduled[before:]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What happens inside is undone."""
        state, contracts, scheduled = MemoryState(self.state), dict(self.contracts), list(self.scheduled)
        kept = (self.time, self.height, self.epoch, self.next_due, self.gas_used)
        try:
            yield
        finally:
            self.state, self.contracts, self.scheduled = state, contracts, scheduled
            self.time, self.height, self.epoch, self.next_due, self.gas_used = kept

    def fork(self) -> "Chain":
        """Another chain that goes on from here by itself, with the same contracts by name; this one stays."""
        other = Chain(time=self.time, network=self.network)
        other.runtime = self.runtime  # between blocks it holds nothing but woven contracts
        other.state, other.scheduled = MemoryState(self.state), list(self.scheduled)
        other.height, other.epoch, other.next_due = self.height, self.epoch, self.next_due
        other.gas_used, other._accounts, other._transactions = self.gas_used, self._accounts, self._transactions
        other.contracts = {name: Deployed(other, name, contract.tree) for name, contract in self.contracts.items()}
        return other

    def check_invariants(self) -> None:
        """Every @invariant of every contract holds. Runs after each block by itself."""
        for contract in self.contracts.values():
            for function in contract.functions.values():
                if function.kind == "invariant" and self.view(contract, function.name) is not True:
                    raise AssertionError(f"the invariant {contract.name}.{function.name} does not hold")

    def _call(self, contract: Deployed, method: str, arguments: tuple[Any, ...], sender: bytes, gas: int) -> Call:
        self._transactions += 1
        return Call(
            tx_id=self._transactions.to_bytes(32, "big"),
            sender=sender,
            contract=contract.name,
            method=method,
            arguments=encode([_plain(argument) for argument in arguments]),
            gas_limit=gas,
        )

    def _block(self, *calls: Call) -> tuple[CallOutcome, ...]:
        self.height += 1
        plan = BlockPlan(
            height=self.height,
            time_ms=self.time * 1_000,
            network=self.network,
            epoch=self.epoch,
            window=WINDOW,
            calls=calls,
            transaction_gas_max=GAS_LIMIT,
            scheduled_gas_max=4 * GAS_LIMIT,
        )
        outcome = self.runtime.execute_block(plan, self.state)
        self._apply(outcome)
        self.check_invariants()
        return outcome.calls

    def _apply(self, outcome: BlockOutcome) -> None:
        for key, value in outcome.writes:
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        self.next_due = outcome.next_due
        self.scheduled += outcome.scheduled


def _plain(value: Any) -> Any:
    """An argument as canonical values: contracts are their addresses."""
    if isinstance(value, Deployed):
        return value.address
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _source_of(
    name: str, data: bytes, tree: Tree, kind: str, positional: tuple[Any, ...], keyword: dict[str, Any]
) -> _Source:
    """What a contract is deployed or upgraded with: its source, and the arguments of its @init or @migrate."""
    first = next((function for function in tree.functions if function.kind == kind), None)
    arguments = _bind(first, kind, positional, keyword)
    return _Source(name, data.decode(), tuple(_plain(argument) for argument in arguments))


def _bind(function: Function | None, kind: str, positional: tuple[Any, ...], keyword: dict[str, Any]) -> list[Any]:
    names = [parameter.name for parameter in function.parameters] if function is not None else []
    arguments = [*positional, *(keyword.pop(name) for name in names[len(positional) :] if name in keyword)]
    if keyword or len(arguments) > len(names):
        raise TypeError(f"@{kind} takes {names}")
    return arguments
