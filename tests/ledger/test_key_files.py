"""Key files: encrypted, for one reader, never overwritten, and readable by OpenSSL. These tests use a disk."""

import base64
import errno
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from Crypto.PublicKey import ECC

from ledger import key_files
from ledger.errors import KeyFileError
from ledger.key_files import read_key_file, write_key_file
from ledger.keys import SigningKey

KEY = SigningKey.from_seed(bytes(range(32)))
PASSPHRASE = "Zähler & Söhne".encode()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key file, made once: scrypt is slow on purpose."""
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    write_key_file(path, KEY, PASSPHRASE)
    return path


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    path = tmp_path / "key.pem"
    shutil.copy(written, path)
    path.chmod(0o600)
    return path


def refusal(path: Path, passphrase: bytes = PASSPHRASE) -> str:
    """The code with which reading is refused."""
    with pytest.raises(KeyFileError) as caught:
        read_key_file(path, passphrase)
    return caught.value.code


def test_round_trip_with_mode_0600(written: Path) -> None:
    """What is read is what was written, and only the owner may."""
    assert read_key_file(written, PASSPHRASE).seed == KEY.seed
    assert written.stat().st_mode & 0o777 == 0o600


def test_the_parameters_are_the_stated_ones(written: Path) -> None:
    """The DER names scrypt with N, r, p as documented, and holds no plain seed."""
    data = base64.b64decode("".join(written.read_text().splitlines()[2:-1]))
    assert bytes.fromhex("2b06010401da47040b") in data  # scrypt's object identifier, RFC 7914
    assert bytes.fromhex("02024000020108020105") in data  # N = 16384, r = 8, p = 5
    assert KEY.seed not in data


def test_openssl_reads_it(written: Path) -> None:
    """The format is everybody's: openssl shows the same private key."""
    ran = subprocess.run(
        ["openssl", "pkey", "-in", str(written), "-passin", "stdin", "-noout", "-text"],
        input=PASSPHRASE + b"\n",
        capture_output=True,
        check=True,
    )
    shown = "".join(ran.stdout.decode().split()).replace(":", "")
    assert KEY.seed.hex() in shown
    assert KEY.public_key.hex() in shown


def test_wrong_passphrase(written: Path) -> None:
    """A wrong passphrase is told as such."""
    assert refusal(written, b"wrong") == "passphrase"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_a_file_others_can_reach_is_refused(copied: Path, mode: int) -> None:
    """Group or world permissions of any kind are refused before the passphrase is tried."""
    copied.chmod(mode)
    assert refusal(copied) == "permissions"


def test_a_missing_file_a_link_and_a_directory(copied: Path, tmp_path: Path) -> None:
    """Only a regular file in its own place is read."""
    link = tmp_path / "link.pem"
    link.symlink_to(copied)
    assert refusal(tmp_path / "none.pem") == "missing"
    assert refusal(link) == "io"
    assert refusal(tmp_path) == "permissions"


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xfe", b"x" * 5000])
def test_what_is_no_key_is_refused(copied: Path, content: bytes) -> None:
    """Other files are told apart from damaged ones."""
    copied.write_bytes(content)
    assert refusal(copied) == "not_a_key"


def test_a_plain_or_foreign_key_is_refused(copied: Path) -> None:
    """An unencrypted key, and a key of another curve, are not ours."""
    copied.write_text(ECC.construct(curve="Ed25519", seed=KEY.seed).export_key(format="PEM"))
    assert refusal(copied) == "not_a_key"
    foreign = ECC.generate(curve="P-256").export_key(
        format="PEM", passphrase=PASSPHRASE, use_pkcs8=True, protection="PBKDF2WithHMAC-SHA512AndAES256-CBC"
    )
    copied.write_text(foreign)
    assert refusal(copied) == "not_a_key"


@pytest.mark.parametrize(
    ("from_the_end", "code"),
    [(40, "damaged"), (60, "passphrase"), (24, "passphrase")],  # in the seed; in the structure; in the padding
)
def test_a_damaged_file_is_refused(copied: Path, from_the_end: int, code: str) -> None:
    """A changed byte never gives another key: CBC would hide one inside the seed, the first line shows it."""
    lines = copied.read_text().splitlines()
    data = bytearray(base64.b64decode("".join(lines[2:-1])))
    data[-from_the_end] ^= 1
    copied.write_text("\n".join([*lines[:2], base64.b64encode(data).decode(), lines[-1], ""]))
    assert refusal(copied) == code


def test_the_first_line_is_compared(copied: Path) -> None:
    """The plain public key names the key inside; another one there is refused."""
    lines = copied.read_text().splitlines()
    assert lines[0] == f"Ed25519 public key: {KEY.public_key.hex()}"
    for first in (lines[0][:-1] + ("0" if lines[0][-1] != "0" else "1"), ""):
        copied.write_text("\n".join([first, *lines[1:], ""]))
        assert refusal(copied) == "damaged"


def test_a_key_file_is_never_overwritten(written: Path, tmp_path: Path) -> None:
    """The second write is refused and leaves the first; so are an empty passphrase and a missing directory."""
    before = written.read_bytes()
    for path, passphrase, code in [
        (written, PASSPHRASE, "exists"),
        (tmp_path / "new.pem", b"", "passphrase"),
        (tmp_path / "none" / "new.pem", PASSPHRASE, "io"),
    ]:
        with pytest.raises(KeyFileError) as caught:
            write_key_file(path, SigningKey.generate(), passphrase)
        assert caught.value.code == code
    assert written.read_bytes() == before
    assert key_files.SCRYPT_N == 16_384


def test_a_pipe_is_refused_not_waited_for(tmp_path: Path) -> None:
    """A key is a file; whatever else has its name must not hold up the start."""
    os.mkfifo(tmp_path / "key.pem", 0o600)
    with pytest.raises(KeyFileError, match="permissions"):
        read_key_file(tmp_path / "key.pem", PASSPHRASE)


def test_content_and_name_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that others will trust must survive the next second: its file and the directory's entry."""
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(stat.S_ISDIR(os.fstat(number).st_mode)))
    write_key_file(tmp_path / "key.pem", KEY, PASSPHRASE)
    assert synced == [False, True]


def test_a_full_disk_leaves_no_half_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is a KeyFileError, and the next attempt finds the name free."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken, pytest.raises(KeyFileError, match="io: No space"):
        broken.setattr(os, "fsync", full)
        write_key_file(tmp_path / "key.pem", KEY, PASSPHRASE)
    assert list(tmp_path.iterdir()) == []
