"""The network definition: who the replicas are, where they listen, and the protocol's parameters; read strictly.

    definition = load_network(path)            # ConfigError names file, line, key, expected and got
    require_complete(definition, path)         # a template lacks keys; what runs must not
    text = dump_network(definition)            # canonical JSON, which load_network reads back to an equal definition

One loader reads YAML and JSON. It knows text, whole numbers, true and false, null, lists and maps, and nothing else:
no duplicate keys, anchors, tags, dates, floats, octal or sexagesimal numbers (plain YAML reads 12:30 as 750 and NO as
false). Structure is checked by msgspec, relations here. Every field is explained in network-configs/README.md.
"""

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import yaml

from ledger.configuration import MEMBERS_MAX, MEMBERS_MIN, PARAMETER_NAMES, ProtocolParameters
from ledger.errors import InvalidGenesis

FILE_BYTES_MAX: Final = 1_048_576  # a network of the largest size takes a few ten kilobytes
DEPTH_MAX: Final = 8  # the format has three levels
GOT_CHARACTERS_MAX: Final = 60  # of a refused value in a message
TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{3}))?Z", re.ASCII
)  # RFC 3339, UTC, whole milliseconds
TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
KEY_FIELDS: Final = ("consensus_key", "transport_key", "operator_key")
PORT_FIELDS: Final = ("p2p_port", "client_port", "ops_port")
KEY_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of any map here; so a path of keys reads back in one way
INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
INTEGER_DIGITS_MAX: Final = 18  # every number of the format fits, and no text becomes a number of a million digits


class ConfigError(Exception):
    """A definition that is refused, and where: `line` counts from 1, 0 where there is none."""

    def __init__(self, *, file: str, line: int, key: str, expected: str, got: str) -> None:
        place = f"{file}:{line}" if line else file
        where = f"{place}: {key}" if key else place
        super().__init__(f"{where}: expected {expected}, got {got}")
        self.file, self.line, self.key, self.expected, self.got = file, line, key, expected, got


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDefinition:
    """One replica: who runs it, where it listens, and its public keys (None only in a template)."""

    id: int
    name: str
    host: str
    p2p_port: int
    client_port: int
    ops_port: int
    consensus_key: bytes | None = None
    transport_key: bytes | None = None
    operator_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDefinition:
    """What all replicas of a network were told before its genesis."""

    version: int
    name: str
    genesis_time_ms: int | None  # UTC milliseconds; None only in a template
    protocol: ProtocolParameters
    replicas: tuple[ReplicaDefinition, ...]  # ascending by id, ids 0..n-1
    client_authorities: tuple[bytes, ...] = ()  # Ed25519 public keys; empty only in a template
    network_id: bytes | None = None  # if given, the genesis must have it

    def replica(self, replica_id: int) -> ReplicaDefinition:
        """The entry of a replica id; KeyError for one that is not there."""
        if not 0 <= replica_id < len(self.replicas):
            raise KeyError(replica_id)
        return self.replicas[replica_id]


def load_network(path: Path) -> NetworkDefinition:
    """The definition in a YAML or JSON file; ConfigError, also for a file that cannot be read."""
    try:
        with path.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(file=str(path), line=0, key="", expected="a readable file", got=str(error.strerror)) from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(file=str(path), line=0, key="", expected=f"at most {FILE_BYTES_MAX} bytes", got="more")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        got = f"byte {data[error.start]:#04x} at position {error.start}"
        raise ConfigError(file=str(path), line=0, key="", expected="UTF-8 text", got=got) from None
    return parse_network(text, str(path))


def parse_network(text: str, file: str) -> NetworkDefinition:
    """The definition in a text; `file` is its name for messages; ConfigError."""
    source = _read_source(text, file)
    document = _validate_structure(source)
    replicas = tuple(_replica(source, index, entry) for index, entry in enumerate(document.replicas))
    _validate_distinct(source, replicas)
    return NetworkDefinition(
        version=document.version,
        name=document.name,
        genesis_time_ms=_time_ms(source, document.genesis_time),
        protocol=_protocol(source, document.protocol),
        replicas=replicas,
        client_authorities=_authorities(document.client_authorities, source),
        network_id=_key(document.network_id),
    )


