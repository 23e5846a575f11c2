"""Random histories of batches: the contract, which judges columns, and the slow judge come to the same codes."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from readings_reference.slow_judge import Right, SlowJudge

from contracts.compiler import Weave, weave_contract
from contracts.walker import walk_contract
from ledger.encoding import decode
from meters.batch import Batch
from meters.reading import Reading

GRID, START, COUNT = 900, 1_470_009_600, 8
GATEWAYS = ("gateway-0", "gateway-1")
NETWORK = bytes(range(32))


def key_of(name: str) -> bytes:
    """As the fixtures have it."""
    return name.encode().ljust(32, b"\0")


class Histories:
    """Two gateways, whose meters change hands, and the same in the slow judge."""

    def __init__(self, network: Any, seed: int, scaler: int) -> None:
        self.random, self.scaler = random.Random(seed), scaler
        self.network = network
        self.network.time = START + GRID
        self.meters = [f"m{place}" for place in range(COUNT)]
        self.places: dict[str, tuple[str, int]] = {}
        for gateway, names in zip(GATEWAYS, (self.meters[:5], self.meters[5:]), strict=True):
            rows = [
                [
                    n,
                    f"h-{n}",
                    key_of(n),
                    "pv" if n == "m2" else "load",
                    scaler,
                    GRID,
                    3_000 + 1_000 * int(n[1]),
                    b"\1" * 32,
                ]
                for n in names
            ]
            self.network.ok("meters", "request", rows, sender=gateway)
            seen = [[n, key_of(gateway), key_of(n), 10_000, b"\2" * 32, START + 200 * GRID] for n in names]
            self.network.ok("meters", "certify", seen, sender="electrician")
            begin = [[n, "sunny", START + GRID * (n == "m4")] for n in names]
            self.network.ok("meters", "activate", begin, sender="operator")
        for name, place in zip(self.meters, self.network.view("meters", "places_of", self.meters), strict=True):
            self.places[name] = (place[0], place[1])
        terms = ["north", GRID, 2_000_000, key_of("supplier"), key_of("feed-in"), key_of("grid")]
        self.network.ok("communities", "found", "sunny", terms, sender="manager")
        homes = [[f"h-{n}", key_of(n), [] if n == "m2" else [n], [n] if n == "m2" else []] for n in self.meters]
        self.network.ok("communities", "join", "sunny", homes, sender="manager")
        self.network.ok("tariffs", "publish", "north", [[START, 1, 1, 1, 1, 1]], sender="regulator")
        shares = [[f"h-{n}", 0] for n in self.meters]
        self.network.ok("communities", "set_key", "sunny", "dynamic", START, shares, sender="manager")
        self.judge = SlowJudge(NETWORK)
        self.standing = dict.fromkeys(self.meters, (0, 10_000))  # sequence and register of an honest gateway
        self.sent: list[tuple[str, Batch]] = []
        self.last: dict[str, bytes] = {}

    def right(self, name: str) -> Right:
        fields = self.network.view("meters", "meter", name)
        names = ("status", "gateway", "home", "owner", "community", "kind", "scaler", "interval_s", "max_power_w")
        row = dict(zip((*names, "register", "active_from", "until", "cause"), fields, strict=True))
        return Right(**{key: row[key] for key in Right.__dataclass_fields__})

    def honest(self, name: str, start: int, previous: bytes) -> Reading:
        sequence, register = self.standing[name]
        unit = 10**self.scaler if self.scaler > 0 else 1
        wh = self.random.randint(0, 80) * unit
        step = wh // unit * 10 ** max(0, -self.scaler)
        self.standing[name] = (sequence + 1, register + step)
        is_pv = name == "m2"
        return Reading(
            chain=NETWORK, meter=name, sequence=sequence + 1, start=start, length_s=GRID, scaler=self.scaler,
            import_register=0 if is_pv else register + step, export_register=register + step if is_pv else 0,
            import_wh=0 if is_pv else wh, export_wh=wh if is_pv else 0, previous=previous,
        )  # fmt: skip

    def spoil(self, reading: Reading) -> Reading:
        draw = self.random.randint(0, 11)
        field_of = {"import": ("import_register", "import_wh"), "export": ("export_register", "export_wh")}
        register, wh = field_of["export" if reading.meter == "m2" else "import"]
        changes: dict[str, Any] = [
            {"sequence": reading.sequence + 1},
            {"sequence": max(1, reading.sequence - 1)},
            {register: max(0, getattr(reading, register) - 100)},
            {register: getattr(reading, register) + 1},
            {wh: getattr(reading, wh) + 1},
            {wh: -1},
            {"flags": 2},
            {"flags": 8},
            {"flags": 1},
            {"quality": "calculated"},
            {"export_register": 5, "import_register": 0, "export_wh": 0, "import_wh": 0},
            {wh: 3_000, register: getattr(reading, register) + 3_000},
        ][draw]
        return replace(reading, **changes)

    def send(self, gateway: str, batch: Batch) -> list[str]:
        """The codes of the contract and of the slow judge, place by place; both have to agree."""
        self.sent.append((gateway, batch))
        names = {place: name for name, place in self.places.items()}
        row = [names.get((batch.group, number), "nobody") for number in range(100)]
        expected: list[str] = []
        for reading in batch.readings(row):
            right = None if reading.meter == "nobody" else self.right(reading.meter)
            expected.append(self.judge.judge(reading, batch.digest, right, key_of(gateway), self.network.time))
        outcome = self.network.call("readings", "submit", [batch.to_list()], sender=gateway)
        assert outcome.status == "ok", outcome
        codes = list(decode(outcome.result))  # type: ignore[arg-type]
        said = [code for code, kind in zip(codes, batch.kinds, strict=True) if kind != "-"]
        assert said == expected, (
            batch,
            [(r.meter, self.judge.records.get(r.meter, [])[-2:]) for r in batch.readings(row)],
        )
        assert all(code == "" for code, kind in zip(codes, batch.kinds, strict=True) if kind == "-")
        return expected

    def turn(self, start: int, codes: set[str]) -> None:
        """One interval of every group: sent, withheld, spoiled, sent twice, or sent by the wrong one."""
        for name in self.meters:
            kind = self.random.random()
            if kind < 0.03:
                self.operate(name)
        gateways = {name: self.network.view("meters", "meter", name)[1] for name in self.meters}
        keys = {key_of(gateway): gateway for gateway in GATEWAYS}
        parts: dict[tuple[str, str], dict[int, Reading]] = {}
        for name in self.meters:
            group, number = self.places[name]
            reading = self.honest(name, start, self.last.get(group, b""))
            fate = self.random.random()
            if fate < 0.06:
                continue
            parts.setdefault((keys[gateways[name]], group), {})[number] = (
                self.spoil(reading) if fate > 0.92 else reading
            )
        for (gateway, group), readings in parts.items():
            batch = Batch.gather(group, readings)
            changed = self.random.random()
            if changed < 0.03:
                batch = replace(batch, length_s=self.random.choice([450, 1800]))
            elif changed < 0.06:
                batch = replace(batch, start=batch.start + self.random.choice([450, 100 * GRID, -70 * GRID]))
            elif changed < 0.08:
                batch = replace(batch, scaler=batch.scaler + 1)
            elif changed < 0.10:
                batch = replace(batch, chain=b"\7" * 32)
            elif changed < 0.14:
                batch = replace(batch, previous=b"\7" * 32)
            elif changed < 0.16:
                gateway = self.random.choice(GATEWAYS)
            if self.random.random() < 0.9:
                codes.update(self.send(gateway, batch))
            else:
                self.sent.append((gateway, batch))  # late: perhaps sent below
            self.last[group] = batch.digest
        if self.sent and self.random.random() < 0.3:
            gateway, batch = self.random.choice(self.sent[-12:])
            codes.update(self.send(gateway, batch))

    def operate(self, name: str) -> None:
        status = self.network.view("meters", "meter", name)[0]
        draw = self.random.random()
        if status == "SUSPENDED":
            self.network.ok("meters", "reinstate", name, sender="operator")
        elif status == "ACTIVE" and draw < 0.3:
            self.network.ok("meters", "suspend", name, "look", sender="operator")
        elif status == "ACTIVE" and draw < 0.35:
            self.network.ok("meters", "revoke", name, self.network.time - 3 * GRID, sender="operator")
        elif status != "REVOKED":
            self.network.ok("meters", "rebind", [name], key_of(self.random.choice(GATEWAYS)), sender="operator")

    def compare(self) -> None:
        """Every value that was accepted, and the newest record of each meter."""
        starts = sorted({r.reading.start for records in self.judge.records.values() for r in records})
        for start in starts:
            expected = [
                next((r.wh for r in self.judge.records.get(name, []) if r.reading.start == start), -1)
                for name in self.meters
            ]
            assert self.network.view("readings", "values", self.meters, start) == expected
        for name, records in self.judge.records.items():
            ordered = sorted(records, key=lambda record: record.reading.start)
            for before, record in zip([None, *ordered], ordered, strict=False):
                kept = self.network.view("readings", "reading", name, record.reading.start)
                reading = record.reading
                came = 0 if before is None else before.reading.start
                assert kept == [reading.start, reading.sequence, record.register_wh, record.wh, reading.digest, came]
            if ordered:
                assert self.network.view("readings", "last", name)[0] == ordered[-1].reading.start


def play(network: Any, seed: int, intervals: int) -> set[str]:
    """A history of that many intervals; the codes that came up in it."""
    history = Histories(network, seed, scaler=(0, 0, 0, 1, -1, 0)[seed])
    codes: set[str] = set()
    for interval in range(intervals):
        history.network.time = START + (interval + 2) * GRID
        history.turn(START + interval * GRID, codes)
    history.compare()
    return codes


@pytest.mark.parametrize("seed", range(6))
def test_the_contract_and_the_slow_judge_agree(network: Any, seed: int) -> None:
    """Late, twice, gaps, falling registers, tampered, suspended, revoked, changed hands, strangers."""
    assert {"accepted", "gap", "not_active"} <= play(network, seed, intervals=40)


def test_both_engines_come_to_the_same_state(make_network: Callable[[Weave], Any]) -> None:
    """The slow walker of the tree and the closures: the same codes, and the same gas of each transaction."""
    fast, slow = make_network(weave_contract), make_network(walk_contract)
    assert play(fast, seed=3, intervals=8) == play(slow, seed=3, intervals=8)
    assert slow.state == fast.state
    assert slow.gas == fast.gas
