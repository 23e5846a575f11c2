"""A ledger in memory that runs the standard contracts on the real engine, and a community on it, ready to be read."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from contracts.compiler import Weave, weave_contract
from contracts.runtime import Runtime
from contracts.standard import MANIFEST, genesis_contracts, source_of
from contracts.testing import Chain
from contracts.walker import walk_contract
from ledger.encoding import decode, encode
from ledger.execution import BlockOutcome, BlockPlan, Call, CallOutcome
from meters.batch import Batch
from meters.reading import Reading
from meters.reference import KeyKind, Prices, equal_shares
from meters.series import MeterColumn, Series

NETWORK = bytes(range(32))
GENESIS_TIME = 1_470_000_000
GAS = 5_000_000
ELECTRICIAN_REGISTER_WH = 1_000

# Every @invariant of every standard contract, read from the sources: they are checked after each block of each test.
INVARIANTS = [
    (name, method) for name, _ in MANIFEST for method in re.findall(r"@invariant\n    def (\w+)", source_of(name))
]


def key_of(name: str) -> bytes:
    """A stand-in for a public key: the engine never checks that it is one."""
    return name.encode().ljust(32, b"\0")


class MemoryState(dict[bytes, bytes]):
    """The world state as a dictionary (ledger.execution.StateReader)."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted((key, value) for key, value in self.items() if key.startswith(prefix)))


@dataclass
class Network:
    """Blocks one after another on one runtime; time only goes forward."""

    runtime: Runtime = field(default_factory=Runtime)
    state: MemoryState = field(default_factory=MemoryState)
    height: int = 0
    time: int = GENESIS_TIME
    next_due: int | None = None
    scheduled: list[CallOutcome] = field(default_factory=list)
    gas: list[int] = field(default_factory=list)  # of each transaction

    def create(self, founders: Sequence[str]) -> None:
        contracts = genesis_contracts([(name, key_of(name)) for name in founders])
        self.apply(self.runtime.execute_genesis(contracts, self.time * 1000, NETWORK))

    def apply(self, outcome: BlockOutcome) -> None:
        for key, value in outcome.writes:
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        self.next_due = outcome.next_due
        self.scheduled += [item.outcome for item in outcome.scheduled]

    def block(self, *calls: Call) -> tuple[CallOutcome, ...]:
        """One block at the present time; calls that are due run first."""
        self.height += 1
        plan = BlockPlan(
            height=self.height,
            time_ms=self.time * 1000,
            network=NETWORK,
            epoch=0,
            window=64,
            calls=calls,
            transaction_gas_max=GAS,
            scheduled_gas_max=4 * GAS,
        )
        outcome = self.runtime.execute_block(plan, self.state)
        self.apply(outcome)
        self.gas += [call.gas_used for call in outcome.calls]
        for contract, method in INVARIANTS:
            assert self.view(contract, method) is True, f"{contract}.{method} no longer holds"
        return outcome.calls

    def call(self, contract: str, method: str, *arguments: object, sender: str) -> CallOutcome:
        """One transaction in a block of its own."""
        return self.block(call_of(contract, method, *arguments, sender=sender, number=self.height))[0]

    def ok(self, contract: str, method: str, *arguments: object, sender: str) -> Any:
        """The result of a transaction that must succeed."""
        outcome = self.call(contract, method, *arguments, sender=sender)
        assert outcome.status == "ok", f"{contract}.{method}: {outcome.status} {outcome.code}"
        return decode(outcome.result)

    def refused(self, contract: str, method: str, *arguments: object, sender: str) -> str:
        """The code of a transaction that must revert, and must leave nothing behind."""
        self.run_due()
        before = dict(self.state)
        outcome = self.call(contract, method, *arguments, sender=sender)
        assert outcome.status in {"reverted", "error"}  # the contract refused, or the engine before it (a role)
        assert dict(self.state) == before
        assert outcome.events == ()
        return outcome.code

    def view(self, contract: str, method: str, *arguments: object) -> Any:
        """The result of a view that must succeed."""
        return decode(self.look(contract, method, *arguments).result)

    def look(self, contract: str, method: str, *arguments: object) -> CallOutcome:
        """A view that must succeed, with its gas."""
        call = call_of(contract, method, *arguments, sender="reader", number=0)
        outcome = self.runtime.call_view(call, self.state, self.height, self.time * 1000, NETWORK)
        assert outcome.status == "ok", f"{contract}.{method}: {outcome.status} {outcome.code}"
        return outcome

    def run_due(self) -> None:
        """Empty blocks until nothing is due: what the primary proposes by D63."""
        while self.next_due is not None and self.next_due <= self.time:
            self.block()


def call_of(contract: str, method: str, *arguments: object, sender: str, number: int) -> Call:
    return Call(
        tx_id=number.to_bytes(32, "big"),
        sender=key_of(sender),
        contract=contract,
        method=method,
        arguments=encode(list(arguments)),
        gas_limit=GAS,
    )


