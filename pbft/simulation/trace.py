"""What happened in a run, as one hash and as the last events in words.

The hash covers every delivered frame, timer, disk write and reply with its time and machine, so two runs of one seed
are the same run or differ in it. The tail is what a failing seed prints.
"""

import hashlib
from collections import deque
from typing import Final

TAIL_EVENTS: Final = 2_000  # kept for the transcript of a failing seed: about a virtual second under load


class Trace:
    """Collects the events of one run, in order."""

    def __init__(self) -> None:
        self.events = 0
        self.start_ms = 0
        self._hash = hashlib.sha256()
        self._tail: deque[tuple[int, str, int, int, bytes]] = deque(maxlen=TAIL_EVENTS)
        self._faults: list[tuple[int, str]] = []

    def record(self, now_ms: int, kind: str, machine: int, other: int, data: bytes) -> None:
        """One event: its kind in one word, where it happened, who else took part (-1 for nobody), and its bytes."""
        self.events += 1
        self._hash.update(f"{now_ms} {kind} {machine} {other} {len(data)} ".encode() + data)
        if kind != "tick":
            self._tail.append((now_ms, kind, machine, other, data))

    def record_fault(self, now_ms: int, text: str) -> None:
        """A fault, in words: it is in the hash, and in the transcript from the first to the last."""
        self._faults.append((now_ms, text))
        self.record(now_ms, "fault", -1, -1, text.encode())

    @property
    def sha256(self) -> str:
        """Over everything so far, as hex."""
        return self._hash.hexdigest()

    def transcript(self) -> list[str]:
        """All faults, then the last events, as lines; times in milliseconds since the start."""
        lines = [f"{time_ms - self.start_ms:>8} ms  {text}" for time_ms, text in self._faults]
        lines.append(f"last {len(self._tail)} of {self.events} events:")
        for time_ms, kind, machine, other, data in self._tail:
            whom = f"r{machine}" if other < 0 else f"r{machine} from {other}"
            digest = hashlib.sha256(data).hexdigest()[:8]
            lines.append(f"{time_ms - self.start_ms:>8} ms  {kind:<8} {whom:<12} {len(data):>6} bytes {digest}")
        return lines
