"""The judge of evidence files: off line, with nothing but the file and the bytes of the genesis (M54).

From the members of genesis the file's epoch ends lead to those of the envelopes' epoch, whose keys every signature must
hold under. What then convicts is `pbft.core.evidence`'s to say, which a replica that accuses asks too.
"""

from contracts.runtime import Runtime
from ledger.chain import LEDGER_TABLES, Chain
from ledger.configuration import Configuration
from ledger.epochs import Epochs
from ledger.errors import InvalidGenesis, InvalidProof
from ledger.execution import BlockOutcome
from ledger.genesis import parse_genesis
from ledger.keys import VerifySignature, verify_signature
from ledger.store import MemoryStore
from pbft.core.actions import Evidence
from pbft.core.errors import InvalidMessage
from pbft.core.evidence import validate_evidence
from pbft.node.epochs import compute_core_configuration
from pbft.node.inline_worker import InlineWorker
from pbft.wire.codec import VerifiedSignatures, Verifier
from pbft.wire.evidence import EVIDENCE_BYTES_MAX, InvalidEvidence, parse_evidence
from pbft.wire.limits import WireError


def judge(data: bytes, genesis_bytes: bytes) -> Evidence:
    """Checks an evidence file against the bytes of a genesis file; raises InvalidEvidence where it convicts nobody.

    The genesis block is executed in memory: a VIEW-CHANGE from height 0 names its header.
    """
    if len(data) > EVIDENCE_BYTES_MAX:
        raise InvalidEvidence("too_long", f"more than {EVIDENCE_BYTES_MAX} bytes")
    try:
        genesis = parse_genesis(genesis_bytes)
    except InvalidGenesis as error:
        raise InvalidEvidence("genesis", str(error)) from None
    store = MemoryStore(LEDGER_TABLES)
    chain = Chain.open(store, genesis)

    def create(outcome: BlockOutcome) -> None:
        chain.create(outcome)

    InlineWorker(Runtime(), store).run_genesis(genesis.contracts, genesis.time_ms, genesis.network_id, create)
    return verify_evidence(data, genesis.configuration, chain.header_hash(0))


def verify_evidence(
    data: bytes, founding: Configuration, genesis_hash: bytes, verify: VerifySignature = verify_signature
) -> Evidence:
    """Checks an evidence file by the configuration of epoch 0 and the hash of header 0. Raises InvalidEvidence.

    1. The file is of this network, in its canonical form and well formed. 2. Each epoch's members certified the header
    that names the next ones. 3. Every signature in the envelopes holds, the nested ones too. 4. They are of the epoch
    that the last of those headers names, and convict one of its members of what is claimed, and of nothing else.
    """
    file = parse_evidence(data, founding.network)
    epochs, base = Epochs(founding), (0, genesis_hash)
    verifier = Verifier(epochs, verified=VerifiedSignatures(verify=verify))
    envelopes = (file.evidence.first, file.evidence.second)
    try:
        for link in file.links:
            epochs.add_link(link, verify)
            base = link.header.height, link.header.hash
        for envelope in envelopes:
            if envelope is not None:
                verifier.verify_envelope(envelope)
        validate_evidence(compute_core_configuration(epochs.newest, *base), file.evidence)
    except InvalidProof as error:
        raise InvalidEvidence("epoch", str(error)) from None
    except (WireError, InvalidMessage) as error:
        raise InvalidEvidence(error.code, error.detail) from None
    return file.evidence
