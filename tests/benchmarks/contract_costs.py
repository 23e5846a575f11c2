"""What contracts cost beside plain Python doing the same: a transfer, an auction of 1,000 orders, a loop; in one run.

    make costs        (PYTHONPATH=tests python -m benchmarks.contract_costs [--repeats 15])

"Block" is a block of 1,000 transactions in this process, on a state in memory; "worker" is the same block in the
confined process of a replica, on a store, all of its processor time: parsing the plan, the calls, the answer. Each
figure is the least of the repeats, of processor time, so that neighbours disturb it little; the ratio is to the plain
Python beside it, measured in the same minute.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time_ns

from contracts.runtime import Runtime
from contracts.testing import Chain, MemoryState
from ledger.encoding import decode, encode
from ledger.execution import BlockPlan, Call, parse_block_outcome
from ledger.lmdb_store import LmdbStore
from ledger.store import Put
from ledger.world_state import GENERATIONS, STATE_TABLES

ORDERS = 1_000
TRANSFERS = 1_000
STEPS = 100_000
GAS = 10**9
SOURCE = b"""
from contracts import Address, Contract, Map, Struct, Vec, ctx, external, init, require


class Order(Struct):
    rank: int
    seq: int
    wh: int
    owner: Address


class Market(Contract):
    balances: Map[Address, int]
    bids: Map[int, Vec[Order]]
    asks: Map[int, Vec[Order]]

    @init
    def setup(self, holders: list[Address]) -> None:
        for holder in holders:
            self.balances[holder] = 1_000_000

    @external
    def transfer(self, to: Address, amount: int) -> None:
        mine = self.balances[ctx.sender]
        require(amount > 0 and mine >= amount, "LOW_BALANCE")
        self.balances[ctx.sender] = mine - amount
        self.balances[to] += amount

    @external
    def order(self, slot: int, is_bid: bool, rank: int, wh: int) -> None:
        book = self.bids[slot] if is_bid else self.asks[slot]
        book.append(Order(rank, len(book), wh, ctx.sender))

    @external
    def clear(self, slot: int) -> int:
        bids = sorted(list(self.bids[slot]))
        asks = sorted(list(self.asks[slot]))
        price, volume = clearing_point(bids, asks)
        for row in [bids, asks]:
            left = volume
            for order in row:
                fill = min(order.wh, left)
                left -= fill
                if fill > 0:
                    self.balances[order.owner] += fill
        return price

    @external
    def loop(self, steps: int) -> int:
        total = 0
        for step in range(steps):
            total += step
        return total


def clearing_point(bids: list[Order], asks: list[Order]) -> tuple[int, int]:
    i, j, volume, price = 0, 0, 0, 0
    left_bid = bids[0].wh
    left_ask = asks[0].wh
    while i < len(bids) and j < len(asks) and -bids[i].rank >= asks[j].rank:
        q = min(left_bid, left_ask)
        volume += q
        price = (-bids[i].rank + asks[j].rank) // 2
        left_bid -= q
        left_ask -= q
        if left_bid == 0:
            i += 1
            left_bid = bids[i].wh if i < len(bids) else 0
        if left_ask == 0:
            j += 1
            left_ask = asks[j].wh if j < len(asks) else 0
    return price, volume
