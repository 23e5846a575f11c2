"""What a run exercised: which rules, by what was seen to happen, and which functions of the product, by their entry.

A rule counts as exercised by a seed where something happened in it that the rule alone brings about, or alone forbids
and somebody tried: a counter of the product, a fault, a lie that arrived, a message or block of a certain kind, a state
that was sampled. `RULES` names for each rule what that is; any one of it is enough. That a function which names a rule
ran would prove less: most functions run in every seed.

Functions are noted on every `WATCHED_EVERY`-th seed alone, because noting doubles the cost of a run. The interpreter
sees its own alone: a compiled build runs the same histories, and its reports name no function of a compiled module.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from ledger.block import Block
from ledger.hashing import NULL_DIGEST
from ledger.transaction import parse_receipt
from pbft.core.messages import (
    Envelope,
    Forward,
    HeaderVote,
    NewView,
    PeerMessage,
    PrePrepare,
    SignedMessage,
    ViewChange,
)
from pbft.node.assembly import Node

WATCHED_EVERY: Final = 40
WATCHED_REST: Final = 10  # seeds of this rest, which do not sign with real keys and so are cheaper to watch
SAMPLE_MS: Final = 500
ROOT: Final = Path(__file__).resolve().parents[2]
WATCHED_PACKAGES: Final = ("ledger", "pbft/core", "pbft/wire", "pbft/node")

RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "M1": ("size:not_3f+1",),
    "M2": ("message_dropped:prepare_from_primary",),
    "M3": ("evidence:equivocation_prepare", "evidence:equivocation_commit", "evidence:equivocation_header_vote"),
    "M4": ("frame_refused:envelope_signature", "frame_refused:vote_signature"),
    "M5": ("frame_refused:malformed", "frame_refused:unknown_field", "frame_refused:not_canonical"),
    "M6": ("frame_refused:request_signature", "frame_refused:bad_transaction", "message_dropped:unwanted_relay"),
    "M7": ("new_view:reproposed",),
    "M8": ("message_dropped:second_proposal", "message_dropped:above_window", "message_dropped:not_the_primary"),
    "M9": ("end:NONCE_USED",),
    "M10": ("block:executed",),
    "M11": ("sample:half_window_in_flight",),
    "M12": ("block:executed",),
    "M13": ("message_dropped:above_window",),
    "M14": ("sample:half_window_in_flight",),
    "M15": ("proposal:empty",),
    "M16": ("message:Batches",),
    "M17": ("evidence:equivocation_pre_prepare",),
    "M18": ("message:Relay",),
    "M19": ("end:NONCE_USED", "load:nonce_reused"),
    "M20": ("answer:Replies",),
    "M21": ("view:installed",),
    "M22": ("message:Relay",),
    "M23": ("sample:paused",),
    "M24": ("sample:pending_in_new_view",),
    "M25": ("power_failure:write_torn", "power_failure:write_survived"),
    "M26": ("fault:bit_rot", "fault:ledger_rot", "fault:disk_full"),
    "M27": ("fault:restart",),
    "M28": ("traitor:twins:circles_drawn",),
    "M29": ("view:installed",),
    "M30": ("sample:view_timer_runs",),
    "M31": ("sample:timer_doubled",),
    "M33": ("view_change:again",),
    "M34": ("evidence:equivocation_view_change", "traitor:absurd_views:absurd_view"),
    "M35": ("traitor:absurd_views:absurd_view", "traitor:absurd_views:early_view"),
    "M37": ("view_change:with_prepared",),
    "M38": ("message_dropped:view_change_prepared", "evidence:invalid_view_change"),
    "M40": ("new_view:reproposed",),
    "M41": ("block:null",),
    "M42": ("fault:clock_step",),
    "M43": ("evidence:invalid_new_view", "message_dropped:new_view_undecided"),
    "M44": ("vote:fixed",),
    "M46": ("message:Blocks",),
    "M47": ("power_failure:write_survived",),
    "M48": ("sample:behind_in_view_change",),
    "M49": ("forward:new_view",),
    "M50": ("message:Forward",),
    "M51": ("fault:restart_all",),
    "M52": ("believed:receipt",),
    "M53": ("believed:view",),
    "M54": ("evidence:equivocation_prepare", "evidence:equivocation_commit", "evidence:invalid_new_view"),
    "M55": ("message_dropped:unwanted_blocks", "message_dropped:unwanted_forward", "message_dropped:unwanted_relay"),
    "M56": ("answer:Refused",),
    "M57": ("epoch:entered",),
    "M59": ("membership:key",),
    "M60": ("frame_refused:wrong_network",),
    "D15": ("snapshot_chunk:taken",),
    "D24": ("vote:idle",),
    "D25": ("sample:certified",),
    "D27": ("view_change:with_certificate",),
    "D28": ("message:CertificateNotice", "message:Blocks"),
    "D29": ("new_view:null_chosen",),
    "D30": ("sample:half_window_in_flight",),
    "D32": ("block:null",),
    "D33": ("frame_refused:wrong_network",),
    "D34": ("journal_sync",),
    "D35": ("power_failure:write_torn",),
    "D36": ("fault:restart_all",),
    "D37": ("membership:disk", "membership:key"),
    "D39": ("snapshot_installed",),
    "D40": ("epoch:entered",),
    "D41": ("epoch:entered",),
    "D42": ("receipt:refused",),
    "D43": ("end:NONCE_USED",),
    "D45": ("load:nonce_reused",),
    "D46": ("end:EXPIRED", "end:EXPIRED_by_proof"),
    "D47": ("end:EXPIRED_by_proof",),
    "D48": ("believed:view",),
    "D50": ("proposal:private",),
    "D56": ("message:Relay",),
    "D57": ("sample:timer_doubled",),
    "D58": ("sample:paused",),
    "D59": ("fault:pause",),
    "D60": ("fault:clock_step",),
    "D61": ("envelope:votes_together",),
    "D63": ("receipt:scheduled",),
    "D64": ("proposal:empty",),
    "D65": ("receipt:scheduled",),
}
"""Rule -> what is seen where it was exercised. Rules without a row cannot be seen in a run: tests name them."""


def exercised(seen: Mapping[str, int]) -> list[str]:
    """The rules that a run exercised, by everything seen in it; in the table's order."""
    return [rule for rule, signs in RULES.items() if any(seen.get(sign) for sign in signs)]