def require_complete(definition: NetworkDefinition, file: str) -> None:
    """ConfigError for the first key, authority or time that only a template may lack."""
    missing: list[tuple[str, str]] = []
    if definition.genesis_time_ms is None:
        missing.append(("genesis_time", "a time such as 2026-06-01T00:00:00Z"))
    missing += [
        (f"replicas[{replica.id}].{name}", "a public key, 64 lower-case hexadecimal digits")
        for replica in definition.replicas
        for name in KEY_FIELDS
        if getattr(replica, name) is None
    ]
    if not definition.client_authorities:
        missing.append(("client_authorities", "at least one public key"))
    if missing:
        key, expected = missing[0]
        raise ConfigError(file=file, line=0, key=key, expected=expected, got="nothing: this is a template")


def dump_network(definition: NetworkDefinition) -> str:
    """Indented JSON in the format of the file, for network.json; what a template lacks is left out."""
    document: dict[str, Any] = {"version": definition.version, "name": definition.name}
    if definition.genesis_time_ms is not None:
        document["genesis_time"] = _time_text(definition.genesis_time_ms)
    document["protocol"] = {name: getattr(definition.protocol, name) for name in PARAMETER_NAMES}
    document["replicas"] = [_replica_document(replica) for replica in definition.replicas]
    document["client_authorities"] = [key.hex() for key in definition.client_authorities]
    if definition.network_id is not None:
        document["network_id"] = definition.network_id.hex()
    return json.dumps(document, indent=2) + "\n"


def _replica_document(replica: ReplicaDefinition) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(replica).items() if value is not None}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}


# ---- the format: what msgspec checks; \Z and not $, which lets a newline follow ----

Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9.-]{0,62}[a-z0-9]\Z")]
Host = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]{0,252}\Z|^::1?\Z")]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class _ReplicaEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Annotated[int, msgspec.Meta(ge=0, lt=MEMBERS_MAX)]
    name: Name
    host: Host
    p2p_port: Port
    client_port: Port
    ops_port: Port
    consensus_key: Hex32 | None = None
    transport_key: Hex32 | None = None
    operator_key: Hex32 | None = None


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    name: Name
    genesis_time: str | None = None
    protocol: dict[str, Any] = {}  # ledger.configuration knows the names and bounds
    replicas: Annotated[list[_ReplicaEntry], msgspec.Meta(min_length=MEMBERS_MIN, max_length=MEMBERS_MAX)]
    client_authorities: list[Hex32] = []
    network_id: Hex32 | None = None


# What a message says instead of a pattern or a type name.
PLAIN_WORDS: Final = {
    r"^[0-9a-f]{64}\Z": "64 lower-case hexadecimal digits (32 bytes)",
    r"^[a-z][a-z0-9.-]{0,62}[a-z0-9]\Z": "2 to 64 of a-z, 0-9, '.' and '-', a letter first",
    r"^[A-Za-z0-9][A-Za-z0-9.:_-]{0,252}\Z|^::1?\Z": "a host name or an IP address",
    "`int | null`": "a whole number",
    "`str | null`": "text",
    "`int`": "a whole number",
    "`str`": "text",
    "`object`": "a map",
    "`array`": "a list",
}


# ---- reading text, with the line of every key ----


@dataclass(frozen=True, slots=True)
class _Source:
    """A parsed text and where everything in it stands: path such as `replicas[2].host` -> line."""

    file: str
    value: Any
    lines: dict[str, int]

    def error(self, key: str, expected: str, got: str) -> ConfigError:
        """A ConfigError at the line of a key, or of the nearest thing around it."""
        around = key
        while around and around not in self.lines:
            around = re.sub(r"(?:^|\.)[^.\[\]]*$|\[\d+\]$", "", around)
        return ConfigError(file=self.file, line=self.lines.get(around, 1), key=key, expected=expected, got=got)

    def got(self, key: str) -> str:
        """What stands at a path, shortened for a message."""
        value = self.value
        for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", key):
            value = value[name] if name else value[int(index)]
        return _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= GOT_CHARACTERS_MAX else text[:GOT_CHARACTERS_MAX] + "..."


