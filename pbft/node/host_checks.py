"""What is checked of the host before a replica starts: that it asserts, judges as the others do, and has room.

Nothing here touches a key, a disk or a link; what lies in the directories is `data_directory`'s to judge.
"""

from contracts.helper_process import STACK_BYTES_MIN, compute_stack_bytes
from ledger import ecdsa, keys
from ledger.errors import InvariantViolation
from pbft.node.data_directory import StartRefused


def check_host() -> None:
    """Raises StartRefused `optimized`, `self_test` (D62) or `small_stack`."""
    if not __debug__:
        raise StartRefused("optimized", "python -O removes the checks that keep a replica honest: run without -O")
    try:
        keys.self_test()
        ecdsa.self_test()
    except InvariantViolation as error:
        raise StartRefused("self_test", f"this machine's libraries differ from the network's: {error}") from error
    stack = compute_stack_bytes()
    if stack < STACK_BYTES_MIN:
        text = f"the hard limit of the stack is {stack} bytes, contracts need {STACK_BYTES_MIN}: raise it (ulimit -Hs)"
        raise StartRefused("small_stack", text)
