"""Evidence as files: kept once and within bounds, and judged by somebody who has the genesis file and nothing else."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.block import compute_batch_digest
from ledger.configuration import PARAMETER_BOUNDS, ProtocolParameters
from ledger.epochs import EpochLink
from ledger.hashing import NULL_DIGEST
from ledger.transaction import TRANSACTION_BYTES_MAX, Transaction, sign_transaction
from pbft.cli.evidence import evidence as command
from pbft.core.actions import Evidence
from pbft.core.messages import Batch, Commit, Envelope, NewView, Prepare, PrePrepare, SlotChoice, ViewChange
from pbft.node.evidence_judge import judge
from pbft.node.evidence_store import BYTES_MAX, PIECES_MAX, EvidenceStore, list_evidence
from pbft.node.log import make_logger
from pbft.simulation.cluster import Cluster
from pbft.simulation.liars import sealed
from pbft.simulation.membership import change_key, compute_next, has_entered, submit_votes
from pbft.wire.codec import WireRules, parse_request
from pbft.wire.evidence import EVIDENCE_BYTES_MAX, InvalidEvidence, compute_evidence_id, encode_evidence


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """Real keys, a real genesis."""
    return Cluster()


def two_prepares(cluster: Cluster, height: int, accused: int = 2) -> Evidence:
    first, second = (
        sealed(cluster, accused, Prepare(epoch=0, view=0, height=height, digest=bytes([number]) * 32))
        for number in (1, 2)
    )
    return Evidence(replica=accused, kind="equivocation_prepare", view=0, height=height, first=first, second=second)


def false_new_view(cluster: Cluster) -> Evidence:
    """A NEW-VIEW of r1 with a choice that nobody prepared, over VIEW-CHANGEs with true signatures."""
    change = ViewChange(
        epoch=0,
        view=1,
        certified_height=0,
        header_hash=cluster.node(0).chain.header(0).hash,
        certificate=None,
        prepared=(),
        pre_prepared=(),
    )
    changes = tuple(sealed(cluster, sender, change) for sender in (0, 1, 2))
    message = NewView(epoch=0, view=1, view_changes=changes, choices=(SlotChoice(height=1, digest=NULL_DIGEST),))
    first = sealed(cluster, 1, message)
    return Evidence(replica=1, kind="invalid_new_view", view=1, height=0, first=first, second=None)


def no_links(epoch: int) -> tuple[EpochLink, ...]:
    """The way to the first epoch."""
    assert epoch == 0
    return ()


def open_store(path: Path, cluster: Cluster, stream: StringIO | None = None) -> EvidenceStore:
    return EvidenceStore(path, cluster.genesis.network_id, make_logger(replica=0, stream=stream or StringIO()))


def test_a_piece_is_kept_once_also_over_restarts(tmp_path: Path, cluster: Cluster) -> None:
    """M54: whoever repeats an offence adds no file, no log line and no count, in whichever order the two came."""
    stream = StringIO()
    piece = two_prepares(cluster, 5)
    assert piece.second is not None
    store = open_store(tmp_path / "evidence", cluster, stream)
    assert store.record(piece, no_links)
    assert not store.record(piece, no_links)
    assert not store.record(replace(piece, first=piece.second, second=piece.first), no_links)
    assert not open_store(tmp_path / "evidence", cluster, stream).record(piece, no_links)
    assert len(list_evidence(tmp_path / "evidence")) == 1
    assert len(stream.getvalue().splitlines()) == 1
    assert open_store(tmp_path / "evidence", cluster).accused == ((0, 2),)


def test_one_offender_fills_only_its_own_share(tmp_path: Path, cluster: Cluster) -> None:
    """M55: a flood of one kind ends at its bound; another kind and another offender still find room."""
    store = open_store(tmp_path / "evidence", cluster)
    kept = [store.record(two_prepares(cluster, height), no_links) for height in range(1, PIECES_MAX + 4)]
    assert kept == [True] * PIECES_MAX + [False] * 3
    assert store.record(two_prepares(cluster, 1, accused=3), no_links)
    assert store.record(false_new_view(cluster), no_links)
    assert store.accused == ((0, 1), (0, 2), (0, 3))


def largest_proposals(cluster: Cluster) -> Evidence:
    """Two proposals of r0, each with transactions of the greatest length up to the bytes that its batch may have."""
    key, rules = cluster.client_key(0), WireRules.of(cluster.genesis.configuration)

    def raw(nonce: int, padding: int) -> bytes:
        transaction = Transaction(
            network=cluster.genesis.network_id,
            sender=key.public_key,
            nonce=nonce,
            expiry_height=1_000,
            expiry_time=1_900_000_000,
            gas_limit=100_000,
            contract="register",
            method="write",
            arguments=(bytes(padding),),
            commitments=(),
        )
        return sign_transaction(transaction, key).raw

    padding = 130_000 + TRANSACTION_BYTES_MAX - len(raw(1_000, 130_000))
    count = rules.batch_bytes_max // TRANSACTION_BYTES_MAX
    requests = tuple(parse_request(raw(1_000 + number, padding), rules) for number in range(count))
    assert sum(request.size_bytes for request in requests) == rules.batch_bytes_max

    def proposal(time_ms: int) -> Envelope:
        digest, _ = compute_batch_digest(time_ms, [request.raw for request in requests])
        batch = Batch(time_ms=time_ms, requests=requests, digest=digest)
        return sealed(cluster, 0, PrePrepare(epoch=0, view=0, height=1, digest=digest, batch=batch))

    first, second = proposal(1), proposal(2)
    return Evidence(replica=0, kind="equivocation_pre_prepare", view=0, height=1, first=first, second=second)


def test_the_largest_contradiction_is_kept_and_convicts(tmp_path: Path) -> None:
    """M54, M17: what fills a share is kept where nothing else is, once, and no file is kept that its judge refuses."""
    cluster = Cluster(protocol=ProtocolParameters(batch_bytes_max=PARAMETER_BOUNDS["batch_bytes_max"][1]))
    store, piece = open_store(tmp_path, cluster), largest_proposals(cluster)
    assert store.record(piece, no_links)
    (file,) = list_evidence(tmp_path)
    assert file.stat().st_size > BYTES_MAX
    assert judge(file.read_bytes(), cluster.genesis_file).kind == "equivocation_pre_prepare"
    assert not store.record(two_prepares(cluster, 5, accused=0), no_links)
    assert store.record(two_prepares(cluster, 5), no_links)


def test_every_envelope_that_a_genesis_allows_fits_into_a_file() -> None:
    """M54: two NEW-VIEWs of the largest network take more than two proposals; the bound follows from both."""
    widest = WireRules.widest(bytes(32))
    assert widest.envelope_bytes_max > widest.batch_bytes_max
    assert 4 * widest.envelope_bytes_max < EVIDENCE_BYTES_MAX


def test_a_full_disk_loses_evidence_and_nothing_else(tmp_path: Path, cluster: Cluster) -> None:
    """No promise hangs on evidence: what cannot be written is said."""
    stream = StringIO()
    (tmp_path / "evidence").write_text("a file in the way")
    assert open_store(tmp_path / "evidence", cluster, stream).record(two_prepares(cluster, 5), no_links)
    assert "evidence_not_kept" in stream.getvalue()


def test_the_genesis_is_enough_to_judge(cluster: Cluster) -> None:
    """M54: two PREPAREs, and a NEW-VIEW that is recomputed from its own V, its block 0 from the genesis."""
    for piece in (two_prepares(cluster, 5), false_new_view(cluster)):
        data = encode_evidence(piece, cluster.genesis.network_id, ())
        proved = judge(data, cluster.genesis_file)
        assert (proved.replica, proved.kind, proved.view, proved.height) == (
            piece.replica,
            piece.kind,
            piece.view,
            piece.height,
        )


def forged(cluster: Cluster, document: dict[str, object]) -> bytes:
    return (json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n").encode()


def test_no_forgery_convicts(cluster: Cluster) -> None:
    """Another accused, another place, a changed signature, a broken form, another network: each has its code."""
    network = cluster.genesis.network_id
    piece = two_prepares(cluster, 5)
    document = json.loads(encode_evidence(piece, network, ()))
    signature = document["envelopes"][0]["signature"]
    flipped = [{**document["envelopes"][0], "signature": signature[:-2] + "00"}, document["envelopes"][1]]
    cases: list[tuple[bytes, str]] = [
        (forged(cluster, document | {"replica": 1}), "evidence_of_another"),
        (forged(cluster, document | {"height": 6}), "evidence_no_contradiction"),
        (forged(cluster, document | {"kind": "equivocation_commit"}), "evidence_no_contradiction"),
        (forged(cluster, document | {"kind": "heresy"}), "kind"),
        (forged(cluster, document | {"envelopes": document["envelopes"][:1]}), "evidence_of_another"),
        (forged(cluster, document | {"envelopes": flipped}), "envelope_signature"),
        (forged(cluster, document | {"envelopes": []}), "shape"),
        (forged(cluster, document | {"height": True}), "shape"),
        (forged(cluster, document | {"extra": 1}), "shape"),
        (forged(cluster, document | {"epochs": "00"}), "shape"),
        (forged(cluster, document | {"epochs": ["00"]}), "epoch"),
        (forged(cluster, document) + b"\n", "shape"),
        (encode_evidence(piece, bytes(32), ()), "network"),
        (b"[" * 100_000, "json"),
        (b"\xff", "json"),
    ]
    for data, code in cases:
        with pytest.raises(InvalidEvidence) as caught:
            judge(data, cluster.genesis_file)
        assert caught.value.code == code
    with pytest.raises(InvalidEvidence) as caught:
        judge(encode_evidence(piece, network, ()), cluster.genesis_file[:-1])
    assert caught.value.code == "genesis"


def test_what_is_true_convicts_nobody(cluster: Cluster) -> None:
    """The same vote twice; a NEW-VIEW that follows from its V, whose block 0 the judge computes himself."""
    vote = Commit(epoch=0, view=0, height=3, digest=bytes(32))
    once, twice = sealed(cluster, 2, vote), sealed(cluster, 2, vote, vote)
    said = replace(two_prepares(cluster, 3), kind="equivocation_commit", first=once, second=twice)
    (false,) = false_new_view(cluster).first.messages
    assert isinstance(false, NewView)
    followed = replace(false_new_view(cluster), first=sealed(cluster, 1, replace(false, choices=())))
    for piece, code in ((said, "evidence_no_contradiction"), (followed, "evidence_holds_nothing")):
        with pytest.raises(InvalidEvidence) as caught:
            judge(encode_evidence(piece, cluster.genesis.network_id, ()), cluster.genesis_file)
        assert caught.value.code == code


# --- of a later epoch ---


@pytest.fixture(scope="module")
def later() -> Cluster:
    """A network in epoch 1, in which machines 2 and 3 have changed places, and all of them but 0 their keys."""
    cluster = Cluster(protocol=ProtocolParameters(window=8, stride=2))
    cluster.run(200)
    submit_votes(cluster, compute_next(cluster, machines=(0, 1, 3, 2), generations=dict.fromkeys((1, 2, 3), 1)))
    assert cluster.run(60_000, lambda: has_entered(cluster, 1)), cluster.describe()
    cluster.run(50)  # the core enters before the end of its turn, the ledger has the epoch's link after it
    for machine in (1, 2, 3):
        change_key(cluster, machine)
    return cluster


def of_epoch_one(later: Cluster) -> tuple[Evidence, list[EpochLink]]:
    """Two PREPAREs of machine 3, which is replica 2 of epoch 1, and the way to that epoch."""
    votes = (Prepare(epoch=1, view=0, height=20, digest=bytes([number]) * 32) for number in (1, 2))
    first, second = (sealed(later, 3, vote) for vote in votes)
    piece = Evidence(replica=2, kind="equivocation_prepare", view=0, height=20, first=first, second=second)
    return piece, list(later.node(0).chain.epoch_links(1))


def test_evidence_of_a_later_epoch_convicts_with_the_genesis_alone(later: Cluster) -> None:
    """M54, M57: the file brings the end of every epoch before; the keys that genesis lists sign no more."""
    piece, links = of_epoch_one(later)
    data = encode_evidence(piece, later.genesis.network_id, links)
    proved = judge(data, later.genesis_file)
    assert (proved.epoch, proved.replica, proved.height) == (1, 2, 20)


def test_a_new_view_of_a_later_epoch_is_recomputed_from_its_base(later: Cluster) -> None:
    """M43: VIEW-CHANGEs name the last header of the epoch before, which the file's own links bring."""
    _, links = of_epoch_one(later)
    base = links[-1].header
    change = ViewChange(
        epoch=1, view=1, certified_height=base.height, header_hash=base.hash, certificate=None, prepared=(),
        pre_prepared=(),
    )  # fmt: skip
    changes = tuple(sealed(later, machine, change) for machine in (0, 1, 3))  # ids 0, 1, 2
    followed = NewView(epoch=1, view=1, view_changes=changes, choices=())
    chosen = replace(followed, choices=(SlotChoice(height=base.height + 1, digest=NULL_DIGEST),))
    files = []
    for message in (chosen, followed):
        first = sealed(later, 3, message)  # members[(1 + 1) mod 4]
        piece = Evidence(replica=2, kind="invalid_new_view", view=1, height=0, first=first, second=None)
        files.append(encode_evidence(piece, later.genesis.network_id, links))
    assert judge(files[0], later.genesis_file).replica == 2
    with pytest.raises(InvalidEvidence) as caught:
        judge(files[1], later.genesis_file)
    assert caught.value.code == "evidence_holds_nothing"


