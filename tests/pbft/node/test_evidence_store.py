"""Evidence as files: kept once and within bounds, and judged by somebody who has the genesis file and nothing else."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.hashing import NULL_DIGEST
from pbft.cli.evidence import evidence as command
from pbft.core.actions import Evidence
from pbft.core.messages import Commit, NewView, Prepare, SlotChoice, ViewChange
from pbft.node.evidence_store import PIECES_MAX, EvidenceStore, judge, list_evidence
from pbft.node.log import make_logger
from pbft.simulation.cluster import Cluster
from pbft.simulation.liars import sealed
from pbft.wire.evidence import InvalidEvidence, encode_evidence


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


def open_store(path: Path, cluster: Cluster, stream: StringIO | None = None) -> EvidenceStore:
    return EvidenceStore(path, cluster.genesis.network_id, make_logger(replica=0, stream=stream or StringIO()))


def test_a_piece_is_kept_once_also_over_restarts(tmp_path: Path, cluster: Cluster) -> None:
    """M54: whoever repeats an offence adds no file, no log line and no count, in whichever order the two came."""
    stream = StringIO()
    piece = two_prepares(cluster, 5)
    assert piece.second is not None
    store = open_store(tmp_path / "evidence", cluster, stream)
    assert store.record(piece)
    assert not store.record(piece)
    assert not store.record(replace(piece, first=piece.second, second=piece.first))
    assert not open_store(tmp_path / "evidence", cluster, stream).record(piece)
    assert len(list_evidence(tmp_path / "evidence")) == 1
    assert len(stream.getvalue().splitlines()) == 1
    assert open_store(tmp_path / "evidence", cluster).accused == (2,)


def test_one_offender_fills_only_its_own_share(tmp_path: Path, cluster: Cluster) -> None:
    """M55: a flood of one kind ends at its bound; another kind and another offender still find room."""
    store = open_store(tmp_path / "evidence", cluster)
    kept = [store.record(two_prepares(cluster, height)) for height in range(1, PIECES_MAX + 4)]
    assert kept == [True] * PIECES_MAX + [False] * 3
    assert store.record(two_prepares(cluster, 1, accused=3))
    assert store.record(false_new_view(cluster))
    assert store.accused == (1, 2, 3)


def test_a_full_disk_loses_evidence_and_nothing_else(tmp_path: Path, cluster: Cluster) -> None:
    """No promise hangs on evidence: what cannot be written is said."""
    stream = StringIO()
    (tmp_path / "evidence").write_text("a file in the way")
    assert open_store(tmp_path / "evidence", cluster, stream).record(two_prepares(cluster, 5))
    assert "evidence_not_kept" in stream.getvalue()


def test_the_genesis_is_enough_to_judge(cluster: Cluster) -> None:
    """M54: two PREPAREs, and a NEW-VIEW that is recomputed from its own V, its block 0 from the genesis."""
    for piece in (two_prepares(cluster, 5), false_new_view(cluster)):
        data = encode_evidence(piece, cluster.genesis.network_id)
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
    document = json.loads(encode_evidence(piece, network))
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
        (forged(cluster, document) + b"\n", "shape"),
        (encode_evidence(piece, bytes(32)), "network"),
        (b"[" * 100_000, "json"),
        (b"\xff", "json"),
    ]
    for data, code in cases:
        with pytest.raises(InvalidEvidence) as caught:
            judge(data, cluster.genesis_file)
        assert caught.value.code == code
    with pytest.raises(InvalidEvidence) as caught:
        judge(encode_evidence(piece, network), cluster.genesis_file[:-1])
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
            judge(encode_evidence(piece, cluster.genesis.network_id), cluster.genesis_file)
        assert caught.value.code == code


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), standalone_mode=False)


def test_list_export_and_verify(tmp_path: Path, cluster: Cluster) -> None:
    """An operator takes a piece out of a replica's data directory; an auditor checks it with the genesis file."""
    data, out, genesis = tmp_path / "data", tmp_path / "out.json", tmp_path / "genesis.json"
    data.mkdir()
    (data / "lock").write_text("")
    genesis.write_bytes(cluster.genesis_file)
    open_store(data / "evidence", cluster).record(two_prepares(cluster, 5))
    listed = json.loads(run("list", "--data-dir", str(data), "--json").output)["evidence"]
    assert [(row["replica"], row["kind"], row["height"]) for row in listed] == [(2, "equivocation_prepare", 5)]
    assert run("export", listed[0]["id"], "--out", str(out), "--data-dir", str(data)).exception is None
    verified = run("verify", str(out), "--genesis", str(genesis), "--json")
    assert json.loads(verified.output)["id"] == listed[0]["id"]
    out.write_bytes(out.read_bytes().replace(b'"height":5', b'"height":6'))
    refused = run("verify", str(out), "--genesis", str(genesis)).exception
    assert getattr(refused, "exit_code", None) == 13
    missing = run("export", "0" * 16, "--out", str(out), "--data-dir", str(data)).exception
    assert getattr(missing, "exit_code", None) == 3
