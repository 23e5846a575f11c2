"""Epochs: a decided configuration ends its epoch one window later, and genesis alone leads to every later one."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from vectors.ledger import sample_chain as sample

from ledger.archive import CERTIFICATES_TABLE, EPOCHS_TABLE
from ledger.block import Header
from ledger.chain import LEDGER_TABLES, Chain
from ledger.configuration import (
    Configuration,
    ProtocolParameters,
    configuration_key,
    encode_decision,
    parse_configuration,
)
from ledger.encoding import Value, decode, encode
from ledger.epochs import EpochLink, Epochs, parse_link, verify_link
from ledger.errors import InvalidConfiguration, InvalidProof, InvariantViolation
from ledger.genesis import parse_genesis
from ledger.proofs import VerifiedReceipt, verify_proof
from ledger.receipt_index import height_key
from ledger.store import Delete, MemoryStore

WINDOW = 8
GENESIS_BYTES = sample.genesis_bytes(protocol=ProtocolParameters(window=WINDOW, stride=2))
GENESIS = parse_genesis(GENESIS_BYTES)
FIRST = GENESIS.configuration
ROTATED = "rotated {}"
"""Names of the keys of member 0 to 3 after the change."""


def following(configuration: Configuration = FIRST, **changes: object) -> Configuration:
    """The next configuration: every consensus key replaced, unless told otherwise."""
    members = tuple(
        replace(member, consensus_key=sample.seeded_key(ROTATED.format(member.id)).public_key)
        for member in configuration.members
    )
    return replace(configuration, epoch=configuration.epoch + 1, **({"members": members} | changes))


def govern(configuration: Configuration, nonce: int) -> sample.SignedTransaction:
    return sample.transaction(nonce, network=GENESIS.network_id, method="govern", arguments=(configuration.to_bytes(),))


def chain_at_the_boundary() -> Chain:
    """Decided at height 2, so the epoch ends at 10; stands at 10, certified there."""
    chain = sample.new_chain(genesis=GENESIS)
    sample.execute(chain, sample.transaction(0, network=GENESIS.network_id))
    sample.execute(chain, govern(following(), 1))
    while chain.height < 10:
        sample.execute(chain, sample.transaction(chain.height, network=GENESIS.network_id))
    chain.store_certificate(sample.certify(chain.head, GENESIS))
    return chain


# --- documents ---


def test_a_document_says_all_that_its_hash_covers() -> None:
    """Bytes and back; the network is not in it, so that it is the same text in every network."""
    configuration = following()
    assert parse_configuration(configuration.to_bytes(), GENESIS.network_id) == configuration
    assert parse_configuration(configuration.to_bytes(), bytes(32)).hash == configuration.hash
    assert configuration.hash != FIRST.hash


def _with(index: int, value: object) -> Callable[[list[Value]], object]:
    return lambda fields: [*fields[:index], value, *fields[index + 1 :]]


def _with_member(change: Callable[[list[Value]], object]) -> Callable[[list[Value]], object]:
    return lambda fields: [fields[0], fields[1], [change(fields[2][0]), *fields[2][1:]], fields[3]]  # type: ignore[index,misc]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("malformed", _with(0, 2)),
        ("malformed", _with(1, -1)),
        ("malformed", lambda fields: fields[:3]),
        ("malformed", lambda fields: {1: 2}),
        ("members", lambda fields: [*fields[:2], fields[2][:3], fields[3]]),
        ("members", lambda fields: [*fields[:2], fields[2] * 17, fields[3]]),
        ("malformed", _with_member(_with(0, 1))),
        ("name", _with_member(_with(1, ""))),
        ("malformed", _with_member(_with(1, "n" * 65))),
        ("malformed", _with_member(_with(2, bytes(31)))),
        ("duplicate", lambda f: [*f[:2], [[0, "x", *f[2][1][2:]], *f[2][1:]], f[3]]),
        ("parameter", lambda fields: [*fields[:3], [4, *fields[3][1:]]]),
        ("malformed", lambda fields: [*fields[:3], fields[3][:-1]]),
    ],
)
def test_what_is_no_configuration_is_refused(code: str, change: Callable[[list[Value]], object]) -> None:
    """A total parser: every refusal has a code, and the bounds are those of genesis."""
    fields = decode(following().to_bytes())
    with pytest.raises(InvalidConfiguration) as caught:
        parse_configuration(encode(change(fields)), GENESIS.network_id)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_bytes_that_are_no_document_are_refused() -> None:
    """Trailing bytes, half a document, none: never another exception."""
    document = following().to_bytes()
    for data in (b"", document[:-1], document + b"\x00", b"\xc1"):
        with pytest.raises(InvalidConfiguration):
            parse_configuration(data, GENESIS.network_id)


# --- epochs of a chain ---


def test_d40_a_change_executed_at_n_ends_the_epoch_one_window_later() -> None:
    """D40: "A change executed at n ends the epoch at E = n + L"; D31: only E's header names another configuration."""
    chain = chain_at_the_boundary()
    assert chain.epochs.last_height(0) == 10
    sample.execute(chain, time_ms=None)
    headers = [chain.header(height) for height in range(12)]
    assert [header.epoch for header in headers] == [0] * 11 + [1]
    first, second = FIRST.hash, following().hash
    assert [header.next_config_hash for header in headers] == [first] * 10 + [second] * 2