def test_no_other_way_leads_to_a_later_epoch(later: Cluster) -> None:
    """Links that are missing, too many, uncertified or lead elsewhere, and an epoch other than the claim's, convict
    nobody: its replica 2 is another machine than that of epoch 0."""
    piece, (link,) = of_epoch_one(later)
    first = sealed(later, 0, Prepare(epoch=0, view=0, height=20, digest=bytes([1]) * 32))
    second = sealed(later, 0, Prepare(epoch=0, view=0, height=20, digest=bytes([2]) * 32))
    early = replace(piece, replica=0, first=first, second=second)  # its key is the same in both epochs
    few = replace(link.certificate, signatures=link.certificate.signatures[:2])
    renamed = replace(link, header=replace(link.header, next_config_hash=bytes(32)))
    network = later.genesis.network_id
    cases = [
        (piece, [], "epoch"),
        (piece, [link, link], "epoch"),
        (piece, [replace(link, certificate=few)], "epoch"),
        (piece, [replace(link, document=later.genesis.configuration.to_bytes())], "epoch"),
        (piece, [renamed], "epoch"),
        (replace(piece, replica=3), [link], "evidence_of_another"),
        (early, [link], "evidence_no_contradiction"),
    ]
    assert judge(encode_evidence(early, network, ()), later.genesis_file).replica == 0
    for claimed, links, code in cases:
        with pytest.raises(InvalidEvidence) as caught:
            judge(encode_evidence(claimed, network, links), later.genesis_file)
        assert caught.value.code == code


