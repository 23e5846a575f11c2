"""A client's directory and the authority's: made once, closed to others, read back as they were made."""

from pathlib import Path

import pytest

from pbft.node.client_identity import create_authority, create_client, read_authority, read_client
from pbft.node.identity import IdentityError

PASSPHRASE = b"correct horse"


def test_a_client_reads_back_what_was_made(tmp_path: Path) -> None:
    """The account is the one whose address was given out, and the certificate is of the key beside it."""
    public_key = create_authority(tmp_path / "authority", passphrase=PASSPHRASE)
    authority = read_authority(tmp_path / "authority", passphrase=PASSPHRASE)
    assert authority.public_key == public_key
    address = create_client(tmp_path / "client", authority, name="billing", passphrase=PASSPHRASE)
    identity = read_client(tmp_path / "client")
    assert identity.account.public_key == address
    assert identity.tls.public_key not in (address, public_key)  # a key has one duty


@pytest.mark.parametrize("name", ["passphrase", "account.pem", "tls.pem"])
def test_every_file_of_a_client_is_its_own(tmp_path: Path, name: str) -> None:
    """All three are secrets: mode 0600 from the moment they exist; a missing one is named."""
    create_authority(tmp_path / "authority", passphrase=PASSPHRASE)
    authority = read_authority(tmp_path / "authority", passphrase=PASSPHRASE)
    create_client(tmp_path / "client", authority, name="billing", passphrase=PASSPHRASE)
    path = tmp_path / "client" / name
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(IdentityError, match=rf"{name}.*0?o?640"):
        read_client(tmp_path / "client")
    path.unlink()
    with pytest.raises(IdentityError, match=name):
        read_client(tmp_path / "client")


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    """A second authority or client in the same directory is refused, and the first stays as it was."""
    public_key = create_authority(tmp_path, passphrase=PASSPHRASE)
    with pytest.raises(IdentityError, match="never overwritten"):
        create_authority(tmp_path, passphrase=PASSPHRASE)
    authority = read_authority(tmp_path, passphrase=PASSPHRASE)
    assert authority.public_key == public_key
    create_client(tmp_path, authority, name="billing", passphrase=PASSPHRASE)
    with pytest.raises(IdentityError, match="never overwritten"):
        create_client(tmp_path, authority, name="billing", passphrase=PASSPHRASE)


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\xff" * 100])
def test_a_damaged_certificate_file_is_named(tmp_path: Path, damage: bytes) -> None:
    """What is no key and certificate is an IdentityError, not an exception of some library."""
    create_authority(tmp_path / "authority", passphrase=PASSPHRASE)
    authority = read_authority(tmp_path / "authority", passphrase=PASSPHRASE)
    create_client(tmp_path / "client", authority, name="billing", passphrase=PASSPHRASE)
    path = tmp_path / "client" / "tls.pem"
    path.write_bytes(damage)
    with pytest.raises(IdentityError, match=r"tls\.pem"):
        read_client(tmp_path / "client")


def test_an_encrypted_key_without_its_certificate_is_named(tmp_path: Path) -> None:
    """A key file in the place of the other one: its library's TypeError stays inside."""
    create_authority(tmp_path, passphrase=PASSPHRASE)
    authority = read_authority(tmp_path, passphrase=PASSPHRASE)
    create_client(tmp_path, authority, name="billing", passphrase=PASSPHRASE)
    (tmp_path / "tls.pem").write_bytes((tmp_path / "account.pem").read_bytes())
    with pytest.raises(IdentityError, match=r"tls\.pem"):
        read_client(tmp_path)


def test_the_wrong_passphrase_opens_nothing(tmp_path: Path) -> None:
    """The authority's key stays closed."""
    create_authority(tmp_path, passphrase=PASSPHRASE)
    with pytest.raises(IdentityError, match="passphrase"):
        read_authority(tmp_path, passphrase=b"wrong")