class _NotPlainError(yaml.MarkedYAMLError):
    """An anchor, an alias or a tag."""


class _PlainLoader(yaml.SafeLoader):
    """YAML without anchors, aliases and tags: what is written is what is meant."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Every node passes here."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        for word in ("anchor", "tag"):
            if getattr(event, word, None) is not None:
                found = "alias" if isinstance(event, yaml.AliasEvent) else word
                raise _NotPlainError(problem=f"a YAML {found}", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


def _read_source(text: str, file: str) -> _Source:
    lines: dict[str, int] = {}
    try:
        node = yaml.compose(text, Loader=_PlainLoader)
        if node is None:
            raise ConfigError(file=file, line=1, key="", expected="a network definition", got="an empty file")
        return _Source(file, _value(node, "", file, lines, DEPTH_MAX), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        expected = "plain values" if isinstance(error, _NotPlainError) else "YAML or JSON"
        raise ConfigError(file=file, line=line, key="", expected=expected, got=str(error.problem)) from None
    except yaml.YAMLError as error:
        raise ConfigError(file=file, line=0, key="", expected="YAML or JSON", got=str(error).splitlines()[0]) from None
    except RecursionError:
        raise ConfigError(file=file, line=0, key="", expected="at most 8 levels", got="far more") from None


def _value(node: Any, path: str, file: str, lines: dict[str, int], depth: int) -> Any:
    """A node as text, whole number, true, false, null, list or map; notes the line of every path."""
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if depth == 0:
        raise ConfigError(file=file, line=line, key=path, expected=f"at most {DEPTH_MAX} levels", got="more")
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{path}[{index}]", file, lines, depth - 1) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(file=file, line=key_line, key=path, expected="text as a key", got="a list or a map")
        key = key_node.value
        if KEY_NAME.fullmatch(key) is None:
            raise ConfigError(file=file, line=key_line, key=path, expected="a key of a-z, 0-9, _", got=_shown(key))
        key_path = f"{path}.{key}" if path else key
        if key in result:
            first = f"it again, after line {lines[key_path]}"
            raise ConfigError(file=file, line=key_line, key=key_path, expected="each key once", got=first)
        lines[key_path] = key_line
        result[key] = _value(value_node, key_path, file, lines, depth - 1)
    return result


def _scalar(node: Any) -> Any:
    if node.style in {"'", '"', "|", ">"}:
        return node.value
    if node.value in {"true", "false"}:
        return node.value == "true"
    if node.value in {"", "~", "null"}:
        return None
    if INTEGER.fullmatch(node.value) and len(node.value) <= INTEGER_DIGITS_MAX:
        return int(node.value)
    return node.value


# ---- structure and relations ----


def _validate_structure(source: _Source) -> _Document:
    try:
        return msgspec.convert(source.value, _Document)
    except msgspec.ValidationError as error:
        raise _explained(source, str(error)) from None


def _explained(source: _Source, message: str) -> ConfigError:
    """msgspec's message, `Expected ..., got ... - at `$.replicas[0].host``, as key, expected and got."""
    problem, _, at = message.partition(" - at `$")
    key = at.rstrip("`").removeprefix(".")
    key = re.sub(r"\[\.\.\.\]", "", key)
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", problem, flags=re.DOTALL)
    if unknown is not None:
        path = f"{key}.{unknown[1]}" if key else unknown[1]
        known = _ReplicaEntry if key.startswith("replicas[") else _Document
        expected = f"one of {', '.join(field.name for field in msgspec.structs.fields(known))}"
        return source.error(path, expected, "an unknown key")
    missing = re.fullmatch(r"Object missing required field `(.*)`", problem)
    if missing is not None:
        return source.error(f"{key}.{missing[1]}" if key else missing[1], "a value", "nothing")
    expected = problem.removeprefix("Expected ").partition(", got ")[0]
    for technical, plain in PLAIN_WORDS.items():
        expected = expected.replace(f"`str` matching regex {technical!r}", plain).replace(technical, plain)
    return source.error(key, expected, source.got(key))


