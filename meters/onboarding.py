"""From genesis to a community whose readings count, in few transactions: who signs what, and in which order.

Pure: it turns a series and the participants' keys into steps of contract calls; sending them is the caller's matter.
Calls of one step need nothing of each other and run at once; a step begins when all calls before it are committed.
The order is the contracts' own: members are admitted by vote; gateways ask for their meters and an electrician
certifies them; the meter operator activates them; the community takes the homes in and sets its sharing key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.keys import SigningKey
from meters.certification import InstalledMeter
from meters.reference import Prices
from meters.series import MeterColumn, Series

BATCH_MAX: Final = 100  # meters or homes of one call, as the contracts allow
READINGS_PER_GATEWAY_MAX: Final = 40  # meters behind one gateway: its request stays far below a transaction's gas
GATEWAYS_MIN: Final = 4
CONNECTIONS_W: Final = (14_500, 24_000, 43_500, 69_000, 110_000, 250_000, 1_000_000, 10_000_000)
"""Usual sizes of a connection, from 63 A single phase up to a contract's limit; the smallest that fits is certified."""
CALIBRATION_S: Final = 8 * 365 * 86_400  # how long a calibration holds: eight years, as usual for electronic meters
APPROVAL_PERCENT: Final = 75  # of the admins, as contracts/standard/members.py