FOUNDERS = ("coop-1", "coop-2", "coop-3", "coop-4")
PRICES = Prices(supply=300_000, feed_in=80_000, community=180_000, grid_fee=70_000, community_grid_fee=30_000)
ROLES = {
    "sparks": ["certifier"],
    "operator": ["meter_operator"],
    "manager": ["community_manager"],
    "regulator": ["tariff_authority"],
    "bank": ["paying_agent"],
}


@dataclass
class Town:
    """A community of a series, onboarded as in practice: voted in, certified, activated, joined, keyed, priced."""

    network: Network
    series: Series
    chains: dict[str, tuple[int, int]]  # sequence and register of each meter's last record
    gateway_of: dict[str, str]
    places: dict[str, tuple[str, int]]
    links: dict[tuple[str, int], bytes] = field(default_factory=dict)  # what batches of a group and interval name
    newest: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # start and digest of each group's newest batch

    def reading(self, meter: str, index: int, energy_wh: int | None = None) -> Reading:
        """The next record of a meter, for the interval with that index of the series."""
        column = next(entry for entry in self.series.meters if entry.meter == meter)
        energy = self.series.values_of(column)[index] if energy_wh is None else energy_wh
        sequence, register = self.chains[meter]
        self.chains[meter] = (sequence + 1, register + energy)
        counts = ("import_register", "import_wh") if column.kind == "load" else ("export_register", "export_wh")
        still = ("export_register", "export_wh") if column.kind == "load" else ("import_register", "import_wh")
        return Reading(
            chain=NETWORK,
            meter=meter,
            sequence=sequence + 1,
            start=self.series.starts[index],
            length_s=self.series.interval_s,
            scaler=0,
            **dict(zip(counts, (register + energy, energy), strict=True)),
            **dict.fromkeys(still, 0),
        )

    def batches(self, *readings: Reading) -> list[Batch]:
        """The readings in as few batches as keep their order; where they name none, they name the batch before."""
        batches: list[Batch] = []
        rest = list(readings)
        while rest:
            group = self.places.get(rest[0].meter, ("nobody", 0))[0]
            row: dict[int, Reading] = {}
            while rest:
                if row and next(iter(row.values())).start != rest[0].start:
                    break
                reading = self.linked(group, rest[0])
                where = self.places.get(reading.meter, ("nobody", 0))
                if where[0] != group or where[1] <= max(row, default=-1) or (row and not alike(row, reading)):
                    break
                row[where[1]] = reading
                del rest[0]
            batches.append(Batch.gather(group, row))
            if batches[-1].start > self.newest.get(group, (0, b""))[0]:
                self.newest[group] = (batches[-1].start, batches[-1].digest)
        return batches

    def linked(self, group: str, reading: Reading) -> Reading:
        link = self.links.setdefault((group, reading.start), self.newest.get(group, (0, b""))[1])
        return reading if reading.previous else replace(reading, previous=link)

    def submit(self, *readings: Reading, sender: str | None = None) -> list[str]:
        """Send readings in one transaction, by default from the gateway of the first; returns their codes."""
        gateway = sender or self.gateway_of[readings[0].meter]
        batches = self.batches(*readings)
        codes = self.network.ok("readings", "submit", [batch.to_list() for batch in batches], sender=gateway)
        return self.codes_of(batches, codes)

    def codes_of(self, batches: Sequence[Batch], codes: Sequence[str]) -> list[str]:
        """The codes of the readings: those of places without one are empty."""
        kinds = "".join(batch.kinds for batch in batches)
        assert all(code == "" for code, kind in zip(codes, kinds, strict=True) if kind == "-")
        return [code for code, kind in zip(codes, kinds, strict=True) if kind != "-"]

    def submit_interval(self, index: int) -> None:
        """All readings of one interval, one transaction per gateway, every one accepted."""
        for gateway in sorted(set(self.gateway_of.values())):
            meters = [meter for meter, owner in self.gateway_of.items() if owner == gateway]
            codes = self.submit(*(self.reading(meter, index) for meter in meters))
            assert codes == ["accepted"] * len(meters)


def alike(row: dict[int, Reading], reading: Reading) -> bool:
    """Whether a reading can stand in one batch with these."""
    other = next(iter(row.values()))
    fields = ("version", "chain", "start", "length_s", "scaler", "firmware", "previous")
    return all(getattr(reading, name) == getattr(other, name) for name in fields)


def found_network(weave: Weave = weave_contract) -> Network:
    """Four founders, and one member for each role, voted in by three of them."""
    network = Network(runtime=Runtime(weave=weave))
    network.create(FOUNDERS)
    admissions = [[name, key_of(name), roles] for name, roles in ROLES.items()]
    number = network.ok("members", "propose", admissions, [], sender="coop-1")
    assert network.ok("members", "approve", number, sender="coop-2") is False
    assert network.ok("members", "approve", number, sender="coop-3") is True
    network.ok("certifiers", "add_electricians", [key_of("electrician")], sender="sparks")
    return network


