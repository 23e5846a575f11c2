"""The whole demo with real processes: sums against the reference, a killed primary, a kept network, a changed rule."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from ledger.errors import InvalidProof
from ledger.keys import SigningKey
from ledger.proofs import VerifiedReceipt, verify_proof
from meters.batch import Batch, GroupChain
from meters.demo import open_stage, verify_in_process
from meters.demo_progress import PlainProgress
from meters.demo_report import EnergyLines, HomeResult
from meters.demo_traffic import Stage, onboard, read_places, wait_until
from meters.gateway import begin_chains, compute_gas_limit
from meters.onboarding import GatewayMeters
from meters.reading import Reading
from meters.reference import Prices, SharingKey, equal_shares, settle_series
from meters.series import Series, shipped_series
from pbft.client.account import Account
from pbft.core.client_session import Committed
from pbft.node import local_cluster, local_network

pytestmark = pytest.mark.drill

REPOSITORY: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-m", "pbft.cli")
DEMO_SECONDS_MAX: Final = 150.0
HOUR: Final = 3600


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


def run(*arguments: str, cwd: Path, python_path: Path | None = None) -> Ended:
    """Run `gridquorum ...` in a folder of its own, and wait for it."""
    environment = dict(os.environ) if python_path is None else {**os.environ, "PYTHONPATH": str(python_path)}
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS_MAX,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def small_series(intervals: int = 4) -> Series:
    """The shipped homes around noon, when there is something to share: fast, and still real."""
    noon = next(index for index in range(24) if sum(values[index] for values in shipped_series().pv_wh.values()) > 0)
    return shipped_series().slice(noon + 4, intervals)


def write_csv(series: Series, path: Path) -> Path:
    columns = series.meters
    rows = [",".join(["epoch_start", *(column.meter for column in columns)])]
    for index, start in enumerate(series.starts):
        rows.append(",".join([str(start), *(str(series.values_of(column)[index]) for column in columns)]))
    path.write_text("\n".join(rows) + "\n", encoding="ascii")
    return path


def check_against_reference(document: Any, series: Series, kind: str) -> None:
    """Every Wh and every nano-EUR of the JSON, against the slow reference with the prices that the JSON shows."""
    weights = equal_shares(series.homes)
    prices = Prices(**document["tariffs"])
    settled = settle_series(series, SharingKey(kind=kind, weights=weights), [prices])  # type: ignore[arg-type]
    total = settled.total
    assert document["energy"] == {
        "load_wh": total.load_wh,
        "pv_wh": total.pv_wh,
        "own_use_wh": total.own_use_wh,
        "shared_wh": total.bought_wh,
        "grid_import_wh": total.import_wh,
        "grid_export_wh": total.export_wh,
    }
    assert [home["home"] for home in document["homes_detail"]] == list(series.homes)
    for home in document["homes_detail"]:
        expected = settled.homes[home["home"]]
        assert (home["load_wh"], home["shared_wh"], home["net_nano_eur"]) == (
            expected.load_wh,
            expected.bought_wh,
            expected.net,
        )
        lines = EnergyLines(**{line: home[line] for line in document["energy"]})
        bill = HomeResult(home=home["home"], energy=lines, net_nano_eur=home["net_nano_eur"])
        assert bill.recompute_net_nano_eur(document["tariffs"]) == home["net_nano_eur"]
        assert document["accounts"][home["home"]] == home["net_nano_eur"]
    assert document["money_sum_nano_eur"] == 0 == sum(document["accounts"].values())
    assert total.load_wh == series.load_total_wh() and total.pv_wh == series.pv_total_wh()


def processes_of(directory: Path) -> list[str]:
    """Command lines of running processes that name a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(directory) in line:
            found.append(line)
    return found


