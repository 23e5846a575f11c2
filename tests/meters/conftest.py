"""A bench for the meters room: the real contract engine over a dictionary, block by block, without a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from contracts.runtime import Runtime
from contracts.standard import genesis_contracts
from ledger.encoding import Value, decode, encode
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome
from ledger.keys import SigningKey

NETWORK = b"n" * 32
GENESIS_TIME_S = 1_700_000_000


@dataclass
class EngineBench:
    """Calls contracts of a fresh genesis in blocks of one; scheduled calls run at the start of each block."""

    founders: Sequence[SigningKey]
    time_s: int = GENESIS_TIME_S
    height: int = 0
    gas_max: dict[tuple[str, str], int] = field(default_factory=dict)  # the most that a method has used
    scheduled: list[CallOutcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runtime = Runtime()
        self._state: dict[bytes, bytes] = {}
        contracts = genesis_contracts([(f"coop-{n}", key.public_key) for n, key in enumerate(self.founders)])
        outcome = self.runtime.execute_genesis(contracts, self.time_s * 1000, NETWORK)
        assert all(call.status == "ok" for call in outcome.calls), [call.code for call in outcome.calls]
        self._apply(outcome)

    def get(self, key: bytes) -> bytes | None:
        return self._state.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted((key, value) for key, value in self._state.items() if key.startswith(prefix)))

    def call(
        self, sender: bytes, contract: str, method: str, *arguments: object, gas_limit: int = 5_000_000
    ) -> CallOutcome:
        """One call in a block of its own."""
        call = Call(
            tx_id=self.height.to_bytes(32, "big"),
            sender=sender,
            contract=contract,
            method=method,
            arguments=encode(list(arguments)),
            gas_limit=gas_limit,
        )
        (outcome,) = self._run((call,)).calls
        used = self.gas_max.get((contract, method), 0)
        self.gas_max[(contract, method)] = max(used, outcome.gas_used)
        return outcome

    def settle(self) -> None:
        """Empty blocks until no scheduled call runs any more."""
        while self._run(()).scheduled:
            pass

    def view(self, contract: str, method: str, *arguments: object) -> Value:
        """A view's value; fails the test where the view fails."""
        call = Call(
            tx_id=bytes(32),
            sender=bytes(32),
            contract=contract,
            method=method,
            arguments=encode(list(arguments)),
            gas_limit=5_000_000,
        )
        outcome = self.runtime.call_view(call, self, self.height, self.time_s * 1000, NETWORK)
        assert outcome.status == "ok", (contract, method, outcome.status, outcome.code)
        return decode(outcome.result)

    def _run(self, calls: tuple[Call, ...]) -> BlockOutcome:
        self.height += 1
        plan = BlockPlan(
            height=self.height,
            time_ms=self.time_s * 1000,
            network=NETWORK,
            epoch=0,
            window=64,
            calls=calls,
            transaction_gas_max=5_000_000,
            scheduled_gas_max=20_000_000,
        )
        outcome = self.runtime.execute_block(plan, self)
        self.scheduled += [each.outcome for each in outcome.scheduled]
        self._apply(outcome)
        return outcome

    def _apply(self, outcome: BlockOutcome) -> None:
        for key, value in outcome.writes:
            if value is None:
                self._state.pop(key, None)
            else:
                self._state[key] = value


@pytest.fixture
def founders() -> tuple[SigningKey, ...]:
    """Four operators."""
    return tuple(SigningKey.from_seed(bytes([number + 1]) * 32) for number in range(4))


@pytest.fixture
def engine(founders: tuple[SigningKey, ...]) -> EngineBench:
    """The standard contracts right after genesis."""
    return EngineBench(founders)