def test_m57_n_f_and_quorum_are_read_from_the_configuration_of_the_height() -> None:
    """D6, M57: "n, f, primary and quorums are always read from config(seq)": a fifth member counts from E + 1 on."""
    members = (
        *FIRST.members,
        replace(
            FIRST.members[0],
            id=4,
            name="fifth",
            consensus_key=bytes([4]) * 32,
            transport_key=bytes([5]) * 32,
            operator_key=bytes([6]) * 32,
        ),
    )
    chain = sample.new_chain(genesis=GENESIS)
    sample.execute(chain, govern(following(members=members), 0))
    assert [chain.configuration(height).n for height in (0, 1, 9, 10, 17)] == [4, 4, 4, 5, 5]
    assert [chain.configuration(height).quorum for height in (9, 10)] == [3, 4]


def test_a_store_that_is_opened_again_knows_its_epochs() -> None:
    """Decided and waiting, or in force: both come from the world state."""
    store = MemoryStore(LEDGER_TABLES)
    chain = sample.new_chain(store, GENESIS)
    sample.execute(chain, govern(following(), 0))
    again = Chain.open(store, GENESIS)
    assert again.epochs.newest == following()
    assert (again.epochs.last_height(0), again.epochs.last_height(1)) == (9, None)
    while again.height < 12:
        sample.execute(again, time_ms=None)
    second = following(following(), members=FIRST.members)
    sample.execute(again, govern(second, 1))
    once_more = Chain.open(store, GENESIS)
    assert [once_more.configuration(height).epoch for height in (9, 10, 21, 22)] == [0, 1, 1, 2]
    assert once_more.epochs.of(2) == second
    assert once_more.epochs.of(3) is None


def test_one_change_may_wait() -> None:
    """D40: "one pending set". A runtime that lets a second one through stops the replica before anything is stored."""
    chain = sample.new_chain(genesis=GENESIS)
    sample.execute(chain, govern(following(), 0))
    with pytest.raises(InvariantViolation, match="configuration"):
        sample.execute(chain, govern(following(), 1))
    assert chain.height == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (configuration_key(2), encode_decision(9, following().to_bytes())),
        (configuration_key(1), None),
        (configuration_key(1), encode_decision(10, following().to_bytes())),
        (configuration_key(1), encode_decision(9, FIRST.to_bytes())),
        (configuration_key(1), encode_decision(9, b"")),
        (configuration_key(1), b"\xc1"),
    ],
)
def test_a_decision_that_no_runtime_may_write_stops_the_replica(key: bytes, value: bytes | None) -> None:
    """The runtime judged it before: what does not fit is damage or a bug, never input."""
    with pytest.raises(InvariantViolation):
        Epochs(FIRST).compute_decided(1, [(key, value)])


def test_genesis_decides_nothing() -> None:
    """The configuration of epoch 0 is in the genesis file; no contract changes it at height 0."""
    with pytest.raises(InvariantViolation):
        Epochs(FIRST).compute_decided(0, [(configuration_key(1), encode_decision(8, following().to_bytes()))])


# --- proofs over epochs ---


def certified_in_epoch_1() -> Chain:
    """Stands at 11, certified by the members of epoch 1."""
    chain = chain_at_the_boundary()
    sample.execute(chain, sample.transaction(50, network=GENESIS.network_id))
    chain.store_certificate(sample.certify(chain.head, GENESIS, key_names=ROTATED))
    return chain


