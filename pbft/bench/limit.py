"""The limit: what this machine could do if a request cost its client's signature and the floor of FIGURES, no more.

    limit_requests_per_second = cores / (replicas x (verify + floor))

`verify` is the cost of one signature check by the product's own verifier, measured here and now. `floor` is what else a
request costs a replica in the bare skeleton of FIGURES.md section 0 (batches of 100, without the signature), 23 us,
scaled by how long this machine takes for 1,000 SHA-256 of 256 bytes, 0.33 ms there. Each is CPU time, the minimum of 20
batches, because neighbours on a machine only ever add.

How fast the interpreter goes through its own steps is measured beside them. It is no part of the limit, but it tells
two builds of one Python apart: a distribution's is compiled with profiles of its use, one's own usually is not.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Final

from ledger.keys import SigningKey, verify_signature

BATCHES: Final = 20
CHECKS_PER_BATCH: Final = 100
MESSAGE_BYTES: Final = 232  # a transfer without its signature, as in FIGURES section 2
REFERENCE_HASHES: Final = 1_000
REFERENCE_BYTES: Final = 256
REFERENCE_SECONDS: Final = 0.00033  # on the machine of FIGURES
FLOOR_US: Final = 23.0
INTERPRETER_STEPS: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The limit and the measurements that it follows from."""

    cores: int
    verify_us: float  # one signature check
    reference_ms: float  # 1,000 SHA-256 of 256 bytes
    floor_us: float
    interpreter_ms: float  # 50,000 steps over small objects
    requests_per_second: float


def measure_limit(replicas: int) -> Limit:
    """Measures the primitives, about a third of a second, and computes the limit for so many replicas."""
    key = SigningKey.from_seed(bytes(32))
    message = bytes(MESSAGE_BYTES)
    signature = key.sign(message)

    def check() -> None:
        for _ in range(CHECKS_PER_BATCH):
            verify_signature(key.public_key, message, signature)

    verify_us = min_cpu_seconds(check) / CHECKS_PER_BATCH * 1e6
    reference = min_cpu_seconds(reference_work)
    floor_us = FLOOR_US * reference / REFERENCE_SECONDS
    cores = len(os.sched_getaffinity(0))
    return Limit(
        cores=cores,
        verify_us=verify_us,
        reference_ms=reference * 1e3,
        floor_us=floor_us,
        interpreter_ms=min_cpu_seconds(interpreter_work) * 1e3,
        requests_per_second=cores / (replicas * (verify_us + floor_us) / 1e6),
    )


def reference_work() -> None:
    """The yardstick of all ratios: 1,000 SHA-256 of 256 bytes."""
    data = bytes(REFERENCE_BYTES)
    for _ in range(REFERENCE_HASHES):
        hashlib.sha256(data).digest()


def interpreter_work() -> None:
    """What the interpreter does most of the time: small tuples and a dictionary."""
    kept: dict[int, tuple[int, int]] = {}
    for step in range(INTERPRETER_STEPS):
        kept[step & 255] = (step, step >> 1)


def min_cpu_seconds(work: Callable[[], object], repeats: int = BATCHES) -> float:
    """The least CPU time, in seconds, that this process took for the work."""
    return min(cpu_seconds(work) for _ in range(repeats))


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one run."""
    start = process_time()
    work()
    return process_time() - start
