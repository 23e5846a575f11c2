"""The readings workload of `gridquorum bench`: prepared by the standard rules, judged by the standard contract."""

from collections import Counter

import pytest

from contracts.runtime import Runtime
from ledger.encoding import decode, encode
from ledger.execution import BlockPlan, Call
from ledger.keys import SigningKey
from ledger.transaction import parse_transaction
from meters import bench
from meters.bench import ReadingsWorkload
from pbft.bench.options import BenchOptions
from pbft.bench.workload import Founders, Situation, find_workloads

NETWORK, TIME_S = bytes(range(32)), 1_790_000_000


class State:
    """The world state as a dictionary."""

    def __init__(self, writes: tuple[tuple[bytes, bytes | None], ...]) -> None:
        self.values: dict[bytes, bytes] = {}
        self.adopt(writes)

    def adopt(self, writes: tuple[tuple[bytes, bytes | None], ...]) -> None:
        for key, value in writes:
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def scan(self, prefix: bytes):  # type: ignore[no-untyped-def]
        return iter(sorted(item for item in self.values.items() if item[0].startswith(prefix)))


def run(runtime: Runtime, state: State, calls: list[Call]) -> list[object]:
    """A block of calls; their results, all of them successes."""
    limits = {"transaction_gas_max": 5_000_000, "scheduled_gas_max": 20_000_000}
    plan = BlockPlan(
        height=1, time_ms=TIME_S * 1_000, network=NETWORK, epoch=0, window=64, calls=tuple(calls), **limits
    )
    outcome = runtime.execute_block(plan, state)
    state.adopt(outcome.writes)
    assert [call.code for call in outcome.calls] == [""] * len(calls)
    return [decode(call.result) for call in outcome.calls]


def test_every_reading_of_a_bench_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two gateways for the test, two intervals each: all codes are `accepted`, within the gas that is asked for."""
    monkeypatch.setattr(bench, "GATEWAYS", 2)
    workload, operator, runtime = ReadingsWorkload(BenchOptions()), SigningKey.from_seed(bytes(32)), Runtime()
    contracts = workload.contracts([("a", operator.public_key)])
    state = State(runtime.execute_genesis(contracts, TIME_S * 1_000, NETWORK).writes)
    founders = Founders(operators=(operator,), genesis_time_s=TIME_S, network=NETWORK)
    nonces: Counter[bytes] = Counter()  # that the preparation uses of each signer
    for step in workload.preparation(founders):
        nonces.update(call.signer.public_key for call in step)
        run(
            runtime,
            state,
            [
                Call(
                    tx_id=bytes(32),
                    sender=call.signer.public_key,
                    contract=call.contract,
                    method=call.method,
                    arguments=encode(list(call.arguments)),
                    gas_limit=call.gas_limit,
                )
                for call in step
            ],
        )
    situation = Situation(network=NETWORK, height=1, time_s=TIME_S)
    for _ in range(4):
        signed = parse_transaction(workload.next_request(situation))
        assert signed.transaction.nonce == nonces[signed.transaction.sender], "each nonce once: a used one is skipped"
        nonces[signed.transaction.sender] += 1
        call = Call(
            tx_id=signed.tx_id,
            sender=signed.transaction.sender,
            contract="readings",
            method="submit",
            arguments=signed.encoded_arguments,
            gas_limit=signed.transaction.gas_limit,
        )
        assert run(runtime, state, [call]) == [["accepted"] * workload.units]


def test_bench_finds_the_workload() -> None:
    """By the entry point that this room adds."""
    assert find_workloads() == ("null", "transfer", "readings")
