"""A ledger that one process makes block by block, with its certificates, and no network around it.

For figures about chains that are there, however they came: how long they are, and what they take on a disk.
"""

from collections import Counter
from pathlib import Path
from typing import Final

from contracts.runtime import Runtime
from ledger.chain import LEDGER_TABLES, Chain
from ledger.configuration import ProtocolParameters
from ledger.genesis import Genesis, parse_genesis, write_genesis
from ledger.lmdb_store import LmdbStore
from ledger.quorum_certificate import QuorumCertificate, vote_bytes
from ledger.transaction import parse_transaction
from ledger.world_state import StateSnapshot
from pbft.bench.workload import Founders, Situation, Workload, sign_call
from pbft.simulation.founding import GENESIS_TIME_MS, make_member, operator_key, replica_key

MEMBERS: Final = 4
PREPARED_AT_ONCE: Final = 10  # calls in a block that prepares a workload: some have millions of gas
BLOCK_MS: Final = 100  # between two blocks


class SoloLedger:
    """The chain of a workload in a directory of its own. Every call must succeed: AssertionError where one does not."""

    def __init__(self, directory: Path, workload: Workload) -> None:
        self.workload = workload
        self.genesis = make_genesis(workload)
        self.store = LmdbStore(directory, tables=LEDGER_TABLES)
        self.chain = Chain.open(self.store, self.genesis)
        self._runtime = Runtime()
        genesis = self.genesis
        self.chain.create(self._runtime.execute_genesis(genesis.contracts, genesis.time_ms, genesis.network_id))

    def prepare(self) -> None:
        """The calls that the workload needs before its first request, step by step."""
        operators = tuple(operator_key(number) for number in range(MEMBERS))
        founders = Founders(
            operators=operators,  # type: ignore[arg-type]
            genesis_time_s=GENESIS_TIME_MS // 1_000,
            network=self.genesis.network_id,
        )
        nonces: Counter[bytes] = Counter()
        for step in self.workload.preparation(founders):
            raws = []
            for call in step:
                nonce = nonces[call.signer.public_key]
                nonces[call.signer.public_key] += 1
                raws.append(
                    sign_call(
                        call.signer, nonce, self.situation, call.contract, call.method, call.arguments, call.gas_limit
                    )
                )
            for first in range(0, len(raws), PREPARED_AT_ONCE):
                self.append(raws[first : first + PREPARED_AT_ONCE])

    @property
    def situation(self) -> Situation:
        """Where this chain is."""
        head = self.chain.head
        return Situation(network=self.genesis.network_id, height=head.height, time_s=head.time_ms // 1_000)

    def append(self, raws: list[bytes]) -> None:
        """A block of these transactions, and the certificate that Q members make of it."""
        chain = self.chain
        transactions = [parse_transaction(raw) for raw in raws]
        planned = chain.plan(chain.height + 1, chain.head.time_ms + BLOCK_MS, transactions)
        with StateSnapshot(self.store.snapshot()) as state:
            outcome = self._runtime.execute_block(planned.plan, state)
        failed = [(call.status, call.code) for call in outcome.calls if call.status != "ok"]
        assert not failed and len(outcome.calls) == len(raws), failed
        header = chain.commit(planned, outcome).header
        message = vote_bytes(self.genesis.network_id, header.epoch, header.height, header.hash)
        signers = range(self.genesis.configuration.quorum)
        signatures = tuple((signer, replica_key(signer).sign(message)) for signer in signers)
        chain.store_certificate(
            QuorumCertificate(
                epoch=header.epoch, height=header.height, header_hash=header.hash, signatures=signatures
            )
        )  # fmt: skip

    def grow(self, blocks: int, *, requests: int) -> None:
        """Further blocks of the workload's next requests; all of it is durable when this returns."""
        for _ in range(blocks):
            self.append([self._next_request() for _ in range(requests)])
        self.chain.save_certificates()

    def _next_request(self) -> bytes:
        """The workload's next request with a nonce that its preparation did not use."""
        while True:
            raw = self.workload.next_request(self.situation)
            transaction = parse_transaction(raw).transaction
            if not self.chain.nonce_window(transaction.sender).is_used(transaction.nonce):
                return raw

    def close(self) -> None:
        """Release the store."""
        self.store.close()


def make_genesis(workload: Workload) -> Genesis:
    """The genesis of a workload's network, with the members of the simulated ones."""
    members = [make_member(replica, replica) for replica in range(MEMBERS)]
    return parse_genesis(
        write_genesis(
            name="solo",
            time_ms=GENESIS_TIME_MS,
            protocol=ProtocolParameters(),
            members=members,
            client_authorities=[operator_key(0).public_key],
            contracts=workload.contracts([(member.name, member.operator_key) for member in members]),
        )
    )
