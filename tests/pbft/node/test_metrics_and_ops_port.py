"""What a replica counts and how an operator reads it: names, types, bounds, and a port for this machine alone."""

import ast
import json
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.testing import MemoryReactor, StringTransport

from pbft.node import driver, metrics
from pbft.node.metrics import LABEL_VALUES_MAX, Metrics, metrics_text
from pbft.node.ops_port import listen_ops, make_site


def exposed(counts: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name and label values, as a Prometheus server would parse them."""
    text = metrics_text(counts, replica="r2", version="0.1.0").decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_every_figure_is_exposed_under_its_name() -> None:
    """The dataclass is the list: each field appears with prefix, and its value arrives."""
    counts = Metrics(height=7, view=2, blocks_total=9, reactor_lag_seconds=0.25)
    counts.client_refused_total["expired"] += 3
    found = exposed(counts)
    assert found["gridquorum_build_info"] == {("r2", "0.1.0"): 1.0}
    assert found["gridquorum_height"] == {(): 7.0}
    assert found["gridquorum_blocks_total"] == {(): 9.0}
    assert found["gridquorum_reactor_lag_seconds"] == {(): 0.25}
    assert found["gridquorum_client_refused_total"] == {("expired",): 3.0}
    plain = {f.name for f in fields(Metrics) if not isinstance(getattr(counts, f.name), Counter)}
    assert {f"gridquorum_{name}" for name in plain} <= set(found)
    assert set(metrics._HELP) == {f.name for f in fields(Metrics)}


def test_labels_from_outside_cannot_grow_without_bound() -> None:
    """Beyond the bound the smallest counts are one sum, so that no attacker makes the exposition grow."""
    counts = Metrics()
    for number in range(LABEL_VALUES_MAX + 10):
        counts.links_refused_total[f"reason-{number:03}"] += LABEL_VALUES_MAX + 10 - number
    samples = exposed(counts)["gridquorum_links_refused_total"]
    assert len(samples) == LABEL_VALUES_MAX + 1
    assert samples[("other",)] == sum(range(1, 11))


def test_each_name_that_the_driver_counts_has_a_figure() -> None:
    """A name without one would stop the replica at its first use: found here instead."""
    names = set()
    for node in ast.walk(ast.parse(Path(driver.__file__).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "count":
            argument = node.args[0]
            assert isinstance(argument, ast.Constant)
            names.add(argument.value)
    assert names == set(metrics._DRIVER_NAMES)
    counts = Metrics()
    for name in names:
        counts.count(name, "why", 2)
    assert counts.journal_syncs_total == 2
    assert counts.peer_refused_total == {"why": 2}


def get(site: Any, path: bytes, method: bytes = b"GET") -> tuple[bytes, bytes]:
    """Status line and body of one request through the real HTTP channel."""
    channel = site.buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(method + b" " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    head, _, body = transport.value().partition(b"\r\n\r\n")
    return head, body


def test_the_three_pages_and_nothing_else() -> None:
    """livez, status and metrics answer GET; other paths are not found, other methods not allowed."""
    site = make_site(status=lambda: {"v": 1, "height": 3}, metrics_text=lambda: b"gridquorum_height 3\n")
    head, body = get(site, b"/status")
    assert b" 200 " in head
    assert b"application/json" in head.lower()
    assert json.loads(body) == {"v": 1, "height": 3}
    assert get(site, b"/livez")[1] == b"live\n"
    assert get(site, b"/metrics")[1] == b"gridquorum_height 3\n"
    assert b" 404 " in get(site, b"/")[0]
    assert b" 404 " in get(site, b"/status/secret")[0]
    assert b" 405 " in get(site, b"/status", b"POST")[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "10.0.0.1"])
def test_the_ops_port_is_for_this_machine_alone(host: str) -> None:
    """An address that others could reach is refused before anything listens."""
    reactor = MemoryReactor()
    with pytest.raises(ValueError, match="loopback"):
        listen_ops(reactor, host, 9000, make_site(status=dict, metrics_text=bytes))
    assert reactor.tcpServers == []
    listen_ops(reactor, "127.0.0.1", 9000, make_site(status=dict, metrics_text=bytes))
    assert [(server[0], server[3]) for server in reactor.tcpServers] == [(9000, "127.0.0.1")]
