"""What a replica counts: one dataclass, a comment for each figure, and its exposition for Prometheus.

It owns the names of all metrics. Its rules: figures are plain attributes (an increment costs tens of nanoseconds, so
nothing is sampled), they are changed only at the edge (driver, transport, ports, execution), never in the core; labels
come from closed sets (refusal codes, member ids), never from the outside. Base units are seconds and bytes. What a
figure means to an operator is for the documentation; serving the text is `ops_port`'s.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LABEL_VALUES_MAX = (
    64  # values of one label: more means that a label is not from a closed set; the rest count as "other"
)


@dataclass(slots=True, kw_only=True)
class Metrics:
    """The figures of one replica since its process started; gauges are refreshed by whoever owns the fact."""

    height: int = 0  # last executed height
    certified_height: int = 0  # newest height with a quorum certificate here
    epoch: int = 0  # epoch that this replica is in
    view: int = 0  # view that this replica is in or moving to
    is_primary: int = 0  # 1 while this replica is the primary of an active view
    view_changes_total: int = 0  # views entered after view 0
    blocks_total: int = 0  # blocks executed by this process
    transactions_total: Counter[str] = field(default_factory=Counter)  # receipts written, by status
    gas_used_total: int = 0  # gas of executed blocks
    last_block_timestamp_seconds: int = 0  # agreed time of the last executed block
    journal_syncs_total: int = 0  # durable writes of the journal; several messages share one
    ledger_syncs_total: int = 0  # durable writes of the ledger: blocks, certificates, chunks of snapshots
    peer_sent_bytes_total: int = 0  # frames to other replicas as they leave the queue, before TLS
    client_sent_bytes_total: int = 0  # answers to clients, before TLS
    client_received_bytes_total: int = 0  # frames of clients, after TLS
    peer_messages_total: Counter[str] = field(default_factory=Counter)  # decoded messages from replicas, by kind
    peer_refused_total: Counter[str] = field(default_factory=Counter)  # frames of replicas refused, by code
    peer_dropped_total: Counter[str] = field(default_factory=Counter)  # well-formed messages of no use, by code
    evidence_total: Counter[str] = field(default_factory=Counter)  # proof against a replica, by kind
    halts_total: Counter[str] = field(default_factory=Counter)  # 1 when this replica has stopped for good, by kind
    links_refused_total: Counter[str] = field(default_factory=Counter)  # connections refused on a port, by reason
    peers_connected: int = 0  # replicas to which a verified link is open now
    queue_dropped_total: Counter[str] = field(default_factory=Counter)  # frames dropped from full queues, by class
    client_connections: int = 0  # open connections on the client port
    client_requests_total: int = 0  # transactions handed to the core after passing the door
    client_refused_total: Counter[str] = field(default_factory=Counter)  # frames refused at the door, by code
    client_waiting: int = 0  # clients' transactions whose outcome somebody waits for
    worker_restarts_total: Counter[str] = field(default_factory=Counter)  # contract workers replaced, by cause
    verifier_restarts_total: Counter[str] = field(default_factory=Counter)  # verifier processes replaced, by cause
    verifier_verdicts_total: Counter[str] = field(default_factory=Counter)  # signatures given to verifiers, by verdict
    verifier_overflows_total: int = 0  # frames checked here at once, because too much waited for verdicts
    execution_stopped: int = 0  # 1 when the worker gave up on a block (D54): ordering goes on, execution does not
    snapshot_height: int = 0  # of the snapshot on its way in, 0 where none is
    snapshot_chunks_total: Counter[str] = field(default_factory=Counter)  # chunks received, taken or refused, by code
    snapshot_chunks_served_total: int = 0  # chunks sent to replicas that are far behind
    snapshots_installed_total: int = 0  # snapshots that became the ledger
    reactor_lag_seconds: float = 0.0  # how late the last tick came

    def count(self, name: str, reason: str = "", amount: int = 1) -> None:
        """What the driver counts (`pbft.node.driver.Counters`): its names for figures above. KeyError for another."""
        figure = getattr(self, _DRIVER_NAMES[name])
        if isinstance(figure, Counter):
            figure[reason] += amount
        else:
            setattr(self, _DRIVER_NAMES[name], figure + amount)


_DRIVER_NAMES = {
    "journal_sync": "journal_syncs_total",
    "message": "peer_messages_total",
    "frame_refused": "peer_refused_total",
    "message_dropped": "peer_dropped_total",
    "evidence": "evidence_total",
    "halted": "halts_total",
    "snapshot_chunk": "snapshot_chunks_total",
    "snapshot_installed": "snapshots_installed_total",
}
_HELP = {
    "height": "Last executed height.",
    "certified_height": "Newest height with a quorum certificate on this replica.",
    "epoch": "Epoch that this replica is in.",
    "view": "View that this replica is in or moving to.",
    "is_primary": "1 while this replica is the primary of an active view.",
    "view_changes_total": "Views entered after view 0.",
    "blocks_total": "Blocks executed by this process.",
    "transactions_total": "Receipts written, by status.",
    "gas_used_total": "Gas of executed blocks.",
    "last_block_timestamp_seconds": "Agreed time of the last executed block.",
    "journal_syncs_total": "Durable writes of the journal.",
    "ledger_syncs_total": "Durable writes of the ledger.",
    "peer_sent_bytes_total": "Bytes of frames sent to other replicas, before TLS.",
    "client_sent_bytes_total": "Bytes of answers to clients, before TLS.",
    "client_received_bytes_total": "Bytes of frames of clients, after TLS.",
    "peer_messages_total": "Decoded messages from replicas, by kind.",
    "peer_refused_total": "Frames of replicas refused, by code.",
    "peer_dropped_total": "Well-formed messages of replicas that were of no use, by code.",
    "evidence_total": "Proof against a replica, by kind.",
    "halts_total": "1 when this replica has stopped for good, by kind: diverged, second_signer, contradicted, store.",
    "links_refused_total": "Connections refused on a port, by reason.",
    "peers_connected": "Replicas to which a verified link is open.",
    "queue_dropped_total": "Frames dropped from full queues, by class.",
    "client_connections": "Open connections on the client port.",
    "client_requests_total": "Transactions that passed the door.",
    "client_refused_total": "Client frames refused at the door, by code.",
    "client_waiting": "Transactions whose outcome a client waits for.",
    "worker_restarts_total": "Contract workers replaced, by cause.",
    "verifier_restarts_total": "Verifier processes replaced, by cause.",
    "verifier_verdicts_total": "Signatures given to verifier processes, by verdict: holds, fails, none.",
    "verifier_overflows_total": "Frames checked in the main process because too much waited for verdicts.",
    "execution_stopped": "1 when execution stopped with a cause while ordering goes on.",
    "snapshot_height": "Height of the snapshot on its way in, 0 where none is.",
    "snapshot_chunks_total": "Chunks of snapshots received, by what became of them.",
    "snapshot_chunks_served_total": "Chunks of snapshots sent to replicas that are far behind.",
    "snapshots_installed_total": "Snapshots that became the ledger.",
    "reactor_lag_seconds": "How late the last tick came.",
}
_LABELS = {
    "transactions_total": "status",
    "peer_messages_total": "kind",
    "peer_refused_total": "code",
    "peer_dropped_total": "code",
    "evidence_total": "kind",
    "halts_total": "kind",
    "links_refused_total": "reason",
    "queue_dropped_total": "class",
    "client_refused_total": "code",
    "worker_restarts_total": "cause",
    "verifier_restarts_total": "cause",
    "verifier_verdicts_total": "verdict",
    "snapshot_chunks_total": "code",
}


class _Exposition(Collector):
    """Turns the dataclass into Prometheus families at the moment of a scrape."""

    def __init__(self, metrics: Metrics, replica: str, version: str) -> None:
        self._metrics = metrics
        self._replica = replica
        self._version = version

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("gridquorum_build_info", "Constant 1.", labels=["version", "replica"])
        info.add_metric([self._version, self._replica], 1)
        yield info
        for name, text in _HELP.items():
            yield _family(name, text, getattr(self._metrics, name))


def _family(name: str, text: str, value: int | float | Counter[str]) -> Metric:
    full_name = f"gridquorum_{name}"
    if isinstance(value, Counter):
        family = CounterMetricFamily(full_name, text, labels=[_LABELS[name]])
        for label, count in _bounded(value):
            family.add_metric([label], count)
        return family
    if name.endswith("_total"):
        return CounterMetricFamily(full_name, text, value=value)
    return GaugeMetricFamily(full_name, text, value=value)


def _bounded(counts: Counter[str]) -> list[tuple[str, int]]:
    """The largest `LABEL_VALUES_MAX` values in the order of their names, the rest in one sum."""
    kept = counts.most_common(LABEL_VALUES_MAX)
    rest = counts.total() - sum(count for _, count in kept)
    return sorted(kept) + ([("other", rest)] if rest else [])


def metrics_text(metrics: Metrics, *, replica: str, version: str) -> bytes:
    """The Prometheus text of all figures, UTF-8."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Exposition(metrics, replica, version))
    return generate_latest(registry)
