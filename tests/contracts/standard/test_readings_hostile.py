"""Hostile histories: columns of any content, several batches a call, settlement on time, and the money at the end.

Beside `test_readings_reference.py`, which spoils readings that a gateway could sign, these spoil the columns themselves
and what a batch says once, within what the engine decodes. Two communities share groups; three gateways hold and steal
meters; late ones come up to the edge of what is still taken; intervals close while others are open.
"""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from readings_reference.slow_judge import Right, SlowJudge

from meters.batch import CALCULATED, EXPORT, IMPORT, NOTHING, Batch
from meters.reading import QUALITIES, Reading, ReadingError

GRID, START, INTERVALS = 900, 1_470_009_600, 400
GATEWAYS = ("gateway-0", "gateway-1", "gateway-2")
NETWORK = bytes(range(32))
METERS = tuple(f"m{place}" for place in range(10))
HOME_GATEWAY = {name: GATEWAYS[place >= 6] for place, name in enumerate(METERS)}  # so two groups, m0's and m6's
ZONES = {"sunny": "north", "cloudy": "south"}
KIND = {name: "pv" if name in ("m2", "m7") else "load" for name in METERS}
FIELDS = "version chain group first start length_s scaler firmware previous kinds sequences registers energies states"
INDEX = {name: index for index, name in enumerate(FIELDS.split())}
HUGE = 10**18
USABLE = ("accepted", "gap", "out_of_order")


def key_of(name: str) -> bytes:
    """As the fixtures have it."""
    return name.encode().ljust(32, b"\0")