"""
Order = tuple[int, int, int, bytes]


# --- the same in plain Python ---


def plain_transfers(balances: dict[bytes, int], accounts: list[bytes]) -> None:
    for place, sender in enumerate(accounts):
        plain_transfer(balances, sender, accounts[place - 1], 1)


def plain_transfer(balances: dict[bytes, int], sender: bytes, to: bytes, amount: int) -> None:
    mine = balances.get(sender, 0)
    if not (amount > 0 and mine >= amount):
        raise ValueError("LOW_BALANCE")
    balances[sender] = mine - amount
    balances[to] = balances.get(to, 0) + amount


def plain_clear(balances: dict[bytes, int], book: tuple[list[Order], list[Order]]) -> int:
    bids, asks = sorted(book[0]), sorted(book[1])
    price, volume = plain_clearing_point(bids, asks)
    for row in (bids, asks):
        left = volume
        for _, _, wh, owner in row:
            fill = min(wh, left)
            left -= fill
            if fill > 0:
                balances[owner] = balances.get(owner, 0) + fill
    return price


def plain_clearing_point(bids: list[Order], asks: list[Order]) -> tuple[int, int]:
    i, j, volume, price = 0, 0, 0, 0
    left_bid, left_ask = bids[0][2], asks[0][2]
    while i < len(bids) and j < len(asks) and -bids[i][0] >= asks[j][0]:
        q = min(left_bid, left_ask)
        volume += q
        price = (-bids[i][0] + asks[j][0]) // 2
        left_bid -= q
        left_ask -= q
        if left_bid == 0:
            i += 1
            left_bid = bids[i][2] if i < len(bids) else 0
        if left_ask == 0:
            j += 1
            left_ask = asks[j][2] if j < len(asks) else 0
    return price, volume


def plain_loop(steps: int) -> int:
    total = 0
    for step in range(steps):
        total += step
    return total


# --- the contract ---


def make_orders(accounts: list[bytes]) -> tuple[list[Order], list[Order]]:
    """Bids and asks that cross in the middle."""
    half = ORDERS // 2
    bids = [(-(500 + place * 7919 % 500), place, 10 + place % 7, accounts[place]) for place in range(half)]
    asks = [(500 + place * 7907 % 500, place, 10 + place % 5, accounts[half + place]) for place in range(half)]
    return bids, asks


def make_state(accounts: list[bytes]) -> MemoryState:
    """A market with balances and a full book."""
    chain = Chain()
    market = chain.deploy(SOURCE, accounts, name="market")
    bids, asks = make_orders(accounts)
    for is_bid, row in ((True, bids), (False, asks)):
        for rank, _, wh, owner in row:
            market.order(0, is_bid, rank, wh, sender=owner)
    return chain.state


def plan_of(*calls: tuple[bytes, str, list[object]]) -> BlockPlan:
    """A block of (sender, method, arguments)."""
    return BlockPlan(
        height=2,
        time_ms=5_000,
        network=bytes(32),
        epoch=0,
        window=64,
        calls=tuple(
            Call(
                tx_id=bytes(32),
                sender=sender,
                contract="market",
                method=method,
                arguments=encode(arguments),
                gas_limit=GAS,
            )
            for sender, method, arguments in calls
        ),
        transaction_gas_max=GAS,
        scheduled_gas_max=GAS,
    )


def least_us(repeats: int, work: Callable[[], object]) -> float:
    """Microseconds of processor time, the least of the repeats."""
    times = []
    for _ in range(repeats):
        start = process_time_ns()
        work()
        times.append(process_time_ns() - start)
    return min(times) / 1_000


class Worker:
    """The confined process of a replica, on a store with that state."""

    def __init__(self, state: MemoryState, folder: Path) -> None:
        self._store = LmdbStore(folder, tables=STATE_TABLES)
        self._store.write([Put(GENERATIONS[0].values, key, value) for key, value in sorted(state.items())])
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-m", "contracts.worker", str(theirs.fileno()), str(folder)]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._times = Path(f"/proc/{self._process.pid}/schedstat")

    def least_us(self, repeats: int, plan: BlockPlan) -> float:
        """Microseconds of the worker's own processor time for a block, the least of the repeats."""
        question = encode(["block", plan.to_bytes()])
        times = []
        for _ in range(repeats):
            start = self._used_ns()
            self._ask(question)
            times.append(self._used_ns() - start)
        return min(times) / 1_000

    def close(self) -> None:
        self._socket.close()
        self._process.wait(20)
        self._store.close()

    def _used_ns(self) -> int:
        return int(self._times.read_text(encoding="ascii").split()[0])

    def _ask(self, question: bytes) -> None:
        self._socket.sendall(len(question).to_bytes(4, "big") + question)
        size = int.from_bytes(self._take(4), "big")
        kind, data = decode(self._take(size))  # type: ignore[misc]
        assert kind == "ok", data
        assert all(call.status == "ok" for call in parse_block_outcome(data).calls)  # type: ignore[arg-type]

    def _take(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count > 0:
            part = self._socket.recv(count)
            assert part, "the worker ended"
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def main(argv: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats: int = parser.parse_args(argv).repeats
    accounts = [b"account".ljust(28, b"\0") + place.to_bytes(4, "big") for place in range(max(ORDERS, TRANSFERS))]
    state, runtime = make_state(accounts), Runtime()
    transfers = plan_of(*((sender, "transfer", [accounts[place - 1], 1]) for place, sender in enumerate(accounts)))
    auction, loop = plan_of((accounts[0], "clear", [0])), plan_of((accounts[0], "loop", [STEPS]))

    def run(plan: BlockPlan) -> None:
        outcome = runtime.execute_block(plan, state)
        assert all(call.status == "ok" for call in outcome.calls), outcome.calls[0]

    balances, book = dict.fromkeys(accounts, 1_000_000), make_orders(accounts)
    plain = (
        least_us(repeats, lambda: plain_transfers(balances, accounts)) / TRANSFERS,
        least_us(repeats, lambda: plain_clear(balances, book)),
        least_us(repeats, lambda: plain_loop(STEPS)),
    )
    in_block = (
        least_us(repeats, lambda: run(transfers)) / TRANSFERS,
        least_us(repeats, lambda: run(auction)),
        least_us(repeats, lambda: run(loop)),
    )
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(state, Path(folder))
        in_worker = (
            worker.least_us(repeats, transfers) / TRANSFERS,
            worker.least_us(repeats, auction),
            worker.least_us(repeats, loop),
        )
        worker.close()
    names = (
        f"a transfer, of {TRANSFERS:,} in a block",
        f"an auction of {ORDERS:,} orders",
        f"a loop of {STEPS:,} adds",
    )
    print(f"{'plain us':>10}  {'block us':>10}  {'ratio':>6}  {'worker us':>10}  {'ratio':>6}")
    for name, base, here, there in zip(names, plain, in_block, in_worker, strict=True):
        print(f"{base:10.2f}  {here:10.1f}  {here / base:6.1f}  {there:10.1f}  {there / base:6.1f}  {name}")


if __name__ == "__main__":
    main()
