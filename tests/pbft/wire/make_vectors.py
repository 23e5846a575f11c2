"""Writes tests/vectors/wire/peer_frames.json: the frame of one message of every kind, from fixed keys.

Run it only when the format changes on purpose: `python tests/pbft/wire/make_vectors.py`. A changed vector means that
replicas of two releases cannot talk to each other, which needs a new WIRE_VERSION.
"""

import json
import sys
from pathlib import Path

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "wire" / "peer_frames.json"


def make_vectors(network) -> dict[str, str]:
    """Name of the message -> its frame in hexadecimal."""
    from pbft.wire.codec import encode_peer

    return {name: encode_peer(message).hex() for name, message in network.peer_messages().items()}


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
    from wire_fuzz.small_network import make_network

    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(json.dumps(make_vectors(make_network()), indent=1) + "\n", encoding="utf-8")
