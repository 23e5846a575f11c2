"""`gridquorum proof export|verify`: take a proof out of a network, and check one where there is no network.

`verify` imports neither the reactor nor a store: it needs the proof file, the genesis file and `ledger.proofs`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pbft.cli.surface import (
    CommandError,
    ExitCode,
    data_dir_option,
    find_data_dir,
    json_option,
    print_json,
)

if TYPE_CHECKING:
    from ledger.proofs import VerifiedReceipt, VerifiedState


@click.group()
def proof() -> None:
    """Proofs of receipts and of values of the world state."""


@proof.command(short_help="Write the proof of a receipt or a state key.")
@click.argument("subject")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@data_dir_option
@json_option
def export(subject: str, out: Path, data_dir: Path | None, as_json: bool) -> None:
    """Write the proof of SUBJECT: a transaction id (64 hexadecimal digits), or a state key (key:HEX)."""
    from ledger.hashing import HASH_BYTES
    from ledger.proofs import verify_proof
    from pbft.cli.network_client import open_client, parse_hex

    wanted = parse_hex(subject.removeprefix("key:"), "SUBJECT")
    is_key = subject.startswith("key:") or len(wanted) != HASH_BYTES
    with open_client(find_data_dir(data_dir)) as client:
        data = client.state_proof(wanted) if is_key else client.receipt_proof(wanted)
        verified = verify_proof(data, client.network.genesis_bytes)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise CommandError(f"{out}: {error.strerror}") from error
    answer = {**describe(verified), "out": str(out), "bytes": len(data)}
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{out}: {len(data)} bytes, {_in_words(answer)}")


@proof.command(short_help="Check a proof against a genesis file.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--genesis",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="genesis.json of the network: its hash is the network's name.",
)
@json_option
def verify(file: Path, genesis: Path, as_json: bool) -> None:
    """Check a proof off line against a genesis file; exit code 13 where anything does not hold."""
    from ledger.errors import InvalidProof
    from ledger.genesis import GENESIS_BYTES_MAX
    from ledger.proofs import PROOF_BYTES_MAX, verify_proof

    data, genesis_bytes = _read(file, PROOF_BYTES_MAX), _read(genesis, GENESIS_BYTES_MAX)
    try:
        answer = describe(verify_proof(data, genesis_bytes))
    except InvalidProof as error:
        raise CommandError(f"{file}: does not hold: {error}", ExitCode.UNVERIFIED) from error
    if as_json:
        print_json(answer)
    else:
        click.echo(f"holds: {_in_words(answer)}")


def describe(verified: "VerifiedReceipt | VerifiedState") -> dict[str, Any]:
    """What was proved, as the fields of the command's JSON."""
    from ledger.proofs import VerifiedReceipt

    common: dict[str, Any] = {
        "height": verified.header.height,
        "time_ms": verified.header.time_ms,
        "header_hash": verified.header.hash.hex(),
        "state_root": verified.header.state_root.hex(),
        "certified_height": verified.certified_height,
        "network_id": verified.header.network.hex(),
    }
    if isinstance(verified, VerifiedReceipt):
        receipt = verified.receipt
        return {
            "tx": receipt.tx_id.hex(),
            "proved": "receipt",
            "status": receipt.status,
            "code": receipt.code,
            "sender": receipt.sender.hex(),
            "nonce": receipt.nonce,
            "result": _shown(receipt.value),
            **common,
        }
    value = None if verified.value is None else verified.value.hex()
    return {"tx": None, "proved": "state", "key": verified.key.hex(), "value": value, **common}


def _shown(value: Any) -> Any:
    from pbft.cli.network_client import to_json_value

    return to_json_value(value)


def _in_words(answer: dict[str, Any]) -> str:
    if answer["proved"] == "receipt":
        code = f" {answer['code']}" if answer["code"] else ""
        subject = f"the receipt of transaction {answer['tx']} ({answer['status']}{code})"
    else:
        subject = f"state key {answer['key']} is {answer['value'] if answer['value'] is not None else 'absent'}"
    return f"{subject} at height {answer['height']}, certified at {answer['certified_height']}"


def _read(path: Path, bytes_max: int) -> bytes:
    """A file's bytes, one more than allowed at most: a stranger's file never fills the memory before it is refused."""
    try:
        with path.open("rb") as file:
            return file.read(bytes_max + 1)
    except FileNotFoundError as error:
        raise CommandError(f"{path}: no such file", ExitCode.NOT_FOUND) from error
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", ExitCode.FAILED) from error
