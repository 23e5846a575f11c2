"""The demo: a real network on this machine settles a community's days, loses its primary half way, and proves it.

It owns the order of events, from an empty directory to a compared and proved result; every part is the production one:
replicas are processes of `gridquorum run`, readings leave gateways' outboxes over mutual TLS, settlement closes by
itself on chain, figures are read by vouched queries. Whatever ends it - the result, an error, Ctrl-C - ends every
process that it started. What is printed, and how, is `demo_report`'s and the command's matter.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.admission import nonce_key
from ledger.errors import InvalidProof
from ledger.keys import SigningKey
from ledger.proofs import VerifiedState, verify_proof
from ledger.quorum_certificate import parse_certificate
from meters.demo_figures import account_addresses, compute_reference, read_figures
from meters.demo_report import DemoResult, Difference, compare_figures, flatten_figures
from meters.demo_traffic import DemoFailed, Progress, Stage, Traffic, onboard, replay, wait_settled, wait_until
from meters.onboarding import CommunityPlan, GatewayMeters, Participants, assign_meters, install_meters
from meters.reference import Prices, equal_shares
from meters.series import Series
from pbft.cli.surface import uninterrupted
from pbft.client.blocking import Client
from pbft.node import local_cluster, local_network
from pbft.node.client_identity import PASSPHRASE_FILE, read_authority
from pbft.node.identity import read_operator_key, read_passphrase
from pbft.node.local_network import LocalNetwork, LocalNetworkError

COMMUNITY: Final = "sunny-lane"
ZONE: Final = "distribution-1"
PRICES: Final = Prices(supply=240_000, feed_in=80_000, community=150_000, grid_fee=60_000, community_grid_fee=30_000)
"""Micro-EUR per kWh: usual household prices; what members pay each other lies between feed-in and supply."""
COMPLETION_WAIT_S: Final = 86_400  # late readings have a day; all come here, and a kept network stays as it was
DIFFERENCES_SHOWN: Final = 20
VERIFY_SECONDS_MAX: Final = 60.0  # of the separate process that verifies the proof


class FiguresDiffer(DemoFailed):
    """The network and the slow reference disagree."""

    def __init__(self, differences: Sequence[Difference]) -> None:
        shown = [f"  {difference}" for difference in differences[:DIFFERENCES_SHOWN]]
        if len(differences) > DIFFERENCES_SHOWN:
            shown.append(f"  and {len(differences) - DIFFERENCES_SHOWN} more")
        super().__init__("\n".join([f"{len(differences)} figures differ from the reference:", *shown]))
        self.differences = tuple(differences)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the command line asked for; the series is read and checked before."""

    replicas: int = 4
    keys: str = "dynamic"
    keep: Path | None = None
    artifacts: Path | None = None  # where proof and genesis stay when the network does not


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The end of the chain, certified."""

    height: int
    state_root: str
    certificate_height: int
    signers: tuple[int, ...]


def run_demo(
    series: Series,
    options: DemoOptions,
    progress: Progress,
    *,
    serve: Callable[[DemoResult, Path], None] | None = None,
) -> DemoResult:
    """Settle a series on a fresh local network and show what came of it.

    `serve` is called with the result while the network still runs; the network ends when it returns. Raises DemoFailed,
    FiguresDiffer, and what the node and client libraries raise.
    """
    began = time.monotonic()
    series = series.ending_before(int(time.time()))
    with ExitStack() as stack:
        directory = stack.enter_context(_directory(options.keep))
        progress.step(f"start {options.replicas} replicas, each with its contract worker")
        network = local_network.prepare(
            directory, template=local_network.default_template("demo", options.replicas), port_base=0
        )
        stack.callback(_end_replicas, network)
        local_cluster.start(network)
        local_cluster.wait_ready(network)
        stage = open_stage(stack, network, series, options.keys, progress)
        onboard(stage)
        traffic = replay(stack, stage)
        progress.step("wait until the chain has closed every interval")
        wait_settled(stage)
        result = _conclude(stage, traffic, options, began)
        if serve is not None:
            serve(result, directory)
        return result


def _end_replicas(network: LocalNetwork) -> None:
    """End every replica, whoever is impatient meanwhile."""
    with uninterrupted():
        local_cluster.stop(network)


@contextlib.contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    """Where the network lives: the directory to keep, or one that is removed at the end."""
    if keep is not None:
        _validate_keep(keep)
        yield keep.absolute()
        return
    directory = Path(tempfile.mkdtemp(prefix="gridquorum-demo-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _validate_keep(keep: Path) -> None:
    """Make the directory to keep. Raises DemoFailed or LocalNetworkError where the demo cannot have it for itself.

    All of this before anything is announced, though `prepare` would find most of it too.
    """
    if (keep / "network.json").exists():
        raise DemoFailed(f"{keep} holds a network already; the demo needs a new directory")
    try:
        keep.mkdir(parents=True, exist_ok=True)
        held = next(keep.iterdir(), None)
        with tempfile.TemporaryFile(dir=keep):
            pass
    except OSError as error:
        raise LocalNetworkError("not_writable", f"{error.filename or keep}: {error.strerror}") from error
    if held is not None:
        text = f"{keep} holds something else ({held.name}): not touched; the demo needs a new directory"
        raise LocalNetworkError("foreign_directory", text)


def open_stage(stack: ExitStack, network: LocalNetwork, series: Series, keys: str, progress: Progress) -> Stage:
    """The client, everybody's keys, and the plan. The client is closed with `stack`."""
    passphrase = read_passphrase(network.client_path / PASSPHRASE_FILE)
    client = stack.enter_context(Client.open(network.directory))
    assignments = assign_meters(series)
    participants = _make_participants(network, series, assignments)
    plan = CommunityPlan(
        name=COMMUNITY,
        zone=ZONE,
        key_kind=keys,
        shares=dict.fromkeys(series.homes, 0) if keys == "dynamic" else equal_shares(series.homes),
        prices=PRICES,
        completion_wait_s=COMPLETION_WAIT_S,
    )
    return Stage(
        network=network,
        client=client,
        authority=read_authority(network.client_path, passphrase=passphrase),
        series=series,
        plan=plan,
        participants=participants,
        assignments=assignments,
        installed=install_meters(series, assignments, participants.homes, int(time.time())),
        progress=progress,
    )