def test_a_proof_of_a_later_epoch_needs_genesis_alone() -> None:
    """The chain of boundary headers leads from the keys of genesis to those that signed the certificate."""
    chain = certified_in_epoch_1()
    tx_id = sample.transaction(50, network=GENESIS.network_id).tx_id
    verified = verify_proof(chain.receipt_proof(tx_id), GENESIS_BYTES)
    assert isinstance(verified, VerifiedReceipt)
    assert (verified.header.epoch, verified.header.height, verified.certified_height) == (1, 11, 11)
    earlier = verify_proof(chain.receipt_proof(sample.transaction(0, network=GENESIS.network_id).tx_id), GENESIS_BYTES)
    assert (earlier.header.epoch, earlier.certified_height) == (0, 10)
    assert verify_proof(chain.state_proof(b"c/notes/founded/007"), GENESIS_BYTES).header.epoch == 1


def test_behind_a_snapshot_the_link_certifies_what_its_epoch_left() -> None:
    """D39, D41: the certificate of an epoch's last height came with its link alone; the next has other signers."""
    chain = certified_in_epoch_1()
    chain._store.write([Delete(CERTIFICATES_TABLE, height_key(10))])
    assert chain.first_certificate(9) == chain.newest_certificate()
    tx_id = sample.transaction(0, network=GENESIS.network_id).tx_id
    verified = verify_proof(chain.receipt_proof(tx_id), GENESIS_BYTES)
    assert (verified.header.epoch, verified.certified_height) == (0, 10)


def test_a_link_that_is_missing_beside_its_certificate_is_made_at_the_next_opening() -> None:
    """D39: a snapshot of an epoch's last height brings the certificate alone, and power may fail before the link."""
    store = chain_at_the_boundary()._store
    link = store.get(EPOCHS_TABLE, height_key(0))
    assert link is not None
    store.write([Delete(EPOCHS_TABLE, height_key(0))])
    assert Chain.open(store, GENESIS).epoch_link(0) is not None
    assert store.get(EPOCHS_TABLE, height_key(0)) == link


def test_old_keys_certify_nothing_in_a_new_epoch() -> None:
    """M59: "old key invalid after boundary": the same header under the keys of epoch 0 is no certificate of epoch 1."""
    chain = chain_at_the_boundary()
    sample.execute(chain, sample.transaction(50, network=GENESIS.network_id))
    chain.store_certificate(sample.certify(chain.head, GENESIS))
    proof = chain.receipt_proof(sample.transaction(50, network=GENESIS.network_id).tx_id)
    with pytest.raises(InvalidProof, match="certificate"):
        verify_proof(proof, GENESIS_BYTES)


def link_of(chain: Chain) -> EpochLink:
    link = chain.epoch_link(0)
    assert link is not None
    return link


def _renamed(header: Header) -> Header:
    return replace(header, next_config_hash=following(members=FIRST.members).hash)


@pytest.mark.parametrize(
    "forge",
    [
        lambda link: replace(link, document=following(members=FIRST.members).to_bytes()),  # not the one named
        lambda link: replace(link, header=_renamed(link.header)),  # not the one certified
        lambda link: replace(link, certificate=sample.certify(link.header, GENESIS, signers=(0, 1))),  # no quorum
        lambda link: replace(link, certificate=sample.certify(link.header, GENESIS, key_names=ROTATED)),  # by the next
        lambda link: replace(link, document=b""),
        lambda link: EpochLink(  # the header names the configuration that certified it: no epoch ends there
            header=(header := replace(link.header, next_config_hash=FIRST.hash)),
            certificate=sample.certify(header, GENESIS),
            document=FIRST.to_bytes(),
        ),
    ],
)
def test_a_forged_link_is_refused(forge: Callable[[EpochLink], EpochLink]) -> None:
    """Whoever knows only genesis follows no step that a quorum of the epoch before did not certify."""
    link = link_of(chain_at_the_boundary())
    assert verify_link(parse_link(link.to_bytes()), FIRST) == following()
    with pytest.raises(InvalidProof):
        verify_link(forge(link), FIRST)


def test_a_link_is_of_its_epoch() -> None:
    """The link of epoch 0 does not lead anywhere from epoch 1, and bytes that are no link are refused."""
    link = link_of(chain_at_the_boundary())
    with pytest.raises(InvalidProof):
        verify_link(link, following())
    for data in (b"", link.to_bytes()[:-1], encode([1, 2, 3])):
        with pytest.raises(InvalidProof):
            parse_link(data)