def test_a_day_under_hybrid_keys_kept_and_started_again(tmp_path: Path) -> None:
    """The full demo; then `up` on what it kept: same height and root, and old receipts still prove."""
    kept = tmp_path / "kept"
    done = run("demo", "--json", "--keys", "hybrid", "--keep", str(kept), cwd=tmp_path)
    assert done.code == 0, done.err
    document = done.document
    assert (document["v"], document["replicas"], document["homes"], document["intervals"]) == (1, 4, 17, 24)
    assert document["readings_submitted"] == document["readings_accepted"] == 24 * 34
    assert document["readings_refused"] == {}
    check_against_reference(document, shipped_series().days(1), "hybrid")
    (killed,) = document["killed"]
    assert killed["view_after"] > killed["view_before"] and 0 < killed["height"] < document["height"]
    assert processes_of(kept) == []

    again = run("up", "--data-dir", str(kept), "--detach", "--json", cwd=tmp_path)
    try:
        assert again.code == 0, again.err
        heads = {(replica["height"], replica["state_root"]) for replica in again.document["replicas"]}
        assert heads == {(document["height"], document["state_root"])}
        proof, genesis = kept / "proof.json", kept / "genesis.json"
        verified = run("proof", "verify", str(proof), "--genesis", str(genesis), "--json", cwd=tmp_path)
        tx_id = verified.document["tx"]
        exported = run("proof", "export", tx_id, "--out", "again.json", "--data-dir", str(kept), cwd=tmp_path)
        assert exported.code == 0, exported.err
        verify_in_process(tmp_path / "again.json", genesis)
    finally:
        run("down", "--data-dir", str(kept), cwd=tmp_path)
    assert processes_of(kept) == []


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_a_short_series_under_the_other_keys(tmp_path: Path, kind: str) -> None:
    """A file of one's own; nothing is kept, and the proof that stays is verified by another process."""
    series = small_series()
    path = write_csv(series, tmp_path / "series.csv")
    done = run("demo", "--json", "--data", str(path), "--keys", kind, cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.document["intervals"] == len(series.starts)
    check_against_reference(done.document, series, kind)
    left = tmp_path / ".gridquorum" / "demo"
    verify_in_process(left / "proof.json", left / "genesis.json")


def test_a_changed_rule_fails_the_demo_by_name(tmp_path: Path) -> None:
    """One rule of the settlement contract is changed in a copy of the packages, so that it settles, but at another fee:
    the difference is named, and is one of money alone."""
    tree = tmp_path / "tree"
    for package in ("ledger", "contracts", "pbft", "meters"):
        shutil.copytree(REPOSITORY / package, tree / package)
    contract = tree / "contracts" / "standard" / "settlement.py"
    source = contract.read_text(encoding="utf-8")
    changed = source.replace("part.bought_wh * tariff.community_grid_fee", "part.bought_wh * tariff.grid_fee")
    assert changed != source
    contract.write_text(changed, encoding="utf-8")
    path = write_csv(small_series(), tmp_path / "series.csv")
    done = run("demo", "--json", "--data", str(path), cwd=tmp_path, python_path=tree)
    assert done.code == 1 and done.out == ""
    assert "figures differ from the reference" in done.err
    assert "net_nano_eur: the network says" in done.err and "the reference" in done.err
    assert "_wh" not in done.err


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    """Interrupted in the middle of the traffic: exit 130, no process and no folder left."""
    kept = tmp_path / "kept"
    child = subprocess.Popen(
        [*COMMAND, "demo", "--keep", str(kept)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stderr is not None
    for line in child.stderr:  # ends when the demo does: then the assertion below says so
        if "submit" in line:
            break
    assert child.poll() is None
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert out == "" and "Traceback" not in err
    assert processes_of(kept) == []


# --- readings that must be refused, through a real cluster ---


def in_a_thread(test: Callable[..., None]) -> "Callable[..., Deferred[None]]":
    """Run a test that uses the blocking client beside the reactor, which pytest-twisted runs in the main thread."""

    @wraps(test)
    def run_test(**arguments: Any) -> "Deferred[None]":
        return deferToThread(test, **arguments)

    return run_test


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Four real replicas with an onboarded community, whose gateways are the tests'."""
    directory = tmp_path_factory.mktemp("refusals")
    stack = ExitStack()

    def open_and_onboard() -> Stage:
        network = local_network.prepare(directory, port_base=0)
        stack.callback(local_cluster.stop, network)
        local_cluster.start(network)
        local_cluster.wait_ready(network)
        series = small_series(6).ending_before(int(directory.stat().st_mtime))
        opened = open_stage(stack, network, series, "dynamic", PlainProgress())
        onboard(opened)
        return opened

    try:
        yield pytest_twisted.blockon(deferToThread(open_and_onboard))
    finally:
        pytest_twisted.blockon(deferToThread(stack.close))


class Sender:
    """A gateway's hand: makes readings of its meters, right or wrong, and sends them as it likes."""

    def __init__(self, stage: Stage, assigned: GatewayMeters) -> None:
        self.stage = stage
        self.client = stage.client
        nonces = self.client.read_nonces(assigned.key.public_key)
        self.account = Account(assigned.key, network=self.client.network.network_id, nonces=nonces)
        self.columns = assigned.columns
        self.places = read_places(stage)
        (self.chain,) = begin_chains(self.client.network.network_id, assigned.columns, self.places, HOUR)

    def batch(self, index: int) -> Batch:
        """The true readings of an interval; the chain goes on."""
        energies = {column.meter: self.stage.series.values_of(column)[index] for column in self.columns}
        batch, self.chain = self.chain.append(self.stage.series.starts[index], energies)
        return batch

    def take(self, batch: Batch, number: int) -> Reading:
        """One of the gateway's readings by itself, by its order in the batch."""
        return batch.readings(self.chain.meters)[number]

    def alone(self, reading: Reading) -> Batch:
        """A batch of one place."""
        place = self.places[reading.meter]
        return Batch.gather(place.group, {place.number: reading})

    def submit(self, *batches: Batch) -> tuple[Committed, list[str]]:
        """What became of batches in one transaction; the codes of their places, which all have a reading."""
        outcome = self.client.submit(
            self.account,
            "readings",
            "submit",
            [batch.to_list() for batch in batches],
            gas_limit=compute_gas_limit(sum(batch.count for batch in batches)),
        )
        assert isinstance(outcome, Committed), outcome
        codes = outcome.receipt.value
        assert isinstance(codes, list)
        return outcome, [str(code) for code in codes]


def with_register_at_zero(batch: Batch) -> Batch:
    """The batch with the register of its first reading fallen to 0."""
    return replace(batch, registers=(0, *batch.registers[1:]), energies=(0, *batch.energies[1:]))


def settled_intervals(stage: Stage) -> int:
    fields = stage.client.query("settlement", "home_totals", stage.plan.name, stage.series.homes[-1]).value
    return int(fields[0])


@in_a_thread
def test_bad_readings_are_refused_with_codes_that_prove_and_the_rest_settles(stage: Stage, tmp_path: Path) -> None:
    """Wrong key, twice, future, overlapping, decreasing, not certified: each has its code in a receipt that proves."""
    senders = [Sender(stage, assigned) for assigned in stage.assignments]
    first, second, *others = senders
    refused: dict[str, bytes] = {}

    def expect(sender: Sender, good: Batch, bad: Batch, code: str) -> None:
        """The bad reading before good ones: it alone is refused."""
        outcome, codes = sender.submit(bad, good)
        assert codes == [code] + ["accepted"] * good.count
        refused[code] = outcome.reply.tx_id

    good = first.batch(0)
    foreign = second.take(second.chain.append(stage.series.starts[0], {second.columns[0].meter: 1})[0], 0)
    expect(first, good, second.alone(foreign), "wrong_key")
    own = second.batch(0)
    nobody = Batch.gather("never_certified", {0: replace(second.take(own, 0), meter="never_certified")})
    expect(second, own, nobody, "unknown_meter")
    for sender in others:
        sender.submit(sender.batch(0))

    again = first.take(good, 0)
    late = first.batch(1)
    expect(first, late, first.alone(again), "duplicate")
    other = first.take(late, 0)
    future = replace(other, sequence=50, start=stage.series.starts[-1] + 240 * HOUR, previous=late.digest)
    expect(first, first.batch(2), first.alone(future), "future")
    overlap = replace(other, sequence=51, start=stage.series.starts[1] + HOUR // 2)
    expect(first, first.batch(3), first.alone(overlap), "overlap")
    outcome, codes = first.submit(with_register_at_zero(first.batch(4)))
    assert codes == ["decreasing"] + ["accepted"] * (len(codes) - 1)
    refused["decreasing"] = outcome.reply.tx_id
    _outcome, codes = first.submit(first.alone(first.take(first.batch(5), 0)))
    assert codes == ["not_active"], f"{first.chain.meters[0]} is suspended until its operator has looked"

    wait_until(lambda: settled_intervals(stage) == 1 or None, "the first interval is settled")
    genesis = stage.client.network.genesis_bytes
    for code, tx_id in refused.items():
        verified = verify_proof(stage.client.receipt_proof(tx_id), genesis)
        assert isinstance(verified, VerifiedReceipt)
        assert code in verified.receipt.value  # type: ignore[operator]
    path = tmp_path / "refused.json"
    path.write_bytes(stage.client.receipt_proof(refused["wrong_key"]))
    verify_in_process(path, stage.network.genesis_path)


@in_a_thread
def test_a_meter_that_is_only_requested_has_no_right_yet(stage: Stage) -> None:
    """Certified and activated are steps that count: a requested meter's reading is not_active."""
    key = SigningKey.generate()
    account = Account(key, network=stage.client.network.network_id)
    request = ["attic_load", "h01", key.public_key, "load", 0, HOUR, 14_500, bytes(32)]
    assert isinstance(stage.client.submit(account, "meters", "request", [request]), Committed)
    meters = {0: ("attic_load", "load", 0)}
    chain = GroupChain.begin(stage.client.network.network_id, "attic_load", HOUR, meters)
    batch, _ = chain.append(stage.series.starts[0], {"attic_load": 5})
    outcome = stage.client.submit(account, "readings", "submit", [batch.to_list()])
    assert isinstance(outcome, Committed) and outcome.receipt.value == ["not_active"]


@in_a_thread
def test_the_same_transaction_twice_has_the_same_receipt(stage: Stage) -> None:
    """Sent again after its answer: the first receipt at the first height, no second one (D43)."""
    account = Account(SigningKey.generate(), network=stage.client.network.network_id)
    assert isinstance(stage.client.submit(account, "ping", "ping"), Committed)
    height = stage.client.head().height
    signed = account.sign(
        "ping",
        "ping",
        [],
        nonce=account.nonces.reserve(),
        expiry_height=height + 100,
        expiry_time=2**39,
        gas_limit=100_000,
    )
    first = stage.client.submit_signed(signed)
    second = stage.client.submit_signed(signed)
    assert isinstance(first, Committed) and isinstance(second, Committed)
    assert first.reply == second.reply


@in_a_thread
def test_a_proof_with_any_byte_changed_is_refused(stage: Stage, tmp_path: Path) -> None:
    """`proof verify` ends with 13 for a changed, cut or longer proof, and for another genesis."""
    account = Account(SigningKey.generate(), network=stage.client.network.network_id)
    outcome = stage.client.submit(account, "ping", "ping")
    assert isinstance(outcome, Committed)
    proof = stage.client.receipt_proof(outcome.reply.tx_id)
    genesis = stage.client.network.genesis_bytes
    for position in range(0, len(proof), 97):
        flipped = bytearray(proof)
        flipped[position] ^= 1
        with pytest.raises(InvalidProof):
            verify_proof(bytes(flipped), genesis)
    cases = {
        "flipped": (proof[:200] + bytes([proof[200] ^ 1]) + proof[201:], genesis),
        "cut": (proof[:-1], genesis),
        "longer": (proof + b"\n", genesis),
        "genesis": (proof, genesis + b" "),
    }
    for name, (proof_bytes, genesis_bytes) in cases.items():
        (tmp_path / f"{name}.json").write_bytes(proof_bytes)
        (tmp_path / f"{name}-genesis.json").write_bytes(genesis_bytes)
        done = run("proof", "verify", f"{name}.json", "--genesis", f"{name}-genesis.json", "--json", cwd=tmp_path)
        assert (done.code, done.out) == (13, ""), name
