"""`gridquorum evidence list|export|verify`: proof that a replica broke the protocol, taken out and checked off line.

`verify` needs the file and the genesis file: no network, no store, no reactor.
"""

from pathlib import Path
from typing import Any, Final

import click

from pbft.cli.surface import CommandError, ExitCode, ReplicaId, data_dir_option, find_data_dir, json_option, print_json

EVIDENCE_FOLDER: Final = "evidence"  # of a replica's data directory


@click.group()
def evidence() -> None:
    """Proof against replicas, by their own signatures."""


@evidence.command("list", short_help="Which evidence the replicas keep.")
@data_dir_option
@json_option
def list_(data_dir: Path | None, as_json: bool) -> None:
    """Which evidence is kept, and against whom: by a local network, or in one replica's own data directory."""
    rows = [_describe_file(holder, file) for holder, file in _files(find_data_dir(data_dir))]
    if as_json:
        print_json({"evidence": rows})
        return
    for row in rows:
        holder = "" if row["holder"] is None else f", kept by r{row['holder']}"
        click.echo(f"{row['id']}  {_in_words(row)}{holder}")
    if not rows:
        click.echo("no evidence")


@evidence.command(short_help="Copy a piece of evidence to a file.")
@click.argument("evidence_id", metavar="ID")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@click.option("--holder", type=ReplicaId(), help="Which replica's copy (default: the first that has it).")
@data_dir_option
@json_option
def export(evidence_id: str, out: Path, holder: int | None, data_dir: Path | None, as_json: bool) -> None:
    """Copy the piece of evidence ID, as `list` names it, to a file that anybody can verify."""
    for found, file in _files(find_data_dir(data_dir)):
        if file.stem.endswith(f"-{evidence_id}") and holder in (None, found):
            data = _read(file)
            try:
                out.write_bytes(data)
            except OSError as error:
                raise CommandError(f"{out}: {error.strerror}") from error
            row = _describe_file(found, file)
            if as_json:
                print_json({**row, "out": str(out), "bytes": len(data)})
            else:
                click.echo(f"{out}: {len(data)} bytes, {_in_words(row)}")
            return
    raise CommandError(f"no replica keeps evidence {evidence_id}", ExitCode.NOT_FOUND)


@evidence.command(short_help="Check evidence against a genesis file.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--genesis",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="genesis.json of the network: it holds the replicas' keys.",
)
@json_option
def verify(file: Path, genesis: Path, as_json: bool) -> None:
    """Check evidence off line against a genesis file; exit code 13 where it convicts nobody."""
    from ledger.genesis import GENESIS_BYTES_MAX
    from pbft.node.evidence_judge import judge
    from pbft.wire.evidence import EVIDENCE_BYTES_MAX, InvalidEvidence, compute_evidence_id

    data, genesis_bytes = _read(file, EVIDENCE_BYTES_MAX), _read(genesis, GENESIS_BYTES_MAX)
    try:
        proved = judge(data, genesis_bytes)
    except InvalidEvidence as error:
        raise CommandError(f"{file}: does not hold: {error}", ExitCode.UNVERIFIED) from error
    row = {"id": compute_evidence_id(data), "epoch": proved.epoch, "replica": proved.replica, "kind": proved.kind}
    row |= {"view": proved.view, "height": proved.height}
    if as_json:
        print_json(row)
    else:
        click.echo(f"holds: {_in_words(row)}")


def _files(directory: Path) -> list[tuple[int | None, Path]]:
    """Every evidence file of a local network, or of one replica's data directory, with the replica that keeps it."""
    from pbft.node.evidence_store import list_evidence
    from pbft.node.local_network import LocalNetworkError, read_network

    if (directory / "lock").is_file():
        return [(None, file) for file in list_evidence(directory / EVIDENCE_FOLDER)]
    try:
        replicas = read_network(directory).replicas
    except LocalNetworkError as error:
        raise CommandError(str(error), ExitCode.NOT_FOUND) from error
    return [(r.replica_id, file) for r in replicas for file in list_evidence(r.data_path / EVIDENCE_FOLDER)]


def _describe_file(holder: int | None, file: Path) -> dict[str, Any]:
    """What a kept piece claims, for a row of `list`."""
    from pbft.wire.evidence import InvalidEvidence, compute_evidence_id, read_claim

    data = _read(file)
    try:
        claim = read_claim(data)
    except InvalidEvidence as error:
        raise CommandError(f"{file}: {error}", ExitCode.UNVERIFIED) from error
    return {"id": compute_evidence_id(data), **claim, "holder": holder}


def _in_words(row: dict[str, Any]) -> str:
    kind = row["kind"].replace("_", " ")
    return f"r{row['replica']} of epoch {row['epoch']}: {kind}, view {row['view']}, height {row['height']}"


def _read(path: Path, bytes_max: int | None = None) -> bytes:
    """A file's bytes, one more than allowed at most."""
    try:
        with path.open("rb") as file:
            return file.read() if bytes_max is None else file.read(bytes_max + 1)
    except FileNotFoundError as error:
        raise CommandError(f"{path}: no such file", ExitCode.NOT_FOUND) from error
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", ExitCode.FAILED) from error
