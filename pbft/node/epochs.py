"""The epochs of this replica's chain, as its core, its wire and its links read them: one place that answers for all.

A replica finds itself in a configuration by its consensus key, and by nothing else: the epoch that lists the key it
holds has it as a voter, in every other one it is an observer, which signs nothing (D37, D41). So a replica whose disk
was lost starts with a new key and is silent by itself until the first height of an epoch that lists it.
"""

from ledger.chain import Chain
from ledger.configuration import Configuration
from pbft.core.config import OBSERVER, CoreConfiguration, EpochStart
from pbft.wire.limits import WireRules


def compute_core_configuration(configuration: Configuration, base_height: int, base_hash: bytes) -> CoreConfiguration:
    """What the core needs of an epoch, and the header below its first height."""
    parameters = configuration.parameters
    return CoreConfiguration(
        network=configuration.network,
        epoch=configuration.epoch,
        base_height=base_height,
        base_hash=base_hash,
        member_count=configuration.n,
        window=parameters.window,
        stride=parameters.stride,
        base_timer_ms=parameters.base_timer_ms,
        view_timer_ms=parameters.view_timer_ms,
        batch_requests_max=parameters.batch_requests_max,
        batch_bytes_max=parameters.batch_bytes_max,
        block_gas_max=parameters.block_gas_max,
        transaction_gas_max=parameters.transaction_gas_max,
    )


class EpochBook:
    """The configurations of a chain, from the point of view of one consensus key."""

    def __init__(self, chain: Chain, consensus_key: bytes) -> None:
        self._chain = chain
        self._consensus_key = consensus_key
        self._rules = WireRules.of(chain.epochs.newest)
        self._rules_epoch = -1  # none yet: they are computed at the first question

    @property
    def rules(self) -> WireRules:
        """The wire's limits: wide enough for every epoch that is decided here, so that no legal message of one is
        refused; what a batch may hold the core judges by its own epoch."""
        newest = self._chain.epochs.newest
        if newest.epoch != self._rules_epoch:
            known = [self._chain.epochs.of(epoch) for epoch in range(newest.epoch + 1)]
            self._rules = WireRules.of(*[configuration for configuration in known if configuration is not None])
            self._rules_epoch = newest.epoch
        return self._rules

    def replica_id(self, epoch: int) -> int:
        """This replica's id in an epoch that is decided here; OBSERVER where it is no voter."""
        members = self._configuration(epoch).members
        return next((member.id for member in members if member.consensus_key == self._consensus_key), OBSERVER)

    def start_of(self, epoch: int) -> EpochStart:
        """With what an epoch begins, once the last height before it is executed."""
        base_height, base_hash = self._base_of(epoch)
        return EpochStart(
            configuration=compute_core_configuration(self._configuration(epoch), base_height, base_hash),
            replica_id=self.replica_id(epoch),
        )

    def _base_of(self, epoch: int) -> tuple[int, bytes]:
        """The last height before an epoch, and its header hash; a link stays where blocks below a snapshot do not."""
        link = self._chain.epoch_link(epoch - 1) if epoch else None
        if link is not None:
            return link.header.height, link.header.hash
        height = self._chain.epochs.last_height(epoch - 1) if epoch else 0
        assert height is not None, "the epoch is decided"
        return height, self._chain.header_hash(height)

    def end_of(self, epoch: int, executed_height: int) -> tuple[int | None, EpochStart | None]:
        """The last height of an epoch if it is decided, and the next epoch's start once that height is executed."""
        last_height = self._chain.epochs.last_height(epoch)
        return last_height, self.start_of(epoch + 1) if last_height == executed_height else None

    def _configuration(self, epoch: int) -> Configuration:
        configuration = self._chain.epochs.of(epoch)
        assert configuration is not None, "the epoch is decided"
        return configuration
