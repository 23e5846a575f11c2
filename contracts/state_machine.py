"""Random calls of a contract, for tests: a hypothesis state machine made from its ABI.

    class TestToken(contract_machine("token.py", arguments={"amount": st.integers(0, 100)}).TestCase):
        settings = settings(max_examples=50, deadline=None)

Each step is a transaction: any @external method, any of a few accounts as its sender, arguments by their hints. Or time
passes, and what is due runs. A call may fail with a code; a broken `@invariant` of any deployed contract fails the
test, and so does `INTERNAL`; hypothesis then shows the shortest row of calls that it finds. A subclass of the machine
may add invariants and rules of its own; it finds `chain`, `contract` and `accounts` on itself.

Needs hypothesis, which a node does not have: only tests import this.
"""

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from contracts.hints import Hint
from contracts.testing import Chain, Deployed
from contracts.tree import Function, Record

Strategy: TypeAlias = st.SearchStrategy[Any]
Deploy: TypeAlias = Callable[[Chain, list[bytes]], Deployed]
"""Deploys the contract, and whatever it needs, on a new chain with these accounts. Once: each run starts from there."""

SECONDS_MAX: Final = 7 * 86_400
"""Time passes by at most this at a step, unless the test says otherwise."""
ITEMS_MAX: Final = 4
"""Of a drawn list, dict or text."""
_INTEGERS: Final = st.one_of(
    st.integers(-2, 20), st.integers(0, 10**6), st.sampled_from([2**63, 2**255 - 1, -(2**255)])
)


class ContractMachine(RuleBasedStateMachine):
    """Base of the machines; `contract_machine` adds a rule for each method."""

    deployed: ClassVar[Deployed]
    accounts: ClassVar[list[bytes]]

    def __init__(self) -> None:
        super().__init__()
        self.chain = self.deployed.chain.fork()
        self.contract = self.chain.contracts[self.deployed.name]

    def call(self, method: str, sender: bytes, arguments: list[Any]) -> None:
        """One transaction; the chain checks every invariant after it."""
        outcome = self.chain.attempt(self.contract, method, *arguments, sender=sender)
        self._note(method, outcome.status, outcome.code)

    def pass_time(self, seconds: int) -> None:
        """An empty block later, and the scheduled calls that were due."""
        for outcome in self.chain.advance(seconds):
            self._note("scheduled", outcome.outcome.status, outcome.outcome.code)

    def _note(self, method: str, status: str, code: str) -> None:
        event(f"{method}: {status} {code}".rstrip())
        assert code != "INTERNAL", f"{method} met a bug of the engine"


def contract_machine(
    deploy: str | Path | Deploy,
    *,
    arguments: Mapping[str, Strategy] | None = None,
    accounts: int = 3,
    seconds: int = SECONDS_MAX,
) -> type[ContractMachine]:
    """The state machine of a contract: a file without arguments of @init, or a function that deploys it.

    `arguments` says what to draw instead of any value of a type: by parameter ("amount") or for one method only
    ("transfer.amount"). Addresses are the accounts. Raises ValueError where the contract has no @external method or
    an argument's name fits no parameter.
    """
    deployer = deploy if callable(deploy) else _deployer_of(Path(deploy))
    chain = Chain()
    known = chain.accounts(accounts)
    contract = deployer(chain, known)
    methods = [function for function in contract.functions.values() if function.kind == "external"]
    if not methods:
        raise ValueError(f"{contract.name} has no @external method to call")
    given = dict(arguments or {})
    places = {name for method in methods for each in method.parameters for name in _names(method, each.name)}
    if given.keys() - places:
        raise ValueError(f"no @external method takes {sorted(given.keys() - places)}")
    structs = {struct.name: struct for struct in contract.tree.structs}
    drawn = {
        f"call_{method.name}": _make_rule(method, known, _strategies_of(method, given, known, structs))
        for method in methods
    }
    drawn["time_passes"] = rule(seconds=st.integers(1, seconds))(time_passes)
    names = {"deployed": contract, "accounts": known, "__doc__": f"Random calls of {contract.name}."}
    return types.new_class(
        f"{contract.tree.name}Machine", (ContractMachine,), exec_body=lambda body: body.update(names | drawn)
    )


def draw_values(hint: Hint, accounts: list[bytes], structs: Mapping[str, Record]) -> Strategy:
    """A strategy for plain values of a type: what a transaction can pass where it is declared."""
    if hint.kind == "struct":
        return _rows([field.hint for field in structs[hint.name].fields], accounts, structs)
    if hint.kind == "tuple":
        return _rows(list(hint.arguments), accounts, structs)
    parts = [draw_values(part, accounts, structs) for part in hint.arguments]
    if hint.kind == "optional":
        return st.none() | parts[0]
    if hint.kind == "list":
        return st.lists(parts[0], max_size=ITEMS_MAX)
    if hint.kind == "dict":
        return st.dictionaries(parts[0], parts[1], max_size=ITEMS_MAX)
    plain: dict[str, Strategy] = {
        "int": _INTEGERS,
        "bool": st.booleans(),
        "str": st.text(max_size=ITEMS_MAX),
        "bytes": st.binary(max_size=ITEMS_MAX),
        "address": st.sampled_from(accounts),
        "none": st.none(),
    }
    return plain[hint.kind]


def _rows(hints: list[Hint], accounts: list[bytes], structs: Mapping[str, Record]) -> Strategy:
    return st.tuples(*(draw_values(hint, accounts, structs) for hint in hints)).map(list)


def _strategies_of(
    method: Function, given: Mapping[str, Strategy], accounts: list[bytes], structs: Mapping[str, Record]
) -> dict[str, Strategy]:
    strategies = {}
    for parameter in method.parameters:
        own = [given[name] for name in _names(method, parameter.name) if name in given]
        strategies[parameter.name] = own[0] if own else draw_values(parameter.hint, accounts, structs)
    return strategies


def _names(method: Function, parameter: str) -> tuple[str, str]:
    """How a test may name a parameter, the closer name first."""
    return f"{method.name}.{parameter}", parameter


def _make_rule(method: Function, accounts: list[bytes], strategies: Mapping[str, Strategy]) -> Any:
    """A rule whose failing example reads `state.call_transfer(sender=..., arguments={"to": ..., "amount": ...})`."""

    def step(self: ContractMachine, sender: bytes, arguments: dict[str, Any]) -> None:
        self.call(method.name, sender, [arguments[parameter.name] for parameter in method.parameters])

    step.__name__ = step.__qualname__ = f"call_{method.name}"
    return rule(sender=st.sampled_from(accounts), arguments=st.fixed_dictionaries(dict(strategies)))(step)


def time_passes(self: ContractMachine, seconds: int) -> None:
    """The rule's body; hypothesis shows its name."""
    self.pass_time(seconds)


def _deployer_of(path: Path) -> Deploy:
    return lambda chain, _accounts: chain.deploy(path)
