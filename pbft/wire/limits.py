"""What may cross a link: every limit of the wire with its reason, and the one refusal that decoders raise.

A limit is either a constant of the format (lengths of hashes, texts, lists) or follows from the genesis, so that all
replicas refuse the same bytes: those are computed in `WireRules`. Sizes and counts are checked by `shape` before
anything is allocated, contents by `decode`. Who is told of a refusal, and what is counted, is left to the edge.
"""

from dataclasses import dataclass, field
from typing import Final

from ledger.block import HEADER_BYTES_MAX
from ledger.configuration import MEMBERS_MAX, PARAMETER_BOUNDS, Configuration
from ledger.hashing import HASH_BYTES, SIGNATURE_BYTES

WIRE_VERSION: Final = 1  # of Hello and of every signed payload; another version is refused, not guessed

NUMBER_MAX: Final = 2**63 - 1  # heights, views, times, nonces: fits every language's signed 64 bit

HELLO_BYTES_MAX: Final = 256  # read from whoever completed TLS, before anything is known about it
RELEASE_CHARACTERS_MAX: Final = 32  # a version text for logs

VOTES_PER_SLOT: Final = 4  # PREPARE, COMMIT, header vote of a slot, and one more for votes resent after a restart
DIGESTS_PER_SLOT_MAX: Final = 16  # Q set: one new digest per slot and failed view at most (D30)
FETCHED_DIGESTS_MAX: Final = 64  # bodies asked for at once: a NEW-VIEW's whole window
BATCHES_MAX: Final = 64  # bodies in one answer to a fetch
BLOCKS_MAX: Final = 64  # blocks in one answer to a replica that lags
FORWARDED_MAX: Final = 256  # envelopes in one answer to a STATUS
TRANSFER_BYTES_MAX: Final = 4_194_304  # bodies, blocks or envelopes of one frame: bounds what one answer may allocate

CLIENT_FRAME_BYTES_MAX: Final = 262_144  # a transaction with its payload or the arguments of a view, twice over
VIEW_ARGUMENTS_BYTES_MAX: Final = 65_536  # arguments of a read
STATE_KEY_BYTES_MAX: Final = 1_024  # a key of the world state in a request for a proof
AWAITED_MAX: Final = 1_024  # transactions in one question for outcomes: all that a connection may wait for
REPLIES_MAX: Final = 1_024  # outcomes in one answer
REPLICA_FRAME_BYTES_MAX: Final = 4_194_304  # the largest answer to a client: a proof or the result of a view
CODE_CHARACTERS_MAX: Final = 64  # stable refusal and outcome codes
DETAIL_CHARACTERS_MAX: Final = 500  # a sentence for a person

# Bytes that protobuf spends around the content of one element: tags, lengths, a few numbers of at most 10 bytes.
ELEMENT_OVERHEAD: Final = 64


class WireError(Exception):
    """Bytes from outside that are refused; `code` is stable and counted, `detail` is for a log (expected and got)."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRules:
    """The limits that follow from the configurations of a network: those of all epochs that a replica knows of."""

    network: bytes  # network id: transactions of another network are refused while decoding
    replicas: int  # n of the configuration
    window: int  # L: heights that can be in flight above a certified one
    batch_requests_max: int
    batch_bytes_max: int  # sum of the bytes of a batch's transactions and of their private payloads

    votes_max: int = field(init=False)  # votes that share an envelope
    pre_prepared_max: int = field(init=False)  # entries of a Q set
    envelope_bytes_max: int = field(init=False)  # the signed bytes of the largest message
    transfer_bytes_max: int = field(init=False)  # what one frame may carry of bodies, blocks or envelopes
    peer_frame_bytes_max: int = field(init=False)

    def __post_init__(self) -> None:
        """Derives the sizes; each is the sum of its parts at their limits, so that no legal message is ever refused."""
        entry = HASH_BYTES + ELEMENT_OVERHEAD
        certificate = self.replicas * (SIGNATURE_BYTES + ELEMENT_OVERHEAD) + entry
        batch = self.batch_bytes_max + (2 * self.batch_requests_max + 2) * ELEMENT_OVERHEAD
        pre_prepared = DIGESTS_PER_SLOT_MAX * self.window
        view_change = certificate + (self.window + pre_prepared) * entry + SIGNATURE_BYTES + 4 * ELEMENT_OVERHEAD
        new_view = self.replicas * view_change + self.window * entry + 2 * ELEMENT_OVERHEAD
        proof = 2 * batch  # two proposals that contradict each other convict their primary together (M17)
        transfer = max(TRANSFER_BYTES_MAX, proof, new_view) + SIGNATURE_BYTES + HEADER_BYTES_MAX + 4 * ELEMENT_OVERHEAD
        object.__setattr__(self, "votes_max", VOTES_PER_SLOT * self.window)
        object.__setattr__(self, "pre_prepared_max", pre_prepared)
        object.__setattr__(self, "envelope_bytes_max", max(batch, new_view) + 4 * ELEMENT_OVERHEAD)
        object.__setattr__(self, "transfer_bytes_max", transfer)
        object.__setattr__(self, "peer_frame_bytes_max", transfer + certificate + FORWARDED_MAX * ELEMENT_OVERHEAD)

    @classmethod
    def widest(cls, network: bytes) -> "WireRules":
        """Rules that no configuration of any epoch exceeds: for a file, whose length is bounded by itself."""
        return cls(
            network=network,
            replicas=MEMBERS_MAX,
            window=PARAMETER_BOUNDS["window"][1],
            batch_requests_max=PARAMETER_BOUNDS["batch_requests_max"][1],
            batch_bytes_max=PARAMETER_BOUNDS["batch_bytes_max"][1],
        )

    @classmethod
    def of(cls, *configurations: Configuration) -> "WireRules":
        """The rules of one or more epochs of a network: of each limit the widest, since messages of all are met."""
        parameters = [configuration.parameters for configuration in configurations]
        return cls(
            network=configurations[0].network,
            replicas=max(configuration.n for configuration in configurations),
            window=max(p.window for p in parameters),
            batch_requests_max=max(p.batch_requests_max for p in parameters),
            batch_bytes_max=max(p.batch_bytes_max for p in parameters),
        )
