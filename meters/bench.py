"""The readings workload of `gridquorum bench`: gateways send their meters' intervals, a hundred readings a request.

Each request holds one interval of each of a gateway's hundred meters, chained and judged by the standard contracts
`readings` and `meters`, after an onboarding by the standard rules. Settlement stands aside (`books.contract`), because
its work belongs to intervals and not to readings: `readings` is told its address at genesis, as `cash` is in transfers.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Final

from contracts.standard import genesis_contracts
from ledger.encoding import Value
from ledger.genesis import ContractReference, GenesisContract
from meters.batch import GroupChain
from meters.certification import InstalledMeter
from meters.onboarding import APPROVAL_PERCENT, BATCH_MAX, CALIBRATION_S
from pbft.bench.options import BenchOptions
from pbft.bench.workload import Accounts, Call, Founders, Situation, make_key

GATEWAYS: Final = 40  # each may have 64 requests on their way
METERS_PER_GATEWAY: Final = BATCH_MAX
INTERVAL_S: Final = 900
HISTORY_S: Final = 300 * 86_400  # before genesis: so far back the first interval lies, 28,800 for each meter
ENERGY_WH: Final = 125  # of an interval: half a kilowatt
SUBMIT_GAS: Final = 1_000_000  # a gateway's first request takes about 280,000, the others about 33,000
SETUP_GAS: Final = 4_000_000
BOOKS: Final = ContractReference(contract="books")
SETTLEMENT: Final = ContractReference(contract="settlement")


class ReadingsWorkload:
    """`readings.submit`, a hundred readings at once."""

    units = METERS_PER_GATEWAY
    unit = "readings"

    def __init__(self, options: BenchOptions) -> None:
        self._gateways = Accounts("gateway", GATEWAYS, first_nonce=1)  # each has asked for its meters before
        self._chains: list[GroupChain] = []
        self._starts: list[int] = []
        self._count = 0

    def contracts(self, founders: Sequence[tuple[str, bytes]]) -> Sequence[GenesisContract]:
        """The standard ones; readings and their judges ask the books of this bench instead of settlement."""
        standard = [
            replace(contract, arguments=tuple(BOOKS if told == SETTLEMENT else told for told in contract.arguments))
            if contract.name in ("readings", "judges")
            else contract
            for contract in genesis_contracts(founders)
        ]
        source = resources.files(__package__).joinpath("books.contract").read_text(encoding="utf-8")
        return (*standard, GenesisContract(name="books", source=source))

    def preparation(self, founders: Founders) -> Sequence[Sequence[Call]]:
        """Members by vote; an electrician; the gateways' requests; certificates; activation."""
        first = (founders.genesis_time_s - HISTORY_S) // INTERVAL_S * INTERVAL_S
        certifier, electrician, operator = (make_key(role, 0) for role in ("certifier", "electrician", "operator"))
        meters = [self._install(number, first, founders.genesis_time_s) for number in range(GATEWAYS)]
        self._starts = [first] * GATEWAYS
        self._chains = [_begin(founders.network, group) for group in meters]
        admissions: list[Value] = [
            ["Electricians", certifier.public_key, ["certifier"]],
            ["Meter Service", operator.public_key, ["meter_operator"]],
        ]
        proposer, *others = founders.operators
        needed = -(-len(founders.operators) * APPROVAL_PERCENT // 100)
        listed: tuple[Value, ...] = ([electrician.public_key],)
        asked = [[meter.request() for meter in group] for group in meters]
        certified = [[meter.certificate() for meter in group] for group in meters]
        active = [[[meter.meter, "bench", first] for meter in group] for group in meters]
        return (
            [Call(signer=proposer, contract="members", method="propose", arguments=(admissions, []))],
            [Call(signer=o, contract="members", method="approve", arguments=(1,)) for o in others[: needed - 1]],
            [
                Call(signer=certifier, contract="certifiers", method="add_electricians", arguments=listed),
                *(
                    Call(signer=key, contract="meters", method="request", arguments=(each,), gas_limit=SETUP_GAS)  # type: ignore[arg-type]
                    for key, each in zip(self._gateways.keys, asked, strict=True)
                ),
            ],
            [Call(signer=electrician, contract="meters", method="certify", arguments=(c,)) for c in certified],  # type: ignore[arg-type]
            [Call(signer=operator, contract="meters", method="activate", arguments=(a,)) for a in active],  # type: ignore[arg-type]
        )

    def _install(self, gateway: int, first: int, now_s: int) -> list[InstalledMeter]:
        key = self._gateways.keys[gateway].public_key
        return [
            InstalledMeter(
                meter=f"m-{gateway}-{number}",
                home=f"h-{gateway}-{number}",
                owner=key,
                gateway=key,
                kind="load",
                interval_s=INTERVAL_S,
                max_power_w=14_500,
                serial=f"bench {gateway} {number}",
                seals="bench",
                register_wh=0,
                calibrated_until=now_s + CALIBRATION_S,
            )
            for number in range(METERS_PER_GATEWAY)
        ]

    def next_request(self, situation: Situation) -> bytes:
        """The next interval of the next gateway."""
        gateway = self._count % GATEWAYS
        self._count += 1
        start = self._starts[gateway]
        self._starts[gateway] = start + INTERVAL_S
        chain = self._chains[gateway]
        batch, self._chains[gateway] = chain.append(start, dict.fromkeys(chain.meters, ENERGY_WH))
        return self._gateways.sign(gateway, situation, "readings", "submit", ([batch.to_list()],), SUBMIT_GAS)


def _begin(network: bytes, meters: Sequence[InstalledMeter]) -> GroupChain:
    """A gateway asks once, so its meters have the places of this order, in a group named by the first."""
    places = {number: (meter.meter, meter.kind, meter.register_wh) for number, meter in enumerate(meters)}
    return GroupChain.begin(network, meters[0].meter, INTERVAL_S, places)