class Observer:
    """Sees what correct nodes say, execute and are, and counts it in `seen`."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._heights: set[int] = set()
        self._view_changes: set[tuple[int, int, int]] = set()  # replica, epoch, view

    def process_sent(self, replica: int, message: PeerMessage, stride: int) -> None:
        """A message leaves a correct node, in an epoch with this stride of header votes."""
        if isinstance(message, Envelope):
            self.seen["envelope:votes_together"] += len(message.messages) > 1
            self._process_first(replica, message.messages[0])
            for inner in message.messages:
                if isinstance(inner, HeaderVote):
                    self.seen["vote:fixed" if inner.height % stride == 0 else "vote:idle"] += 1
        elif isinstance(message, Forward):
            others = [envelope.messages[0] for envelope in message.envelopes if envelope.sender != replica]
            self.seen["forward:new_view"] += any(isinstance(first, NewView) for first in others)

    def _process_first(self, replica: int, first: SignedMessage) -> None:
        seen = self.seen
        match first:
            case NewView():
                seen["new_view:reproposed"] += any(choice.digest != NULL_DIGEST for choice in first.choices)
                seen["new_view:null_chosen"] += any(choice.digest == NULL_DIGEST for choice in first.choices)
            case ViewChange():
                said = replica, first.epoch, first.view
                seen["view_change:again"] += said in self._view_changes
                self._view_changes.add(said)
                seen["view_change:with_prepared"] += bool(first.prepared)
                seen["view_change:with_certificate"] += first.certificate is not None
            case PrePrepare():
                seen["proposal:empty"] += not first.batch.requests
                seen["proposal:private"] += any(request.payload for request in first.batch.requests)

    def process_block(self, block: Block) -> None:
        """A correct node executed a block; each height counts once."""
        if block.header.height in self._heights:
            return
        self._heights.add(block.header.height)
        seen = self.seen
        seen["block:executed"] += 1
        seen["block:null"] += block.batch_time_ms is None
        receipts = [parse_receipt(data) for data in block.receipts]
        seen["receipt:refused"] += any(receipt.status == "refused" for receipt in receipts)
        seen["receipt:scheduled"] += len(receipts) > len(block.transactions)

    def sample(self, node: Node) -> None:
        """What a correct node is, now and then."""
        state, seen = node.replica.state, self.seen
        seen["epoch:entered"] += state.configuration.epoch > 0
        seen["view:installed"] += state.active and state.view > 0
        seen["sample:certified"] += state.certified_height > 0
        seen["sample:timer_doubled"] += state.doublings > 0
        seen["sample:paused"] += state.paused_ticks > 0
        seen["sample:view_timer_runs"] += state.view_deadline is not None
        seen["sample:behind_in_view_change"] += state.target is not None and not state.active
        seen["sample:pending_in_new_view"] += state.active and state.view > 0 and bool(state.pending)
        in_flight = state.proposed_top - state.certified_height
        seen["sample:half_window_in_flight"] += state.is_primary and in_flight >= state.configuration.window // 2


# --- functions of the product ---


def is_watched(seed: int) -> bool:
    """Whether the functions that a seed enters are noted."""
    return seed % WATCHED_EVERY == WATCHED_REST


@contextmanager
def watch(entered: set[CodeType]) -> Iterator[None]:
    """Notes the code of every function that is entered, in this thread."""
    before = sys.gettrace()

    def note(frame: FrameType, event: str, argument: object) -> None:
        entered.add(frame.f_code)  # and no tracer for the lines inside

    sys.settrace(note)
    try:
        yield
    finally:
        sys.settrace(before)


def name_functions(entered: set[CodeType]) -> list[str]:
    """The product's functions among them, as "pbft/core/ordering.py:process_prepare"; sorted."""
    named = set()
    for code in entered:
        path = Path(code.co_filename)
        if path.is_relative_to(ROOT):
            relative = path.relative_to(ROOT).as_posix()
            if relative.startswith(WATCHED_PACKAGES) and not code.co_name.startswith("<"):
                named.add(f"{relative}:{code.co_qualname.replace('.<locals>', '')}")
    return sorted(named)


def all_functions() -> list[str]:
    """Every function and method of the watched packages; generated code and protocol classes' stubs excepted."""
    found = []
    for package in WATCHED_PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not path.name.endswith("_pb2.py"):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                found += [f"{path.relative_to(ROOT).as_posix()}:{name}" for name in _functions(tree, "")]
    return found


def _functions(node: ast.AST, prefix: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            if not any(isinstance(base, ast.Name) and base.id == "Protocol" for base in child.bases):
                yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            yield f"{prefix}{child.name}"
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


def summarise_modules(entered: set[str]) -> dict[str, str]:
    """Per module of the product, how many of its functions were entered, as "12 of 14"; none at all is told too."""
    total: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for name in all_functions():
        module = name.partition(":")[0]
        total[module] += 1
        hit[module] += name in entered
    return {module: f"{hit[module]} of {count}" for module, count in sorted(total.items())}