class Hostile:
    """One network, the slow judge beside it, and what honest meters would say of every interval."""

    def __init__(self, network: Any, seed: int) -> None:
        self.random = draw = random.Random(seed)
        self.network, self.judge = network, SlowJudge(NETWORK)
        self.network.time = START + GRID
        self.scaler = draw.choice([0, 0, 0, -1, 1, 2, 3, -4])
        self.unit = 10 ** max(0, self.scaler)
        self.commissioned = draw.choice([0, 10_000])
        cloudy = draw.choice([("m3", "m8"), ("m8",), ("m0", "m9"), ("m5", "m9")])
        self.community = {name: "cloudy" if name in cloudy else "sunny" for name in METERS}
        self.begins = {name: draw.choice([0, 0, 0, 1, 3]) for name in METERS}
        self.ends = {name: draw.choice([30, 100, INTERVALS, INTERVALS]) for name in METERS}
        self.energies = {name: [draw.randint(0, 60) * self.unit for _ in range(INTERVALS + 2)] for name in METERS}
        self.places = {name: self.request(name) for name in METERS}
        self.later = {name for name in ("m5", "m6") if draw.random() < 0.5}  # come while others report
        for name in METERS:
            if name not in self.later:
                self.activate(name)
        self.seated: list[tuple[str, str]] = [pair for community in ZONES for pair in self.found(community)]
        self.evil = draw.choice([0.0, 0.02, 0.02, 0.05, 0.2])
        self.firmware = bytes(32)
        self.now = 0  # the interval that ends about now
        self.newest: dict[str, int] = {}  # interval sent, by group
        self.batches: dict[tuple[str, int], list[bytes]] = {}  # digests by group and interval
        self.sent: list[list[Any]] = []
        self.usable: Counter[tuple[str, int]] = Counter()  # by community and start
        self.codes: Counter[str] = Counter()

    def request(self, name: str) -> tuple[str, int]:
        power = self.random.choice([3_000, 40_000]) * (100 if self.scaler == 3 else 1)
        row = [name, f"h-{name}", key_of(name), KIND[name], self.scaler, GRID, power, b"\1" * 32]
        self.network.ok("meters", "request", [row], sender=HOME_GATEWAY[name])
        ((group, number),) = self.network.view("meters", "places_of", [name])
        return group, number

    def activate(self, name: str) -> None:
        gateway, until = self.network.view("meters", "meter", name)[1], START + GRID * self.ends[name]
        seen = [name, gateway, key_of(name), self.commissioned, b"\2" * 32, until]
        self.network.ok("meters", "certify", [seen], sender="electrician")
        begins = START + GRID * self.begins[name]
        self.network.ok("meters", "activate", [[name, self.community[name], begins]], sender="operator")

    def found(self, community: str) -> list[tuple[str, str]]:
        """A community with all of its meters but those that come later; (community, meter) of each."""
        wait = self.random.choice([0, GRID, 5 * GRID, 2_000_000])
        terms = [ZONES[community], GRID, wait, key_of("supplier"), key_of("feed-in"), key_of("grid")]
        self.network.ok("communities", "found", community, terms, sender="manager")
        mine = [name for name in METERS if self.community[name] == community and name not in self.later]
        homes = [[f"h-{n}", key_of(n), *([[n], []] if KIND[n] == "load" else [[], [n]])] for n in mine]
        self.network.ok("communities", "join", community, homes, sender="manager")
        priced = START + GRID * self.random.choice([0, 0, 2])
        self.network.ok("tariffs", "publish", ZONES[community], [[priced, 1, 1, 1, 1, 1]], sender="regulator")
        shares = [[f"h-{name}", 0] for name in mine]
        self.network.ok("communities", "set_key", community, "dynamic", START, shares, sender="manager")
        return [(community, name) for name in mine]

    def right(self, name: str) -> Right:
        fields = self.network.view("meters", "meter", name)
        names = (
            "status gateway home owner community kind scaler interval_s max_power_w register active_from until cause"
        )
        row = dict(zip(names.split(), fields, strict=True))
        return Right(**{key: row[key] for key in Right.__dataclass_fields__})

    def truth(self, name: str, interval: int) -> tuple[int, int, int]:
        """Sequence, register and energy of the meter's record, if it never stopped."""
        counted = sum(self.energies[name][self.begins[name] : interval + 1])
        register = self.commissioned + counted // self.unit * 10 ** max(0, -self.scaler)
        return interval - self.begins[name] + 1, register, self.energies[name][interval]

    def place(self, name: str, interval: int) -> list[Any]:
        """Letter, sequence, register, energy and state of a place, spoiled or not."""
        sequence, register, wh = self.truth(name, interval)
        said = [EXPORT if KIND[name] == "pv" else IMPORT, sequence, register, wh, 0]
        if self.random.random() >= self.evil:
            return said
        letter, more = said[0], self.random.choice([500, 1_100, 100_000])
        spoiled: list[list[Any]] = [
            [letter, sequence + self.random.choice([1, -1, 2, -sequence, 2**63, -HUGE]), register, wh, 0],
            [letter, sequence, register + self.random.choice([1, -1, -100, HUGE, -HUGE]), wh, 0],
            [letter, sequence, register, self.random.choice([wh + 1, wh - 1, 0, -1, HUGE, -HUGE]), 0],
            [letter, sequence, register + more, wh + more, 0],
            [self.random.choice([IMPORT, EXPORT, NOTHING, "I", "é"]), sequence, register, wh, 0],
            [letter, sequence, register, wh, self.random.choice([1, 2, 8, 16, CALCULATED, 50, 64, 255])],
            [EXPORT if letter == IMPORT else IMPORT, sequence, 0, 0, 0],
            [letter, *self.truth(name, max(0, interval - 1)), 0],
            [letter, *self.truth(name, interval + 1), 0],
            [NOTHING, *self.random.choice([(1, 0, 0), (0, 7, 0), (0, 0, -5)]), 0],
            [NOTHING, 0, 0, 0, self.random.choice([1, 64])],
        ]
        return self.random.choice(spoiled)

    def make(self, group: str) -> list[Any]:
        """A batch as a list, of some places of a group, for an interval up to 70 back."""
        draw = self.random
        names = {number: name for name, (of, number) in self.places.items() if of == group}
        back = draw.choice([0] * 8 + [1, 2, 3, 63, 64, 65, draw.randint(0, 70)])
        following = min(self.now, self.newest.get(group, -1) + 1)  # so that most of them join
        interval = following if draw.random() < 0.6 else max(0, self.now - back)
        self.newest[group] = max(interval, self.newest.get(group, 0))
        first = 0 if draw.random() < 0.7 else draw.randrange(len(names))
        last = len(names) if first == 0 else draw.randint(first + 1, len(names) + 1)
        silent = draw.choice([0, 0, 0, 0, 0, 0.2, 0.6])
        rows = [
            [NOTHING, 0, 0, 0, 0]
            if number not in names or draw.random() < silent
            else self.place(names[number], interval)
            for number in range(first, last)
        ]
        kinds, sequences, registers, energies, states = ([*column] for column in zip(*rows, strict=True))
        digests = self.batches.get((group, interval - 1), [b""])
        joined = [
            record.batch
            for number in range(first, last)
            for record in self.judge.records.get(names.get(number, ""), [])[-2:]
            if record.reading.start == START + (interval - 1) * GRID
        ]
        previous = draw.choice(joined if joined and draw.random() < 0.9 else [*digests, b"", b"\7" * 32])
        batch: list[Any] = [
            1, NETWORK, group, first, START + interval * GRID, GRID, self.scaler, self.firmware,
            previous, "".join(kinds), sequences, registers, energies,
            bytes(states) if any(states) or draw.random() < 0.05 else b"",
        ]  # fmt: skip
        if draw.random() < self.evil:
            self.spoil(batch)
        self.batches.setdefault((group, interval), []).append(digest_of(batch))
        return batch

    def spoil(self, batch: list[Any]) -> None:
        """Another value of a field that all readings share."""
        start = batch[INDEX["start"]]
        values: dict[str, list[Any]] = {
            "version": [0, 2],
            "chain": [b"", b"\7" * 32],
            "group": ["m6", "m0", "m1", "", "nobody", "m0\0"],
            "first": [100 - len(batch[INDEX["kinds"]]), 2],
            "start": [start + 450, start - 1, start + GRID, 0, -GRID, -start, 2**40, HUGE],
            "length_s": [0, -GRID, 450, 1_800, 86_401, 70 * GRID, 2**40, HUGE],
            "scaler": [scaler for scaler in range(-4, 4) if scaler != self.scaler],
            "firmware": [b"", b"x" * 33],
            "previous": [b"x", b"x" * 33],
        }
        name = self.random.choice([*values])
        batch[INDEX[name]] = self.random.choice(values[name])

    def expected(self, batch: list[Any], gateway: bytes, rights: dict[str, Right], closed: dict[str, str]) -> list[str]:
        """What the slow judge says of each place; a meter that it would suspend is so for the rest of the call."""
        names = {place: name for name, place in self.places.items()}
        codes: list[str] = []
        for index, letter in enumerate(batch[INDEX["kinds"]]):
            name = names.get((batch[INDEX["group"]], batch[INDEX["first"]] + index), "nobody")
            try:
                reading = reading_of(batch, index, name)
            except ReadingError:
                codes.append("bad_encoding")
                continue
            if reading is None:
                codes.append("" if letter == NOTHING else "bad_encoding")
                continue
            right, community = rights.get(name), self.community.get(name, "")
            code = self.judge.judge(
                reading, digest_of(batch), right, gateway, self.network.time, closed.get(community, "")
            )
            if code in ("replay", "decreasing", "tamper") and right and right.status == "ACTIVE":
                rights[name] = replace(right, status="SUSPENDED")
            self.usable[(community, reading.start)] += code in USABLE
            codes.append(code)
        return codes

    def send(self, batches: list[list[Any]], gateway: str) -> None:
        self.network.run_due()
        rights = {name: self.right(name) for name in METERS}
        expected: list[str] = []
        for batch in batches:
            start = batch[INDEX["start"]]
            closed = {name: self.network.view("settlement", "admits", name, start) for name in ZONES}
            expected += self.expected(batch, key_of(gateway), rights, closed)
        codes = self.network.ok("readings", "submit", batches, sender=gateway)
        assert codes == expected, (gateway, batches)
        self.codes.update(codes)

    def turn(self) -> None:
        """Time goes on, somebody may operate a meter, and one to four batches leave in a call."""
        draw = self.random
        self.now = min(
            INTERVALS, self.now + draw.choice([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, draw.choice([2, 2, 3, 20, 62])])
        )
        end = START + (self.now + 1) * GRID
        self.network.time = max(self.network.time, end + draw.choice([-61, -60, 0, 0, 0, 0, 5, 800]))
        if draw.random() < 0.06:
            self.operate(draw.choice(METERS))
        for name in METERS:
            if self.right(name).status == "SUSPENDED" and draw.random() < 0.5:
                self.network.ok("meters", "reinstate", name, sender="operator")
        group = draw.choice(["m0", "m6"])
        batches = [self.make(group) for _ in range(draw.choice([1, 1, 1, 2, 3]))]
        batches += [draw.choice(self.sent)] if self.sent and draw.random() < 0.15 else []
        self.sent = [*self.sent, *batches][-30:]
        holder = self.right(draw.choice([name for name in METERS if self.places[name][0] == group])).gateway
        owner = next(name for name in GATEWAYS if key_of(name) == holder)
        self.send(batches, owner if draw.random() < 0.95 else draw.choice(GATEWAYS))

    def operate(self, name: str) -> None:
        """Its operator does what the meter's status allows."""
        right, draw = self.right(name), self.random.random()
        self.firmware = bytes([self.random.randrange(4)]) * 32
        if right.status == "REQUESTED" and START + GRID * self.ends[name] > self.network.time:
            self.activate(name)
        elif right.status == "ACTIVE" and draw < 0.2:
            self.network.ok("meters", "suspend", name, "look", sender="operator")
        elif right.status == "ACTIVE" and draw < 0.4:
            since = min(right.until, self.network.time - GRID * self.random.choice([0, 3, -3]))
            self.network.ok("meters", "revoke", name, since, sender="operator")
        elif right.status in ("ACTIVE", "REQUESTED"):
            gateway = key_of(self.random.choice([*GATEWAYS, HOME_GATEWAY[name], HOME_GATEWAY[name]]))
            self.network.ok("meters", "rebind", [name], gateway, sender="operator")

    def settle_up(self) -> None:
        """Each accepted Wh is kept once, counted once as arrived, and in one statement of its home, and no other is."""
        records = {(name, r.reading.start): r for name, rs in self.judge.records.items() for r in rs}
        for start in sorted({start for _, start in records}):
            energies = [records[(name, start)].wh if (name, start) in records else -1 for name in METERS]
            assert self.network.view("readings", "values", METERS, start) == energies
            for community in ZONES:
                received = self.network.view("settlement", "interval", community, start)[3]
                assert received == self.usable[(community, start)]
        for (name, start), record in records.items():
            befores = [other for owner, other in records if owner == name and other < start]
            kept = self.network.view("readings", "reading", name, start)
            assert kept[1:4] == [record.reading.sequence, record.register_wh, record.wh]
            assert kept[4:] == [record.reading.digest, max(befores, default=0)]
        self.network.time += 3_000_000
        self.network.run_due()
        assert all(outcome.status == "ok" for outcome in self.network.scheduled)
        for community, name in self.seated:
            statement = self.network.view("settlement", "home_totals", community, f"h-{name}")
            assert statement[1] + statement[2] == sum(r.wh for r in self.judge.records.get(name, []))
        assert [self.network.view("settlement", "waiting", community) for community in ZONES] == [[], []]


