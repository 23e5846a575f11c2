"""What can be asked of a bench, and what is refused before anything starts.

Every refusal is a `BenchError` with a stable code; nothing runs and nothing is written when one is raised here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.configuration import PARAMETER_BOUNDS, ProtocolParameters
from pbft.node.verifier_count import VERIFIERS_MAX

FAULTS: Final = (
    "none",
    "silent-primary",
    "slow-primary",
    "equivocating-primary",
    "replica-down",
    "flooding-client",
    "lagging-replica",
)
REPLICAS_MIN: Final = 4
REPLICAS_MAX: Final = 64  # processes twice over, and links by the square: more than that measures the scheduler
SECONDS_MAX: Final = 86_400.0
CLIENTS_MAX: Final = 60_000  # the replicas' doors hold 10,000 transactions at once; the rest are told `busy`
RATE_MAX: Final = 1_000_000.0
PAYLOAD_BYTES_MAX: Final = 65_536
ACCOUNTS_MIN: Final = 2
ACCOUNTS_MAX: Final = 1_000_000
REPLICA_BYTES: Final = 120 * 1024 * 1024
"""What a replica takes of this machine's memory with its worker and the worker in reserve, at 100,000 keys."""
DEFAULTS: Final = ProtocolParameters()
GAS_OF_A_PAYLOAD_BYTE: Final = 4  # an argument's byte takes 3.25 units
GAS_OF_A_REQUEST: Final = 2_000  # a transfer takes 1,444; block_gas_max has room for the greatest batch of 10,000


class BenchError(Exception):
    """A bench that cannot run, or that came to no result. `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """One bench."""

    replicas: int = REPLICAS_MIN
    seconds: float = 10.0  # of the window that is measured
    warm_up_seconds: float = 2.0  # of the same load before it
    clients: int = 1_000  # closed loop: each has one request outstanding; open loop: the most that are outstanding
    rate: float | None = None  # open loop: requests a second; None: closed loop
    batch: int = DEFAULTS.batch_requests_max
    payload: int = 0  # bytes in the argument of each request; null workload only
    window: int = DEFAULTS.window
    workload: str = "null"
    accounts: int = 100_000
    faults: str = "none"
    verifiers: int | None = None  # processes of each replica that check signatures; None: as an operator's default
    port_base: int = 0  # 0 draws free ports

    def validate(self, workloads: tuple[str, ...]) -> None:
        """Raises BenchError for the first thing that makes no sense."""
        checks = (
            ("bad_replicas", REPLICAS_MIN <= self.replicas <= REPLICAS_MAX,
             f"{self.replicas} replicas: PBFT needs {REPLICAS_MIN}, and a machine carries at most {REPLICAS_MAX}"),
            ("bad_seconds", 0.1 <= self.seconds <= SECONDS_MAX,
             f"{self.seconds:g} seconds: expected 0.1 to {SECONDS_MAX:g}"),
            ("bad_seconds", 0.0 <= self.warm_up_seconds <= SECONDS_MAX,
             f"a warm-up of {self.warm_up_seconds:g} seconds: expected 0 to {SECONDS_MAX:g}"),
            ("bad_clients", 1 <= self.clients <= CLIENTS_MAX, f"{self.clients} clients: expected 1 to {CLIENTS_MAX}"),
            ("bad_rate", self.rate is None or 0.0 < self.rate <= RATE_MAX,
             f"{self.rate} requests a second: expected more than 0, at most {RATE_MAX:g}"),
            ("bad_workload", self.workload in workloads,
             f"no workload is called {self.workload!r}: there are {', '.join(workloads)}"),
            ("bad_payload", 0 <= self.payload <= PAYLOAD_BYTES_MAX,
             f"a payload of {self.payload} bytes: expected 0 to {PAYLOAD_BYTES_MAX}"),
            ("bad_payload", self.payload == 0 or self.workload == "null",
             f"only the null workload takes a payload: a {self.workload} has the size that it has"),
            ("bad_accounts", ACCOUNTS_MIN <= self.accounts <= ACCOUNTS_MAX,
             f"{self.accounts} accounts: expected {ACCOUNTS_MIN} to {ACCOUNTS_MAX}"),
            ("bad_verifiers", self.verifiers is None or 0 <= self.verifiers <= VERIFIERS_MAX,
             f"{self.verifiers} verifiers: expected 0 to {VERIFIERS_MAX}"),
            ("bad_faults", self.faults in FAULTS, f"no fault is called {self.faults!r}: there are {', '.join(FAULTS)}"),
            *self._parameter_checks(),
        )  # fmt: skip
        for code, holds, message in checks:
            if not holds:
                raise BenchError(code, message)

    def _parameter_checks(self) -> tuple[tuple[str, bool, str], ...]:
        """Batch and window are consensus parameters: their bounds are those of any genesis."""
        least_batch, most_batch = PARAMETER_BOUNDS["batch_requests_max"]
        least_window, most_window = PARAMETER_BOUNDS["window"]
        return (
            ("bad_batch", least_batch <= self.batch <= most_batch,
             f"batches of {self.batch}: expected {least_batch} to {most_batch}"),
            ("bad_window", least_window <= self.window <= most_window,
             f"a window of {self.window}: expected {least_window} to {most_window}"),
        )  # fmt: skip

    @property
    def run_options(self) -> tuple[str, ...]:
        """What each replica's `gridquorum run` is told beside its files."""
        return () if self.verifiers is None else ("--verifiers", str(self.verifiers))

    @property
    def protocol(self) -> ProtocolParameters:
        """The protocol's parameters of the network that is measured; what is not asked for is the product's default."""
        return ProtocolParameters(
            window=self.window,
            stride=min(DEFAULTS.stride, self.window // 4),
            batch_requests_max=self.batch,
        )


def validate_memory(replicas: int, available_bytes: int) -> None:
    """Raises BenchError `no_memory` where the replicas would push this machine into swapping or killing."""
    needed = replicas * REPLICA_BYTES
    if needed > available_bytes:
        text = f"{replicas} replicas need {needed // 2**20} MB, {available_bytes // 2**20} MB are free"
        raise BenchError("no_memory", text)


def read_available_bytes(path: Path = Path("/proc/meminfo")) -> int:
    """Memory that processes may take without swapping, as the kernel estimates it."""
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise BenchError("no_memory", f"{path} does not say how much memory is free")