GAS_BASE: Final = 300_000  # of a call whatever it carries: forty times the largest measured
GAS_PER_ELEMENT: Final = 20_000  # of a list in its arguments: four times the largest measured, a home that joins
GAS_MAX: Final = 5_000_000  # of one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Participants:
    """Everybody's keys. `homes` are account addresses by home; a household's key is its own matter."""

    admins: tuple[SigningKey, ...]  # the founders: operators of the replicas
    certifier: SigningKey  # an organisation of electricians
    electrician: SigningKey
    meter_operator: SigningKey
    manager: SigningKey  # of the community
    tariff_authority: SigningKey
    gateways: tuple[SigningKey, ...]
    homes: Mapping[str, bytes]
    supplier: bytes
    feed_in: bytes
    grid: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunityPlan:
    """What the community agrees on."""

    name: str
    zone: str  # of the tariff
    key_kind: str  # "static", "dynamic" or "hybrid"
    shares: Mapping[str, int]  # parts per million by home; all 0 for a dynamic key
    prices: Prices
    completion_wait_s: int  # how long after an interval missing readings are waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingCall:
    """One transaction of the onboarding."""

    signer: SigningKey
    contract: str
    method: str
    arguments: tuple[object, ...]
    gas_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingStep:
    """Calls that may run at once."""

    title: str
    calls: tuple[OnboardingCall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayMeters:
    """The meters behind one gateway."""

    key: SigningKey
    columns: tuple[MeterColumn, ...]


def assign_meters(series: Series, make_key: "type[SigningKey]" = SigningKey) -> tuple[GatewayMeters, ...]:
    """Gateways with fresh keys: at least four while there are meters, whole homes together where homes suffice."""
    columns = series.meters
    per_home = len(series.homes) >= GATEWAYS_MIN
    groups = [[c for c in columns if c.home == home] for home in series.homes] if per_home else [[c] for c in columns]
    count = max(min(GATEWAYS_MIN, len(groups)), -(-len(columns) // READINGS_PER_GATEWAY_MAX))
    behind: list[list[MeterColumn]] = [[] for _ in range(min(count, len(groups)))]
    for place, group in enumerate(groups):
        behind[place % len(behind)].extend(group)
    return tuple(GatewayMeters(key=make_key.generate(), columns=tuple(columns)) for columns in behind)


def install_meters(
    series: Series, gateways: Sequence[GatewayMeters], homes: Mapping[str, bytes], now: int
) -> tuple[InstalledMeter, ...]:
    """Every meter as the electrician finds it on site, in the order of the gateways; `now` in UTC seconds."""
    return tuple(
        InstalledMeter(
            meter=column.meter,
            home=column.home,
            owner=homes[column.home],
            gateway=gateway.key.public_key,
            kind=column.kind,
            interval_s=series.interval_s,
            max_power_w=compute_connection_w(series.values_of(column), series.interval_s),
            serial=f"GQ-1 {column.meter}",
            seals=f"seal {column.meter}",
            register_wh=0,
            calibrated_until=now + CALIBRATION_S,
        )
        for gateway in gateways
        for column in gateway.columns
    )


def compute_connection_w(values_wh: Sequence[int], interval_s: int) -> int:
    """The smallest usual connection, in W, that carries the highest energy of one interval."""
    power_w = -(-max(values_wh, default=0) * 3600 // interval_s)
    for size in CONNECTIONS_W:
        if power_w <= size:
            return size
    raise ValueError(f"{power_w} W is more than any connection here carries")


def plan_onboarding(
    series: Series, participants: Participants, plan: CommunityPlan, installed: Sequence[InstalledMeter]
) -> tuple[OnboardingStep, ...]:
    """The steps, in order. The series' first interval is the first that the community settles."""
    start = series.starts[0]
    return (
        *_membership(participants),
        _requests(participants, plan, installed, series),
        _step("certify the meters", participants.electrician, "meters", "certify", _batches(
            [meter.certificate() for meter in installed]
        )),
        _step("activate the meters", participants.meter_operator, "meters", "activate", _batches(
            [[meter.meter, plan.name, start] for meter in installed]
        )),
        _step("take the homes in", participants.manager, "communities", "join", [
            (plan.name, batch) for (batch,) in _batches(_homes(series, participants))
        ]),
        _step("set the sharing key", participants.manager, "communities", "set_key", [
            (plan.name, plan.key_kind, start, [[home, plan.shares[home]] for home in series.homes])
        ]),
    )  # fmt: skip


def _membership(participants: Participants) -> tuple[OnboardingStep, ...]:
    """One proposal admits everybody with a role; admins approve until three quarters have."""
    admissions = [
        ["Electricians' Guild", participants.certifier.public_key, ["certifier"]],
        ["Meter Service", participants.meter_operator.public_key, ["meter_operator"]],
        ["Community Office", participants.manager.public_key, ["community_manager"]],
        ["Tariff Office", participants.tariff_authority.public_key, ["tariff_authority"]],
    ]
    proposer, *others = participants.admins
    needed = -(-len(participants.admins) * APPROVAL_PERCENT // 100)
    approvals = tuple(
        OnboardingCall(signer=admin, contract="members", method="approve", arguments=(1,), gas_limit=GAS_BASE)
        for admin in others[: needed - 1]
    )
    propose = OnboardingCall(
        signer=proposer, contract="members", method="propose", arguments=(admissions, []), gas_limit=GAS_BASE
    )
    return (
        OnboardingStep(title="propose the members", calls=(propose,)),
        OnboardingStep(title="approve the members", calls=approvals),
    )


def _requests(
    participants: Participants, plan: CommunityPlan, installed: Sequence[InstalledMeter], series: Series
) -> OnboardingStep:
    """What needs only the members: the electrician's listing, the meters' requests, the community, the prices."""
    prices = plan.prices
    tariff = [
        series.starts[0],
        prices.supply,
        prices.feed_in,
        prices.community,
        prices.grid_fee,
        prices.community_grid_fee,
    ]
    terms = [
        plan.zone,
        series.interval_s,
        plan.completion_wait_s,
        participants.supplier,
        participants.feed_in,
        participants.grid,
    ]
    calls = [
        OnboardingCall(
            signer=participants.certifier,
            contract="certifiers",
            method="add_electricians",
            arguments=([participants.electrician.public_key],),
            gas_limit=GAS_BASE,
        ),
        OnboardingCall(
            signer=participants.manager,
            contract="communities",
            method="found",
            arguments=(plan.name, terms),
            gas_limit=GAS_BASE,
        ),
        OnboardingCall(
            signer=participants.tariff_authority,
            contract="tariffs",
            method="publish",
            arguments=(plan.zone, [tariff]),
            gas_limit=GAS_BASE,
        ),
    ]
    for gateway in participants.gateways:
        requests = [meter.request() for meter in installed if meter.gateway == gateway.public_key]
        calls += _step("", gateway, "meters", "request", _batches(requests)).calls
    return OnboardingStep(title="list the electrician, request the meters, found the community", calls=tuple(calls))


def _homes(series: Series, participants: Participants) -> list[list[object]]:
    """Every home with its meters, as `communities.join` takes it."""
    return [
        [
            home,
            participants.homes[home],
            [column.meter for column in series.meters if column.home == home and column.kind == "load"],
            [column.meter for column in series.meters if column.home == home and column.kind == "pv"],
        ]
        for home in series.homes
    ]


def _step(
    title: str, signer: SigningKey, contract: str, method: str, arguments: Sequence[tuple[object, ...]]
) -> OnboardingStep:
    """The same method once for each tuple of arguments."""
    calls = tuple(
        OnboardingCall(
            signer=signer, contract=contract, method=method, arguments=each, gas_limit=compute_gas_limit(each)
        )
        for each in arguments
    )
    return OnboardingStep(title=title, calls=calls)


def compute_gas_limit(arguments: Sequence[object]) -> int:
    """The gas that a call may use, by the longest list in its arguments."""
    longest = max((len(argument) for argument in arguments if isinstance(argument, list)), default=0)
    return min(GAS_BASE + longest * GAS_PER_ELEMENT, GAS_MAX)


def _batches(elements: Sequence[object]) -> list[tuple[object, ...]]:
    """The elements as arguments of calls that take at most BATCH_MAX."""
    return [(list(elements[first : first + BATCH_MAX]),) for first in range(0, len(elements), BATCH_MAX)]