def _replica(source: _Source, index: int, entry: _ReplicaEntry) -> ReplicaDefinition:
    if entry.id != index:
        raise source.error(f"replicas[{index}].id", f"{index}: ids ascend from 0", str(entry.id))
    return ReplicaDefinition(
        id=entry.id,
        name=entry.name,
        host=entry.host,
        p2p_port=entry.p2p_port,
        client_port=entry.client_port,
        ops_port=entry.ops_port,
        consensus_key=_key(entry.consensus_key),
        transport_key=_key(entry.transport_key),
        operator_key=_key(entry.operator_key),
    )


def _key(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _validate_distinct(source: _Source, replicas: tuple[ReplicaDefinition, ...]) -> None:
    """No name, key or port of a host twice. Key kinds are compared with each other too: one key has one duty."""
    seen: dict[tuple[str, object], str] = {}
    for replica in replicas:
        keys = [(name, ("key", getattr(replica, name))) for name in KEY_FIELDS if getattr(replica, name) is not None]
        kind = f"port of {replica.host}"
        ports = [(name, (kind, getattr(replica, name))) for name in PORT_FIELDS if getattr(replica, name) != 0]
        entries: list[tuple[str, tuple[str, object]]] = [("name", ("name", replica.name)), *keys, *ports]
        for name, identity in entries:
            path = f"replicas[{replica.id}].{name}"
            if identity in seen:
                raise source.error(path, f"another {identity[0]} than {seen[identity]}", source.got(path))
            seen[identity] = path


def _protocol(source: _Source, values: dict[str, Any]) -> ProtocolParameters:
    for name, value in values.items():
        if name not in PARAMETER_NAMES:
            raise source.error(f"protocol.{name}", f"one of {', '.join(PARAMETER_NAMES)}", "an unknown key")
        if type(value) is not int:
            raise source.error(f"protocol.{name}", "a whole number", _shown(value))
    try:
        return ProtocolParameters(**values)
    except InvalidGenesis as error:
        bounds = (
            (word, error.fields.get(name)) for word, name in (("least", "expected_min"), ("most", "expected_max"))
        )
        expected = " and ".join(f"at {word} {bound}" for word, bound in bounds if bound is not None)
        raise source.error(f"protocol.{error.detail}", expected, str(error.fields.get("got"))) from None


def _time_ms(source: _Source, text: str | None) -> int | None:
    if text is None:
        return None
    match = TIME.fullmatch(text)
    try:
        seconds = datetime.strptime(match[1], TIME_FORMAT).replace(tzinfo=UTC) if match is not None else None
    except ValueError:
        seconds = None
    if match is None or seconds is None or seconds < EPOCH:
        raise source.error("genesis_time", "a UTC time such as 2026-06-01T00:00:00Z", _shown(text))
    return (seconds - EPOCH) // timedelta(milliseconds=1) + int(match[2] or 0)


def _time_text(time_ms: int) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    text = (EPOCH + timedelta(seconds=seconds)).strftime(TIME_FORMAT)
    return f"{text}.{milliseconds:03}Z" if milliseconds else f"{text}Z"


def _authorities(texts: list[str], source: _Source) -> tuple[bytes, ...]:
    for index, text in enumerate(texts):
        if text in texts[:index]:
            path = f"client_authorities[{index}]"
            raise source.error(path, "each authority once", f"the key of client_authorities[{texts.index(text)}] again")
    return tuple(bytes.fromhex(text) for text in texts)
