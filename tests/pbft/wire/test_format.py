"""The format does not change by accident: golden frames, and generated code that is what the .proto says."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from pbft.wire.codec import decode_peer, encode_peer

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "tests" / "vectors" / "wire" / "peer_frames.json"


def test_every_kind_of_message_has_its_golden_frame(network) -> None:
    """Bytes written by this release are those of the vectors, and the vectors' bytes are read back to the message."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    messages = network.peer_messages()
    assert set(vectors) == set(messages)
    for name, message in messages.items():
        assert encode_peer(message).hex() == vectors[name], name
        assert decode_peer(bytes.fromhex(vectors[name]), network.rules) == message, name


def test_the_generated_code_is_what_the_proto_says(tmp_path) -> None:
    """Regenerated into a scratch folder with the pinned tools, it equals what is checked in."""
    wire = ROOT / "pbft" / "wire"
    plugin = Path(sysconfig.get_path("scripts")) / "protoc-gen-mypy"
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", f"--plugin=protoc-gen-mypy={plugin}", "-I", str(wire),
            f"--python_out={tmp_path}", f"--mypy_out={tmp_path}", "gridquorum.proto",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    for name in ("gridquorum_pb2.py", "gridquorum_pb2.pyi"):
        fresh = (tmp_path / name).read_text(encoding="utf-8")
        assert (wire / name).read_text(encoding="utf-8") == fresh, f"run protoc again: {name} is stale"