def digest_of(batch: list[Any]) -> bytes:
    """As the gateway that sent it would name it."""
    try:
        return Batch.from_list(batch).digest
    except ReadingError:
        return b""


def reading_of(batch: list[Any], index: int, meter: str) -> Reading | None:
    """A place of a batch by itself; None where it is nothing. Raises ReadingError for what is not canonical."""
    said = dict(zip(INDEX, batch, strict=True))
    letter, state = said["kinds"][index], said["states"][index] if said["states"] else 0
    sequence, register, wh = (said[name][index] for name in ("sequences", "registers", "energies"))
    if letter == NOTHING and (sequence, register, wh, state) == (0, 0, 0, 0):
        return None
    if letter not in (IMPORT, EXPORT) or state >= 2 * CALCULATED:
        raise ReadingError("kinds, states", "i or e, and a state below 64", (letter, state))
    is_import = letter == IMPORT
    return Reading(
        **{name: said[name] for name in ("version", "chain", "start", "length_s", "scaler", "firmware", "previous")},
        meter=meter, sequence=sequence, quality=QUALITIES[state // CALCULATED], flags=state % CALCULATED,
        import_register=register if is_import else 0, export_register=0 if is_import else register,
        import_wh=wh if is_import else 0, export_wh=0 if is_import else wh,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_gateway_sends_each_accepted_watt_hour_is_billed_once(network: Any, seed: int) -> None:
    """Codes, records, counts of arrival and statements agree with rules that look at one reading at a time."""
    hostile = Hostile(network, seed)
    for _ in range(40):
        hostile.turn()
    hostile.settle_up()
    print(hostile.codes)
    assert hostile.codes.total() > 30 and {*hostile.codes} & {*USABLE}