def _make_participants(network: LocalNetwork, series: Series, assignments: Sequence[GatewayMeters]) -> Participants:
    """Fresh keys for everybody but the founders, whose keys the network's directory holds."""
    admins = tuple(
        read_operator_key(replica.keys_path, passphrase=read_passphrase(replica.passphrase_path))
        for replica in network.replicas
    )
    certifier, electrician, operator, manager, authority = (SigningKey.generate() for _ in range(5))
    supplier, feed_in, grid = (SigningKey.generate().public_key for _ in range(3))
    return Participants(
        admins=admins,
        certifier=certifier,
        electrician=electrician,
        meter_operator=operator,
        manager=manager,
        tariff_authority=authority,
        gateways=tuple(assigned.key for assigned in assignments),
        homes={home: SigningKey.generate().public_key for home in series.homes},
        supplier=supplier,
        feed_in=feed_in,
        grid=grid,
    )


def _conclude(stage: Stage, traffic: Traffic, options: DemoOptions, began: float) -> DemoResult:
    """Read every figure, hold them against the reference, prove a receipt in another process. Raises DemoFailed."""
    stage.progress.step("read the figures by vouched queries, compare with the reference")
    accounts = account_addresses(stage.participants)
    height = stage.client.head(wanted=len(stage.network.replicas)).height
    figures = read_figures(stage.client, stage.plan, stage.series, accounts, min_height=height)
    reference = compute_reference(stage.series, stage.plan, accounts)
    _compare(figures, reference)
    status = _level_status(stage.network)
    head = _certified_head(stage, height)
    stage.progress.step("prove a receipt to a separate process")
    proof_path, genesis_path = _write_proof(stage, traffic, options)
    verify_in_process(proof_path, genesis_path)
    return DemoResult(
        replicas=len(stage.network.replicas),
        intervals=len(stage.series.starts),
        interval_seconds=stage.series.interval_s,
        keys=stage.plan.key_kind,
        readings_submitted=traffic.readings_submitted,
        readings_accepted=traffic.readings_accepted,
        readings_refused=traffic.readings_refused,
        energy=figures.energy,
        homes=figures.homes,
        accounts=figures.accounts,
        tariffs=figures.tariffs,
        killed=(traffic.killed,),
        height=head.height,
        state_root=head.state_root,
        primary=status["primary"],
        view=status["view"],
        certificate_height=head.certificate_height,
        certificate_signers=head.signers,
        proofs_verified=1,
        proof_path=str(proof_path),
        seconds=time.monotonic() - began,
        next_steps=next_steps(options, proof_path, genesis_path),
    )