def chunks(items: Sequence[Any]) -> list[list[Any]]:
    """In batches that one call takes."""
    return [list(items[first : first + 100]) for first in range(0, len(items), 100)]


def onboard_meters(network: Network, series: Series, gateway: str, columns: Sequence[MeterColumn]) -> None:
    """Three transactions, whatever the number of meters: gateway, electrician, operator."""
    requests = [[c.meter, c.home, key_of(c.home), c.kind, 0, series.interval_s, 20_000, b"\x01" * 32] for c in columns]
    network.ok("meters", "request", requests, sender=gateway)
    certificates = [
        [c.meter, key_of(gateway), key_of(c.home), ELECTRICIAN_REGISTER_WH, b"\x02" * 32, network.time + 10**8]
        for c in columns
    ]
    network.ok("meters", "certify", certificates, sender="electrician")
    activations = [[c.meter, "sunny", series.starts[0]] for c in columns]
    network.ok("meters", "activate", activations, sender="operator")


def onboard(network: Network, series: Series, *, gateways: int = 4, wait_s: int = 600) -> Town:
    """Request, certify, activate every meter of the series, then found and join the community `sunny`."""
    network.time = series.end + 60
    home_gateway = {home: f"gateway-{place % gateways}" for place, home in enumerate(series.homes)}
    gateway_of = {column.meter: home_gateway[column.home] for column in series.meters}
    for gateway in sorted(set(gateway_of.values())):
        columns = [column for column in series.meters if gateway_of[column.meter] == gateway]
        for batch in chunks(columns):
            onboard_meters(network, series, gateway, batch)
    terms = ["north", series.interval_s, wait_s, key_of("supplier"), key_of("feed-in"), key_of("grid")]
    network.ok("communities", "found", "sunny", terms, sender="manager")
    loads = {c.home: [c.meter] for c in series.meters if c.kind == "load"}
    pvs = {c.home: [c.meter] for c in series.meters if c.kind == "pv"}
    homes = [[home, key_of(home), loads.get(home, []), pvs.get(home, [])] for home in series.homes]
    for batch in chunks(homes):
        network.ok("communities", "join", "sunny", batch, sender="manager")
    tariff = [series.starts[0], PRICES.supply, PRICES.feed_in, PRICES.community, PRICES.grid_fee]
    network.ok("tariffs", "publish", "north", [[*tariff, PRICES.community_grid_fee]], sender="regulator")
    chains = {c.meter: (0, ELECTRICIAN_REGISTER_WH) for c in series.meters}
    names = [c.meter for c in series.meters]
    places = {
        name: (group, number)
        for batch in chunks(names)
        for name, (group, number) in zip(batch, network.view("meters", "places_of", batch), strict=True)
    }
    return Town(network=network, series=series, chains=chains, gateway_of=gateway_of, places=places)


def set_key(town: Town, kind: KeyKind, *, effective_from: int | None = None) -> int:
    """Share equally, from the first interval on unless another time is given."""
    weights = equal_shares(town.series.homes)
    shares = [[home, 0 if kind == "dynamic" else weights[home]] for home in town.series.homes]
    start = town.series.starts[0] if effective_from is None else effective_from
    return int(town.network.ok("communities", "set_key", "sunny", kind, start, shares, sender="manager"))


@pytest.fixture(params=[weave_contract, walk_contract], ids=["closures", "walker"])
def chain(request: pytest.FixtureRequest) -> Chain:
    """A chain on each of the two ways to run a contract."""
    weave: Weave = request.param
    chain = Chain()
    chain.runtime = Runtime(weave=weave)
    return chain


@pytest.fixture
def network() -> Network:
    return found_network()


@pytest.fixture
def make_network() -> Callable[[Weave], Network]:
    """A network on either of the two ways to run a contract."""
    return found_network


@pytest.fixture
def make_town() -> Callable[..., Town]:
    """Build a town of a series with a key of a kind."""

    def make(series: Series, kind: KeyKind = "dynamic", **options: Any) -> Town:
        town = onboard(found_network(), series, **options)
        set_key(town, kind)
        return town

    return make


@pytest.fixture
def small_town(make_town: Callable[..., Town]) -> Town:
    """Two homes, `a` with load and PV, `b` with load, hourly, one gateway."""
    series = Series(
        homes=("a", "b"),
        starts=tuple(1_470_009_600 + 3600 * place for place in range(100)),
        interval_s=3600,
        load_wh={"a": (400,) * 100, "b": (1000,) * 100},
        pv_wh={"a": (900,) * 100},
    )
    return make_town(series, gateways=1)


@pytest.fixture(scope="session")
def share_out() -> Callable[..., Any]:
    """The sharing rule of the contract `communities`; one engine serves all examples, since the rule reads no state."""
    network = Network()
    network.create(FOUNDERS)

    def call(kind: str, shares: list[int], needs: list[int], offers: list[int]) -> Any:
        return network.view("communities", "share_out", kind, shares, needs, offers)

    return call
