"""What is sent: the workloads of a bench, and the keys that sign them.

A workload says which contracts its network has, which transactions prepare it, and makes the next request when asked.
Requests of a workload are drawn from a fixed seed: two runs send the same. Rooms to the right add workloads through the
entry point group `gridquorum.workloads`.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from importlib.metadata import entry_points
from typing import Final, Protocol

from contracts.standard import genesis_contracts
from ledger.encoding import Value
from ledger.genesis import ContractReference, GenesisContract
from ledger.keys import SigningKey
from ledger.transaction import Transaction, sign_transaction
from pbft.bench.options import GAS_OF_A_PAYLOAD_BYTE, GAS_OF_A_REQUEST, BenchError, BenchOptions

ENTRY_POINTS: Final = "gridquorum.workloads"
SEED: Final = 20_260_101
EXPIRY_HEIGHTS: Final = 9_000  # ahead of the height at signing; the chain allows 10,000 (D46)
ENDOWMENT_NANO_EUR: Final = 1_000_000_000_000
ENDOWED_AT_ONCE: Final = 490  # accounts of one preparing transaction; `cash.post` takes 500 lines
SETUP_GAS: Final = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Where a network is when transactions for it are signed."""

    network: bytes
    height: int
    time_s: int  # UTC seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that prepares a network, and who signs it."""

    signer: SigningKey
    contract: str
    method: str
    arguments: tuple[Value, ...]
    gas_limit: int = SETUP_GAS


@dataclass(frozen=True, slots=True, kw_only=True)
class Founders:
    """Who can prepare a network: its operators, and the time of its genesis."""

    operators: tuple[SigningKey, ...]
    genesis_time_s: int
    network: bytes


class Workload(Protocol):
    """What a bench sends."""

    units: int  # of what the workload is about, in one request: 1 transfer, 100 readings
    unit: str  # its name, plural

    def contracts(self, founders: Sequence[tuple[str, bytes]]) -> Sequence[GenesisContract]:
        """The contracts of the network's genesis."""
        ...

    def preparation(self, founders: Founders) -> Sequence[Sequence[Call]]:
        """Steps of calls; those of a step may run at once, a step begins when all before it have succeeded."""
        ...

    def next_request(self, situation: Situation) -> bytes:
        """The next signed transaction."""
        ...


def find_workloads() -> tuple[str, ...]:
    """The names of all workloads there are."""
    return ("null", "transfer", *sorted(entry.name for entry in entry_points(group=ENTRY_POINTS)))


def make_workload(options: BenchOptions) -> Workload:
    """The workload of these options. Raises BenchError `bad_workload`."""
    if options.workload == "null":
        return NullWorkload(clients=options.clients, payload=options.payload)
    if options.workload == "transfer":
        return TransferWorkload(accounts=options.accounts)
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name == options.workload:
            made: Workload = entry.load()(options)
            return made
    raise BenchError("bad_workload", f"no workload is called {options.workload!r}")


def make_key(kind: str, number: int) -> SigningKey:
    """The key of somebody in a bench: the same in every run, so of no worth anywhere else."""
    return SigningKey.from_seed(hashlib.sha256(f"gridquorum bench {kind} {number}".encode()).digest())


class Accounts:
    """Keys with their next nonces."""

    def __init__(self, kind: str, count: int, *, first_nonce: int = 0) -> None:
        """`first_nonce`: of each account's first transaction; the preparation has used those below."""
        self.keys = [make_key(kind, number) for number in range(count)]
        self._nonces = [first_nonce] * count

    def sign(self, index: int, situation: Situation, contract: str, method: str, arguments: tuple[Value, ...],
             gas_limit: int) -> bytes:  # fmt: skip
        """The account's next transaction."""
        key = self.keys[index]
        nonce = self._nonces[index]
        self._nonces[index] = nonce + 1
        return sign_call(key, nonce, situation, contract, method, arguments, gas_limit)


def sign_call(
    key: SigningKey,
    nonce: int,
    situation: Situation,
    contract: str,
    method: str,
    arguments: tuple[Value, ...],
    gas_limit: int,
) -> bytes:
    """A signed transaction."""
    transaction = Transaction(
        network=situation.network,
        sender=key.public_key,
        nonce=nonce,
        expiry_height=situation.height + EXPIRY_HEIGHTS,
        expiry_time=situation.time_s + 3_600,
        gas_limit=gas_limit,
        follows=None,
        contract=contract,
        method=method,
        arguments=arguments,
        commitments=(),
    )
    return sign_transaction(transaction, key).raw


def contract_source(name: str) -> str:
    """The source of a contract that only benches deploy."""
    return resources.files(__package__).joinpath(f"{name}.contract").read_text(encoding="utf-8")


class NullWorkload:
    """Requests that do nothing: what ordering, checking and keeping cost alone."""

    units = 1
    unit = "requests"

    def __init__(self, *, clients: int, payload: int) -> None:
        self._accounts = Accounts("null", clients)
        self._payload = bytes(payload)
        self._count = 0

    def contracts(self, founders: Sequence[tuple[str, bytes]]) -> Sequence[GenesisContract]:
        """The standard ones, and one with a method that takes bytes and does nothing."""
        return (*genesis_contracts(founders), GenesisContract(name="load", source=contract_source("load")))

    def preparation(self, founders: Founders) -> Sequence[Sequence[Call]]:
        """Nothing is needed."""
        return ()

    def next_request(self, situation: Situation) -> bytes:
        """Each client in turn."""
        index = self._count % len(self._accounts.keys)
        self._count += 1
        gas = GAS_OF_A_REQUEST + GAS_OF_A_PAYLOAD_BYTE * len(self._payload)
        return self._accounts.sign(index, situation, "load", "take", (self._payload,), gas)


class TransferWorkload:
    """`cash.transfer` between random pairs of accounts, each with a key of its own."""

    units = 1
    unit = "transfers"

    def __init__(self, *, accounts: int) -> None:
        self._accounts = Accounts("transfer", accounts)
        self._random = random.Random(SEED)  # noqa: S311 - a load, no secret

    def contracts(self, founders: Sequence[tuple[str, bytes]]) -> Sequence[GenesisContract]:
        """The standard ones; `cash` takes its postings from a contract that gives each account its first money."""
        endowment = ContractReference(contract="endowment")
        standard = [
            replace(contract, arguments=(endowment,)) if contract.name == "cash" else contract
            for contract in genesis_contracts(founders)
        ]
        source = contract_source("endowment")
        cash = ContractReference(contract="cash")
        return (*standard, GenesisContract(name="endowment", source=source, arguments=(cash,)))

    def preparation(self, founders: Founders) -> Sequence[Sequence[Call]]:
        """All accounts get their money, in one step."""
        addresses = [key.public_key for key in self._accounts.keys]
        groups = [addresses[first : first + ENDOWED_AT_ONCE] for first in range(0, len(addresses), ENDOWED_AT_ONCE)]
        return (
            [
                Call(
                    signer=make_key("endower", number),
                    contract="endowment",
                    method="endow",
                    arguments=(list(group), ENDOWMENT_NANO_EUR),
                )
                for number, group in enumerate(groups)
            ],
        )

    def next_request(self, situation: Situation) -> bytes:
        """From one account to another, both drawn."""
        count = len(self._accounts.keys)
        source = self._random.randrange(count)
        target = (source + self._random.randrange(1, count)) % count
        arguments = (self._accounts.keys[target].public_key, self._random.randrange(1, 1_000_000))
        return self._accounts.sign(source, situation, "cash", "transfer", arguments, GAS_OF_A_REQUEST)