def _compare(figures: Any, reference: Any) -> None:
    """Raise FiguresDiffer unless both sides agree on everything, and DemoFailed unless the sums are zero."""
    network_says = flatten_figures(figures.energy, figures.homes, figures.accounts, figures.tariffs)
    reference_says = flatten_figures(reference.energy, reference.homes, reference.accounts, reference.tariffs)
    differences = compare_figures(network_says, reference_says)
    if differences:
        raise FiguresDiffer(differences)
    if sum(figures.accounts.values()) != 0:
        raise DemoFailed(f"money does not sum to 0: {sum(figures.accounts.values())} nano-EUR left")


def _level_status(network: LocalNetwork) -> dict[str, Any]:
    """The status of all replicas once all have one height and state root."""

    def look() -> dict[str, Any] | None:
        status = local_cluster.status(network)
        heads = {(replica["height"], replica["state_root"]) for replica in status["replicas"]}
        return status if len(heads) == 1 and None not in next(iter(heads)) else None

    found: dict[str, Any] = wait_until(look, "all replicas have one height and state root")
    return found


def _certified_head(stage: Stage, height: int) -> _Head:
    """Height, state root and certificate at or above a height, out of a verified proof."""
    key = nonce_key(stage.assignments[0].key.public_key)
    proof = stage.client.state_proof(key, min_height=height)
    verified = verify_proof(proof, stage.client.network.genesis_bytes)
    if not isinstance(verified, VerifiedState):
        raise InvalidProof("other_subject", "the proof is of something else")
    certificate = parse_certificate(bytes.fromhex(json.loads(proof)["certificate"]))
    return _Head(
        height=verified.header.height,
        state_root=verified.header.state_root.hex(),
        certificate_height=certificate.height,
        signers=tuple(replica for replica, _signature in certificate.signatures),
    )


def _write_proof(stage: Stage, traffic: Traffic, options: DemoOptions) -> tuple[Path, Path]:
    """The proof of the last gateway request's receipt, and the genesis file beside it."""
    proof = stage.client.receipt_proof(traffic.verdicts[-1].tx_id)
    genesis_path = stage.network.genesis_path
    directory = stage.network.directory
    if options.keep is None and options.artifacts is not None:
        directory = options.artifacts
        directory.mkdir(parents=True, exist_ok=True)
        genesis_path = directory / "genesis.json"
        genesis_path.write_bytes(stage.client.network.genesis_bytes)
    proof_path = directory / "proof.json"
    proof_path.write_bytes(proof)
    return proof_path, genesis_path


def verify_in_process(proof_path: Path, genesis_path: Path) -> None:
    """Run `gridquorum proof verify` as a process of its own. Raises DemoFailed with what it said."""
    command = [sys.executable, "-m", "pbft.cli", "proof", "verify", str(proof_path), "--genesis", str(genesis_path)]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        command, capture_output=True, text=True, timeout=VERIFY_SECONDS_MAX, check=False
    )
    if done.returncode != 0:
        raise DemoFailed(f"the proof did not verify (exit {done.returncode}): {done.stderr.strip()}")


def next_steps(options: DemoOptions, proof_path: Path, genesis_path: Path) -> tuple[str, ...]:
    """Commands to go on with, each on a line of its own."""
    verify = f"gridquorum proof verify {proof_path} \\\n      --genesis {genesis_path}"
    if options.keep is None:
        keep = "gridquorum demo --keep DIR       keeps the network"
        return (verify, keep, "gridquorum up --data-dir DIR     goes on with it")
    return (verify, f"gridquorum up --data-dir {options.keep}", f"gridquorum status --data-dir {options.keep}")
