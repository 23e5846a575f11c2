"""What one transfer costs a replica, step by step: CPU microseconds, and the same as a ratio to a reference primitive.

    make costs        (PYTHONPATH=tests python -m benchmarks.room_costs [--transfers 300] [--repeats 5])

Each figure is the minimum of several repeats of a whole block, divided by its transfers; CPU time of this process, so
that neighbours on the machine disturb it little. The reference is 1,000 SHA-256 of 256 bytes in the same run: compare
ratios between machines and commits, not microseconds. Ordering and links are not in here; a whole cluster is more.
"""

import argparse
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

from contracts.runtime import Runtime
from ledger.chain import LEDGER_TABLES, Chain
from ledger.encoding import encode
from ledger.execution import BlockOutcome, parse_block_outcome, parse_block_plan
from ledger.genesis import Genesis, GenesisContract, parse_genesis, write_genesis
from ledger.keys import SigningKey
from ledger.lmdb_store import LmdbStore
from ledger.transaction import SignedTransaction, Transaction, parse_transaction, sign_transaction, verify_transaction
from ledger.world_state import StateSnapshot
from pbft.simulation.founding import make_genesis

SOURCE = """
from contracts import Address, Contract, Map, ctx, external, init, require


class Token(Contract):
    balances: Map[Address, int]

    @init
    def setup(self, holders: list[Address]) -> None:
        for holder in holders:
            self.balances[holder] = 1_000_000

    @external
    def transfer(self, to: Address, amount: int) -> None:
        require(amount > 0, "BAD_AMOUNT")
        require(self.balances[ctx.sender] >= amount, "LOW_BALANCE")
        self.balances[ctx.sender] -= amount
        self.balances[to] += amount
"""
TRANSFER_GAS = 20_000


def reference_us() -> float:
    """1,000 SHA-256 of 256 bytes, the yardstick of all ratios."""
    data = bytes(256)
    return 1_000_000 * min(measure(lambda: [hashlib.sha256(data).digest() for _ in range(1_000)]) for _ in range(20))


def measure(work: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    start = process_time()
    work()
    return process_time() - start


def make_token_genesis(keys: list[SigningKey]) -> Genesis:
    """The simulated network's genesis with a token instead of its register."""
    base = make_genesis(4)
    holders = [{"hex": key.public_key.hex()} for key in keys]
    return parse_genesis(
        write_genesis(
            name=base.name,
            time_ms=base.time_ms,
            protocol=base.protocol,
            members=base.members,
            client_authorities=base.client_authorities,
            contracts=[GenesisContract(name="token", source=SOURCE, arguments=(holders,))],
        )
    )


def make_transfers(genesis: Genesis, keys: list[SigningKey], nonce: int) -> list[SignedTransaction]:
    """One transfer of each key to the next one."""
    return [
        sign_transaction(
            Transaction(
                network=genesis.network_id,
                sender=key.public_key,
                nonce=nonce,
                expiry_height=1_000,
                expiry_time=genesis.time_ms // 1000 + 3_600,
                gas_limit=TRANSFER_GAS,
                follows=None,
                contract="token",
                method="transfer",
                arguments=(keys[(place + 1) % len(keys)].public_key, 1),
                commitments=(),
            ),
            key,
        )
        for place, key in enumerate(keys)
    ]


def run_block(chain: Chain, store: LmdbStore, runtime: Runtime, raws: list[bytes], costs: dict[str, float]) -> None:
    """One block through every step of a replica; each step's CPU goes to `costs`."""
    parsed: list[SignedTransaction] = []
    outcomes: list[BlockOutcome] = []

    def step(name: str, work: Callable[[], object]) -> None:
        costs[name] = min(costs.get(name, float("inf")), measure(work))

    step("parse the transaction", lambda: parsed.extend(parse_transaction(raw) for raw in raws))
    step("check its signature", lambda: [verify_transaction(signed) for signed in parsed])
    planned = chain.plan(chain.height + 1, chain.head.time_ms + 1, parsed)
    step("plan the block", lambda: chain.plan(chain.height + 1, chain.head.time_ms + 1, parsed))
    plan_bytes = planned.plan.to_bytes()
    with StateSnapshot(store.snapshot()) as state:
        step("run it, metered", lambda: outcomes.append(runtime.execute_block(parse_block_plan(plan_bytes), state)))
    outcome_bytes = outcomes[0].to_bytes()
    step("read the worker's answer", lambda: parse_block_outcome(outcome_bytes))
    step("commit: receipts, state root, synced store", lambda: chain.commit(planned, outcomes[0]))
    assert all(call.status == "ok" for call in outcomes[0].calls), "a transfer failed"


def main(argv: list[str] | None = None) -> None:
    """Prints the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--transfers", type=int, default=300)
    options.add_argument("--repeats", type=int, default=5)
    arguments = options.parse_args(argv)
    keys = [SigningKey.from_seed(encode([b"bench", place]).ljust(32, b"\0")) for place in range(arguments.transfers)]
    genesis = make_token_genesis(keys)
    runtime = Runtime()
    yardstick = reference_us()
    costs: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = LmdbStore(Path(folder), tables=LEDGER_TABLES)
        chain = Chain.open(store, genesis)
        chain.create(runtime.execute_genesis(genesis.contracts, genesis.time_ms, genesis.network_id))
        for nonce in range(arguments.repeats):
            run_block(chain, store, runtime, [s.raw for s in make_transfers(genesis, keys, nonce)], costs)
        store.close()
    print(f"reference: 1,000 SHA-256 of 256 B take {yardstick:.0f} us; {arguments.transfers} transfers in a block\n")
    print(f"{'us':>8}  {'ratio':>7}  of one transfer")
    total = 0.0
    for name, seconds in costs.items():
        cost_us = 1_000_000 * seconds / arguments.transfers
        total += cost_us
        print(f"{cost_us:8.1f}  {cost_us / yardstick:7.4f}  {name}")
    print(f"{total:8.1f}  {total / yardstick:7.4f}  in all")


if __name__ == "__main__":
    main()
