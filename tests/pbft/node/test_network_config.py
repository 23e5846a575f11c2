"""Network definitions: what is read, what is refused and how the message names it; the shipped files, their README."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.configuration import ProtocolParameters
from pbft.node.network_config import (
    FILE_BYTES_MAX,
    ConfigError,
    NetworkDefinition,
    ReplicaDefinition,
    dump_network,
    load_network,
    parse_network,
    require_complete,
)

CONFIGS = Path(__file__).resolve().parents[3] / "network-configs"

GOOD = """\
version: 1
name: test-net
genesis_time: 2026-06-01T00:00:00Z
protocol:
  window: 64
replicas:
  - {id: 0, name: coop-a, host: 127.0.0.1, p2p_port: 1, client_port: 2, ops_port: 3}
  - {id: 1, name: coop-b, host: 127.0.0.1, p2p_port: 4, client_port: 5, ops_port: 6}
  - {id: 2, name: coop-c, host: 127.0.0.1, p2p_port: 7, client_port: 8, ops_port: 9}
  - id: 3
    name: coop-d
    host: r3.example
    p2p_port: 1
    client_port: 2
    ops_port: 3
client_authorities:
  - aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
"""

# name of the defect: (text to replace, replacement, the whole message after the file's name)
HEX = "64 lower-case hexadecimal digits (32 bytes)"
NETWORK_KEYS = "version, name, genesis_time, protocol, replicas, client_authorities, network_id"
PARAMETER_KEYS = ", ".join(field.name for field in fields(ProtocolParameters))
REPLICA_KEYS = "id, name, host, p2p_port, client_port, ops_port, consensus_key, transport_key, operator_key"
DEFECTS = {
    "unknown key": (
        "version: 1\n",
        "version: 1\nnetwork: x\n",
        f":2: network: expected one of {NETWORK_KEYS}, got an unknown key",
    ),
    "unknown key of a replica": (
        "    host: r3.example",
        "    hosst: r3.example",
        f":12: replicas[3].hosst: expected one of {REPLICA_KEYS}, got an unknown key",
    ),
    "unknown parameter": (
        "window: 64",
        "windows: 64",
        f":5: protocol.windows: expected one of {PARAMETER_KEYS}, got an unknown key",
    ),
    "duplicate key": (
        "name: test-net\n",
        "name: test-net\nname: other\n",
        ":3: name: expected each key once, got it again, after line 2",
    ),
    "duplicate key in a flow map": (
        "{id: 0, name",
        "{id: 0, id: 0, name",
        ":7: replicas[0].id: expected each key once, got it again, after line 7",
    ),
    "missing key": ("    host: r3.example\n", "", ":10: replicas[3].host: expected a value, got nothing"),
    "missing name": ("name: test-net\n", "", ":1: name: expected a value, got nothing"),
    "text for a number": (
        "p2p_port: 4,",
        "p2p_port: '4',",
        ':8: replicas[1].p2p_port: expected a whole number, got "4"',
    ),
    "float": ("p2p_port: 4,", "p2p_port: 4.0,", ':8: replicas[1].p2p_port: expected a whole number, got "4.0"'),
    "sexagesimal is text": (
        "p2p_port: 4,",
        "p2p_port: 12:30,",
        ':8: replicas[1].p2p_port: expected a whole number, got "12:30"',
    ),
    "octal is text": ("window: 64", "window: 0100", ':5: protocol.window: expected a whole number, got "0100"'),
    "number for text": ("host: r3.example", "host: 7", ":12: replicas[3].host: expected text, got 7"),
    "truth for a number": ("window: 64", "window: true", ":5: protocol.window: expected a whole number, got true"),
    "null for text": ("name: test-net", "name: null", ":2: name: expected text, got null"),
    "list for a map": ("  window: 64", "  - 64", ":4: protocol: expected a map, got a list of 1"),
    "map for a list": (
        "client_authorities:\n  - ",
        "client_authorities:\n  a: ",
        ":16: client_authorities: expected a list, got a map",
    ),
    "port too high": (
        "p2p_port: 4,",
        "p2p_port: 65536,",
        ":8: replicas[1].p2p_port: expected a whole number <= 65535, got 65536",
    ),
    "negative port": (
        "p2p_port: 4,",
        "p2p_port: -4,",
        ":8: replicas[1].p2p_port: expected a whole number >= 0, got -4",
    ),
    "other version": ("version: 1", "version: 2", ":1: version: expected a whole number <= 1, got 2"),
    "bad name": (
        "name: test-net",
        "name: Test Net",
        ":2: name: expected 2 to 64 of a-z, 0-9, '.' and '-', a letter first, got \"Test Net\"",
    ),
    "newline after a name": (
        "name: test-net",
        'name: "test-net\\n"',
        ":2: name: expected 2 to 64 of a-z, 0-9, '.' and '-', a letter first, got \"test-net\\n\"",
    ),
    "newline after a host": (
        "host: r3.example",
        'host: "r3.example\\n"',
        ':12: replicas[3].host: expected a host name or an IP address, got "r3.example\\n"',
    ),
    "newline after a key": (
        "host: r3.example",
        f'host: r3.example\n    transport_key: "{"0" * 64}\\n"',
        f':13: replicas[3].transport_key: expected {HEX}, got "{"0" * 59}...',
    ),
    "key that looks like a message": (
        "version: 1",
        'version: 1\n"x - at `$]`": 1',
        ':2: expected a key of a-z, 0-9, _, got "x - at `$]`"',
    ),
    "key with a newline": (
        "    host: r3.example",
        '    host: r3.example\n    "a\\n": 1',
        ':13: replicas[3]: expected a key of a-z, 0-9, _, got "a\\n"',
    ),
    "bad host": (
        "host: r3.example",
        "host: 'r3 example'",
        ':12: replicas[3].host: expected a host name or an IP address, got "r3 example"',
    ),
    "bad key": (
        "host: r3.example",
        "host: r3.example\n    transport_key: 00ff",
        f':13: replicas[3].transport_key: expected {HEX}, got "00ff"',
    ),
    "upper-case key": (
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "A" * 64,
        f':17: client_authorities[0]: expected {HEX}, got "{"A" * 59}...',
    ),
    "authority twice": (
        "  - " + "a" * 64,
        "  - " + "a" * 64 + "\n  - " + "a" * 64,
        ":18: client_authorities[1]: expected each authority once, got the key of client_authorities[0] again",
    ),
    "ids do not ascend": (
        "- id: 3",
        "- id: 4",
        ":10: replicas[3].id: expected 3: ids ascend from 0, got 4",
    ),
    "name twice": (
        "name: coop-d",
        "name: coop-a",
        ':11: replicas[3].name: expected another name than replicas[0].name, got "coop-a"',
    ),
    "port of a host twice": (
        "p2p_port: 7, client_port: 8",
        "p2p_port: 7, client_port: 7",
        ":9: replicas[2].client_port: expected another port of 127.0.0.1 than replicas[2].p2p_port, got 7",
    ),
    "three replicas": (
        "  - {id: 2, name: coop-c, host: 127.0.0.1, p2p_port: 7, client_port: 8, ops_port: 9}\n",
        "",
        ":6: replicas: expected a list of length >= 4, got a list of 3",
    ),
    "parameter out of bounds": (
        "window: 64",
        "window: 5",
        ":5: protocol.window: expected at least 8 and at most 1024, got 5",
    ),
    "parameters that contradict": (
        "window: 64",
        "window: 64\n  stride: 32",
        ":6: protocol.stride: expected at most 16, got 32",
    ),
    "local time": (
        "2026-06-01T00:00:00Z",
        "2026-06-01T00:00:00+02:00",
        ':3: genesis_time: expected a UTC time such as 2026-06-01T00:00:00Z, got "2026-06-01T00:00:00+02:00"',
    ),
    "a day that is none": (
        "2026-06-01T",
        "2026-02-30T",
        ':3: genesis_time: expected a UTC time such as 2026-06-01T00:00:00Z, got "2026-02-30T00:00:00Z"',
    ),
    "anchor": ("name: test-net", "name: &a test-net", ":2: expected plain values, got a YAML anchor"),
    "alias": ("name: test-net", "name: *a", ":2: expected plain values, got a YAML alias"),
    "tag": ("name: test-net", "name: !!python/name:os.system x", ":2: expected plain values, got a YAML tag"),
    "broken YAML": ("version: 1", "version: [1", ":2: expected YAML or JSON, got expected ',' or ']', but got ':'"),
    "tab": ("  window", "\twindow", ":5: expected YAML or JSON, got found character '\\t' that cannot start any token"),
    "two documents": (
        "name: test-net",
        "---\nname: test-net",
        ":2: expected YAML or JSON, got but found another document",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_named_with_its_place(defect) -> None:
    """The message says file, line, key, what was expected and what was found, and nothing else."""
    old, new, message = DEFECTS[defect]
    assert GOOD.count(old) >= 1
    with pytest.raises(ConfigError) as refused:
        parse_network(GOOD.replace(old, new, 1), "net.yaml")
    assert (
        str(refused.value).startswith("net.yaml" + message)
        if message.endswith("...")
        else str(refused.value) == "net.yaml" + message
    )


def test_a_good_file_is_read_to_the_last_field() -> None:
    definition = parse_network(GOOD, "net.yaml")
    assert definition.name == "test-net" and definition.genesis_time_ms == 1_780_272_000_000
    assert definition.client_authorities == (b"\xaa" * 32,) and definition.network_id is None
    assert definition.protocol == ProtocolParameters()
    assert definition.replica(3) == ReplicaDefinition(
        id=3, name="coop-d", host="r3.example", p2p_port=1, client_port=2, ops_port=3
    )
    for missing in (-1, 4):
        with pytest.raises(KeyError):
            definition.replica(missing)


def test_a_file_that_cannot_be_read_is_named(tmp_path) -> None:
    """Missing, not UTF-8, too long, empty: each with its file, none with a traceback."""
    (tmp_path / "binary.yaml").write_bytes(b"version: \xff")
    (tmp_path / "long.yaml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    (tmp_path / "empty.yaml").write_bytes(b"\n")
    expected = {
        "missing.yaml": "expected a readable file, got No such file or directory",
        "binary.yaml": "expected UTF-8 text, got byte 0xff at position 9",
        "long.yaml": "expected at most 1048576 bytes, got more",
        "empty.yaml": "expected a network definition, got an empty file",
    }
    for name, message in expected.items():
        with pytest.raises(ConfigError) as refused:
            load_network(tmp_path / name)
        assert message in str(refused.value) and str(tmp_path / name) in str(refused.value)


def test_a_nest_of_lists_is_refused_not_followed() -> None:
    """Depth is bounded, for the parser too."""
    for text in ("[" * 20_000, "[" * 12 + "]" * 12):
        with pytest.raises(ConfigError):
            parse_network(f"name: {text}", "net.yaml")


@settings(max_examples=60)
@given(st.integers(0, len(GOOD) - 1), st.text(max_size=3))
def test_any_change_of_a_file_is_read_or_refused(position, inserted) -> None:
    """No text makes anything but a definition or a ConfigError."""
    text = GOOD[:position] + inserted + GOOD[position + 1 :]
    try:
        assert isinstance(parse_network(text, "net.yaml"), NetworkDefinition)
    except ConfigError as error:
        assert str(error).startswith("net.yaml")


def complete(definition: NetworkDefinition) -> NetworkDefinition:
    """A template with keys."""
    replicas = tuple(
        replace(
            replica,
            consensus_key=bytes([replica.id]) * 32,
            transport_key=bytes([64 + replica.id]) * 32,
            operator_key=bytes([128 + replica.id]) * 32,
        )
        for replica in definition.replicas
    )
    time_ms = 1_780_272_000_123
    return replace(definition, replicas=replicas, genesis_time_ms=time_ms, client_authorities=(b"\xaa" * 32,))


@pytest.mark.parametrize("name", ["local-4.yaml", "local-7.yaml", "three-sites.yaml"])
def test_the_shipped_files_are_templates_that_can_be_completed(name) -> None:
    definition = load_network(CONFIGS / name)
    with pytest.raises(ConfigError, match="got nothing: this is a template"):
        require_complete(definition, name)
    filled = complete(definition)
    require_complete(filled, name)
    for one in (definition, filled, replace(filled, network_id=b"\x07" * 32)):
        assert parse_network(dump_network(one), name) == one


def test_require_complete_names_what_a_template_lacks() -> None:
    filled = complete(parse_network(GOOD, "net.yaml"))
    lacking = {
        "genesis_time": replace(filled, genesis_time_ms=None),
        "client_authorities": replace(filled, client_authorities=()),
        "replicas[2].transport_key": replace(
            filled,
            replicas=(*filled.replicas[:2], replace(filled.replicas[2], transport_key=None), filled.replicas[3]),
        ),
    }
    for key, definition in lacking.items():
        with pytest.raises(ConfigError) as refused:
            require_complete(definition, "net.yaml")
        assert refused.value.key == key


def test_one_key_has_one_duty() -> None:
    """The same key as transport key of one replica and operator key of another is a mistake worth an error."""
    filled = json.loads(dump_network(complete(parse_network(GOOD, "net.yaml"))))
    filled["replicas"][3]["operator_key"] = filled["replicas"][1]["transport_key"]
    with pytest.raises(ConfigError, match=r"expected another key than replicas\[1\].transport_key"):
        parse_network(json.dumps(filled), "net.json")


def test_the_readme_explains_every_field() -> None:
    """Each field of the dataclasses has its row, and no row is about a field that is gone."""
    text = (CONFIGS / "README.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))
    of_network = {field.name.removesuffix("_ms") if field.name == "genesis_time_ms" else field.name
                  for field in fields(NetworkDefinition)}  # fmt: skip
    known = of_network.union(
        *({field.name for field in fields(kind)} for kind in (ReplicaDefinition, ProtocolParameters))
    )
    assert explained == known
    files = set(re.findall(r"^\| `([\w.-]+\.yaml)` \|", text, flags=re.MULTILINE))
    assert files == {path.name for path in CONFIGS.glob("*.yaml")}


def test_the_readme_states_the_true_defaults() -> None:
    text = (CONFIGS / "README.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, flags=re.MULTILINE))
    assert stated == {field.name: str(field.default) for field in fields(ProtocolParameters)}