def test_a_piece_has_one_id_whichever_quorum_ended_the_epoch(later: Cluster) -> None:
    """Replicas keep different signatures under the header that ends an epoch."""
    piece, (link,) = of_epoch_one(later)
    other = replace(link, certificate=replace(link.certificate, signatures=link.certificate.signatures[1:]))
    files = [encode_evidence(piece, later.genesis.network_id, [way]) for way in (link, other)]
    assert files[0] != files[1]
    assert len({compute_evidence_id(data) for data in files}) == 1


def test_nobody_inherits_the_pieces_of_who_had_its_id(tmp_path: Path, later: Cluster) -> None:
    """D41: replica 2 of epoch 0 has filled its share; replica 2 of epoch 1 is another member, with its own."""
    piece, links = of_epoch_one(later)
    store = open_store(tmp_path / "evidence", later)
    for height in range(PIECES_MAX + 1):
        old = [sealed(later, 2, Prepare(epoch=0, view=0, height=height, digest=bytes([n]) * 32)) for n in (1, 2)]
        store.record(replace(piece, height=height, first=old[0], second=old[1]), no_links)
    assert store.record(piece, lambda epoch: tuple(links[:epoch]))
    assert open_store(tmp_path / "evidence", later).accused == ((0, 2), (1, 2))
    (kept,) = (file for file in list_evidence(tmp_path / "evidence") if file.name.startswith("e1-r2-"))
    assert judge(kept.read_bytes(), later.genesis_file).epoch == 1


