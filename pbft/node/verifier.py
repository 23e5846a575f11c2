"""A verifier process: checks clients' signatures for one replica, `python -I -m pbft.node.verifier FD`.

It holds no key, no file and no memory of what it was asked: bytes come in on the one inherited socket, a verdict for
each signature goes out (`verifier_messages`). The kernel takes everything else from it, as from the contract worker
(`contracts.helper_process`). It has the replica's own library and compares it with the known answers before it begins
(D62): a verifier that judges otherwise than its replica would let it fork.
"""

import argparse
import sys
from collections.abc import Sequence

from contracts.helper_process import ParentIsGone, Questions, begin, serve
from ledger.encoding import Value
from ledger.errors import InvalidSignature
from ledger.keys import self_test, verify_signature
from ledger.shapes import expect_array, expect_bytes
from pbft.node.verifier_messages import HOLDS, HOLDS_NOT, KIND, read_signatures


def judge(fields: list[Value]) -> bytes:
    """A verdict for each signature of a question. Raises EncodingError."""
    packed = expect_bytes(expect_array(fields, KIND, 2)[1], KIND)
    return bytes(HOLDS if _holds(*one) else HOLDS_NOT for one in read_signatures(packed))


def _holds(public_key: bytes, signed: bytes, signature: bytes) -> bool:
    try:
        verify_signature(public_key, signed, signature)
    except InvalidSignature:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a process. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="pbft.node.verifier", description="Checks signatures for one replica.")
    parser.add_argument("descriptor", type=int, help="the inherited socket")
    options = parser.parse_args(arguments)
    try:
        _, greeting = begin(options.descriptor, self_test)
    except ParentIsGone:
        return 0
    serve(options.descriptor, Questions(greeting, {KIND: judge}).answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
