"""Which configuration holds at which height (D6, D40, D41): the epochs of a chain, in order, and the way between them.

    height      0 ........ n ................ E = n + L | E + 1 ...
    epoch       k          |                  |         | k + 1
                           decided by a call  certified under the keys of epoch k, names k + 1 in `next_config_hash`

A change that a call decides in block n is a record of the world state, so the state root of n covers it, a crash
repeats it with its block, and a snapshot carries it. It ends the epoch at E = n + L, the first height that no replica
can have accepted before it executed n: whoever has not executed n accepts nothing above n - 1 + L (D40). One change may
wait at a time. From a genesis alone, `EpochLink`s lead to every later configuration, offline.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.block import HEADER_BYTES_MAX, Header, parse_header
from ledger.configuration import (
    CONFIGURATION_PREFIX,
    DOCUMENT_BYTES_MAX,
    Configuration,
    configuration_key,
    parse_configuration,
    parse_decision,
)
from ledger.encoding import decode, encode
from ledger.errors import (
    EncodingError,
    InvalidBlock,
    InvalidCertificate,
    InvalidConfiguration,
    InvalidProof,
    InvariantViolation,
)
from ledger.keys import VerifySignature, verify_signature
from ledger.quorum_certificate import (
    CERTIFICATE_BYTES_MAX,
    QuorumCertificate,
    parse_certificate,
    verify_certificate,
)
from ledger.shapes import expect_array, expect_bytes

LINK_BYTES_MAX: Final = HEADER_BYTES_MAX + CERTIFICATE_BYTES_MAX + DOCUMENT_BYTES_MAX + 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLink:
    """The step from one epoch to the next, as a proof: the certified header that ends the one and names the other."""

    header: Header  # of the last height E
    certificate: QuorumCertificate  # of E, by the members of the epoch that ends
    document: bytes  # of the next configuration

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return encode([self.header.to_bytes(), self.certificate.to_bytes(), self.document])


def parse_link(data: bytes) -> EpochLink:
    """A link from its canonical bytes; whether it holds is `verify_link`'s. Raises InvalidProof."""
    try:
        fields = expect_array(decode(data, max_bytes=LINK_BYTES_MAX), "epoch link", 3)
        return EpochLink(
            header=parse_header(expect_bytes(fields[0], "header")),
            certificate=parse_certificate(expect_bytes(fields[1], "certificate")),
            document=expect_bytes(fields[2], "document"),
        )
    except (EncodingError, InvalidBlock, InvalidCertificate) as error:
        raise InvalidProof("epoch", str(error)) from None


def verify_link(
    link: EpochLink, configuration: Configuration, verify: VerifySignature = verify_signature
) -> Configuration:
    """The configuration after this one. Raises InvalidProof unless a quorum of this one certified the header that
    names it.
    """
    header, certificate = link.header, link.certificate
    try:
        verify_certificate(certificate, configuration, verify)
        following = parse_configuration(link.document, configuration.network)
    except (InvalidCertificate, InvalidConfiguration) as error:
        raise InvalidProof("epoch", str(error), epoch=configuration.epoch) from None
    if (certificate.height, certificate.header_hash) != (header.height, header.hash):
        raise InvalidProof("epoch", "certifies another header", epoch=configuration.epoch)
    if (header.network, header.epoch) != (configuration.network, configuration.epoch):
        raise InvalidProof("epoch", "the header is of another network or epoch", epoch=configuration.epoch)
    if following.epoch != configuration.epoch + 1 or following.hash != header.next_config_hash:
        raise InvalidProof("epoch", "not the configuration that the header names", epoch=configuration.epoch)
    return following


class Epochs:
    """The epochs of a chain: those that were, the one that is, and at most one that is decided and waits."""

    def __init__(self, first: Configuration) -> None:
        self._configurations = [first]
        self._last_heights: list[int] = []  # of each epoch but the newest

    @property
    def newest(self) -> Configuration:
        """The configuration that was decided last; it may not be in force yet."""
        return self._configurations[-1]

    def of(self, epoch: int) -> Configuration | None:
        """The configuration of an epoch, None where nothing is decided about it here."""
        return self._configurations[epoch] if 0 <= epoch < len(self._configurations) else None

    def last_height(self, epoch: int) -> int | None:
        """E, the last height of an epoch; None while no change is decided."""
        return self._last_heights[epoch] if 0 <= epoch < len(self._last_heights) else None

    def at(self, height: int) -> Configuration:
        """The configuration in force at a height: its members vote on it, n, f, Q and primary are its (M57)."""
        for epoch in range(len(self._configurations) - 1, 0, -1):
            if height > self._last_heights[epoch - 1]:
                return self._configurations[epoch]
        return self._configurations[0]

    def restore(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Takes the decided configurations of a world state, ascending by key. Raises InvariantViolation."""
        for key, value in records:
            last_height, _ = _read_decision(value)
            self.add_decided(last_height - self.newest.parameters.window, [(key, value)])

    def add_decided(self, height: int, writes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Takes over the change that block `height` decided with these writes, if it did."""
        configuration = self.compute_decided(height, writes)
        if configuration is not None:
            self._last_heights.append(height + self.newest.parameters.window)
            self._configurations.append(configuration)

    def add_link(self, link: EpochLink, verify: VerifySignature = verify_signature) -> None:
        """Takes over the epoch that a link leads to, for whoever has no chain. Raises InvalidProof."""
        following = verify_link(link, self.newest, verify)
        self._last_heights.append(link.header.height)
        self._configurations.append(following)

    def compute_decided(self, height: int, writes: Iterable[tuple[bytes, bytes | None]]) -> Configuration | None:
        """The configuration that block `height` decides with these writes, None for none.

        Raises InvariantViolation where it is not the one change that could be decided: the runtime judged it before.
        """
        decided = [(key, value) for key, value in writes if key.startswith(CONFIGURATION_PREFIX)]
        if not decided:
            return None
        current, (key, value) = self.newest, decided[0]
        if len(decided) > 1 or key != configuration_key(current.epoch + 1) or value is None:
            raise InvariantViolation("configuration", "not a change of this epoch", got=[key for key, _ in decided])
        if height < 1 or current is not self.at(height):
            raise InvariantViolation("configuration", "a change waits, or none can be decided here", height=height)
        last_height, document = _read_decision(value)
        if last_height != height + current.parameters.window:
            expected = height + current.parameters.window
            raise InvariantViolation("configuration", "ends at another height", expected=expected, got=last_height)
        try:
            configuration = parse_configuration(document, current.network)
        except InvalidConfiguration as error:
            raise InvariantViolation("configuration", str(error)) from None
        if configuration.epoch != current.epoch + 1:
            raise InvariantViolation("configuration", expected=current.epoch + 1, got=configuration.epoch)
        return configuration


def _read_decision(value: bytes) -> tuple[int, bytes]:
    try:
        return parse_decision(value)
    except EncodingError as error:
        raise InvariantViolation("damaged", f"a decided configuration: {error}") from None
