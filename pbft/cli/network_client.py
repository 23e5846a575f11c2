"""How `tx`, `query` and `proof export` reach a local network: its directory's client identity and account.

It owns opening a blocking client from a data directory and the exit codes of what can go wrong. The directory's layout
is `pbft.node.local_network`'s; what the client library promises is `pbft.client`'s.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pbft.cli.surface import CommandError, ExitCode, errors_as

if TYPE_CHECKING:
    from pbft.client.account import Account
    from pbft.client.blocking import Client
    from pbft.client.submissions import SubmitResult

PATIENCE_MS: Final = 30_000  # of a command: view changes included, a person still waits
NONCE_TRIES: Final = 8  # processes that use the account at the same moment


class OwnAddress:
    """Stands in an argument for the address of the account that the command uses."""


OWN_ADDRESS: Final = OwnAddress()


@contextmanager
def open_client(data_dir: Path) -> "Iterator[Client]":
    """A client of the local network in `data_dir`, with its account; closed at the end. Errors become exit codes."""
    from pbft.client.blocking import Client
    from pbft.client.options import ClientOptions

    with client_errors(), Client.open(data_dir, options=ClientOptions(patience_ms=PATIENCE_MS)) as client:
        yield client


def client_errors() -> errors_as:
    """What the client library and its files raise, as exit codes."""
    from ledger.errors import KeyFileError, LedgerError
    from pbft.client.errors import ClientError, InvalidNetworkDirectory
    from pbft.node.identity import IdentityError

    return errors_as(
        {
            InvalidNetworkDirectory: lambda _: ExitCode.NOT_FOUND,
            ClientError: lambda _: ExitCode.UNREACHABLE,
            KeyFileError: lambda _: ExitCode.FAILED,
            IdentityError: lambda _: ExitCode.FAILED,
            LedgerError: lambda _: ExitCode.UNVERIFIED,
            FileNotFoundError: lambda _: ExitCode.NOT_FOUND,
        }
    )


def submit_anew(client: "Client", account: "Account", call: tuple[Any, ...], gas_limit: int) -> "SubmitResult":
    """One transaction of an account, seen through. `call`: contract, method and arguments."""
    from pbft.core.client_session import NONCE_USED, Rejected

    result = client.submit(account, *call, gas_limit=gas_limit)
    for _ in range(NONCE_TRIES):
        if not (isinstance(result, Rejected) and result.code == NONCE_USED):
            break  # another process of this account was quicker: ours never ran, so a new nonce is safe
        result = client.submit(account, *call, gas_limit=gas_limit)
    return result


def operator_account(client: "Client", data_dir: Path, replica_id: int) -> "Account":
    """The operator of a replica of the local network, to sign with its key. Raises CommandError."""
    from pbft.client.account import Account
    from pbft.node.identity import read_operator_key, read_passphrase
    from pbft.node.local_network import LocalNetworkError, read_network

    with errors_as({LocalNetworkError: lambda _: ExitCode.NOT_FOUND}):
        replica = read_network(data_dir).replica(replica_id)
    key = read_operator_key(replica.keys_path, passphrase=read_passphrase(replica.passphrase_path))
    return Account(key, network=client.network.network_id, nonces=client.read_nonces(key.public_key))


def own_values(values: Sequence[Any], address: bytes) -> list[Any]:
    """Arguments with the own account's address where it was asked for."""
    return [_own_value(value, address) for value in values]


def _own_value(value: Any, address: bytes) -> Any:
    if isinstance(value, list):
        return own_values(value, address)
    return address if value is OWN_ADDRESS else value


def parse_arguments(texts: tuple[str, ...]) -> list[Any]:
    """Arguments as JSON values: numbers, strings, true, lists; `{"hex": "..."}` for bytes, `{"contract": "name"}` for
    an address, `{"account": "own"}` for that of the own account (see `own_values`); a text that is no JSON is itself.
    Raises CommandError for what has no canonical form.
    """
    return [_value(_json_or_text(text), text) for text in texts]


def to_json_value(value: Any) -> Any:
    """A canonical value as JSON: bytes as `{"hex": ...}`, whole numbers beyond 2^53 as strings."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list):
        return [to_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(to_json_value(key)): to_json_value(item) for key, item in value.items()}
    if type(value) is int and abs(value) >= 2**53:
        return str(value)
    return value


def show_value(value: Any) -> str:
    """A JSON value for people: JSON too, so that it can be given back as an argument."""
    return json.dumps(value, ensure_ascii=False)


def show_voices(replica_ids: Iterable[int]) -> str:
    """Who vouches, as people name replicas."""
    return ", ".join(f"r{replica_id}" for replica_id in replica_ids)


def explain_code(code: str) -> str:
    """A stable code in plain words first, then the code; a contract's own code is the contract's word."""
    from contracts.errors import FAULT_CODES

    words = {"OUT_OF_GAS": "the gas limit is used up", "EXPIRED": "its time was over before it ran", **FAULT_CODES}
    return f"{words[code]} ({code})" if code in words else code


def parse_hex(text: str, what: str) -> bytes:
    """Bytes from hexadecimal digits. Raises click.BadParameter."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise click.BadParameter(f"{what}: {text!r} is not hexadecimal") from error


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _value(value: Any, text: str) -> Any:
    from ledger.hashing import Tag, tagged_hash

    if isinstance(value, list):
        return [_value(item, text) for item in value]
    if isinstance(value, dict) and len(value) == 1:
        (kind, content), *_ = value.items()
        if kind == "hex" and isinstance(content, str):
            return parse_hex(content, text)
        if kind == "contract" and isinstance(content, str):
            return tagged_hash(Tag.CONTRACT_ADDRESS, content.encode())
        if kind == "account" and content == "own":
            return OWN_ADDRESS
    if value is None or isinstance(value, float | dict):
        raise CommandError(
            f"argument {text!r}: not a whole number, text, bool, list, hex, contract or account", ExitCode.USAGE
        )
    return value
