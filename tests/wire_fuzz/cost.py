"""What reading an input may cost: memory in proportion to its bytes, and processor time, each with its reason."""

import time
import tracemalloc
from typing import Final

from wire_fuzz.targets import Target

MEMORY_PER_BYTE: Final = 8
"""Bytes allocated at the worst moment per byte read: the bytes themselves, protobuf's copy, the canonical copy that is
compared with them, the fields that are kept, and what objects take around short fields."""
MEMORY_BASE: Final = 4 * 1024 * 1024
"""What one transaction's (or payload's) decoded values take at most, besides: 16,384 values of up to 120 bytes, twice
while a second form of them is made, and the interpreter's own tables. A decoder holds one such tree at a time."""
SECONDS_BASE: Final = 0.5
SECONDS_PER_MEGABYTE: Final = 3.0
"""Processor time. Transactions of one-byte values take 0.6 s a megabyte here, all else a tenth of that; the rest is
room for a loaded machine."""


class TooCostly(AssertionError):
    """An input took more than its bytes allow."""


def measure(target: Target, data: bytes) -> str:
    """The outcome of an input, once it is known to have cost no more than it may. Raises TooCostly.

    It is read twice, for time and for memory: following allocations takes ten times as long as making them.
    """
    started = time.process_time()
    outcome = target.outcome(data)
    seconds = time.process_time() - started
    seconds_max = SECONDS_BASE + SECONDS_PER_MEGABYTE * len(data) / 1_048_576
    if seconds > seconds_max:
        raise TooCostly(f"{seconds:.2f} s for an input of {len(data)} bytes, at most {seconds_max:.2f}")
    tracemalloc.start()
    try:
        again = target.outcome(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    memory_max = MEMORY_BASE + MEMORY_PER_BYTE * len(data)
    if peak > memory_max:
        raise TooCostly(f"{peak} bytes of memory for an input of {len(data)}, at most {memory_max}")
    if again != outcome:
        raise AssertionError(f"one input, two outcomes: {outcome}, {again}")
    return outcome