# --- the commands ---


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), standalone_mode=False)


def test_list_export_and_verify(tmp_path: Path, cluster: Cluster) -> None:
    """An operator takes a piece out of a replica's data directory; an auditor checks it with the genesis file."""
    data, out, genesis = tmp_path / "data", tmp_path / "out.json", tmp_path / "genesis.json"
    data.mkdir()
    (data / "lock").write_text("")
    genesis.write_bytes(cluster.genesis_file)
    open_store(data / "evidence", cluster).record(two_prepares(cluster, 5), no_links)
    listed = json.loads(run("list", "--data-dir", str(data), "--json").output)["evidence"]
    assert [(row["epoch"], row["replica"], row["kind"], row["height"]) for row in listed] == [
        (0, 2, "equivocation_prepare", 5)
    ]
    assert run("export", listed[0]["id"], "--out", str(out), "--data-dir", str(data)).exception is None
    verified = run("verify", str(out), "--genesis", str(genesis), "--json")
    assert json.loads(verified.output)["id"] == listed[0]["id"]
    out.write_bytes(out.read_bytes().replace(b'"height":5', b'"height":6'))
    refused = run("verify", str(out), "--genesis", str(genesis)).exception
    assert getattr(refused, "exit_code", None) == 13
    missing = run("export", "0" * 16, "--out", str(out), "--data-dir", str(data)).exception
    assert getattr(missing, "exit_code", None) == 3
