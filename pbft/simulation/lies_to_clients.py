"""Doors that lie: faulty replicas answer clients with every falsehood that an answer can hold (D43, D47, M20).

All lying doors of a run tell one client the same lie, so that f of them look as much alike as f can.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from ledger.transaction import Receipt, parse_receipt
from pbft.core.client_session import ReplyContent, parse_reply
from pbft.wire.client_frames import Head, Refused, ReplicaFrame, Replies

FALSE_HASH: Final = bytes([9]) * 32
FALSE_VIEW: Final = 9_999
FALSE_HEIGHT: Final = 1_000_000

ReplyLie: TypeAlias = Callable[[ReplyContent], ReplyContent]


def _with_receipt(content: ReplyContent, change: Callable[[Receipt], Receipt]) -> ReplyContent:
    return replace(content, receipt=change(parse_receipt(content.receipt)).to_bytes())


REPLY_LIES: Final[Mapping[str, ReplyLie]] = {
    "client": lambda content: replace(content, client=FALSE_HASH),
    "nonce": lambda content: replace(content, nonce=content.nonce + 1),
    "tx_id": lambda content: replace(content, tx_id=FALSE_HASH),
    "height": lambda content: replace(content, height=content.height + 1),
    "index": lambda content: replace(content, index=content.index + 1),
    "header_hash": lambda content: replace(content, header_hash=FALSE_HASH),
    "receipt_code": lambda content: _with_receipt(
        content, lambda receipt: receipt._replace(status="refused", code="EXPIRED", result=b"\xf6")
    ),
    "receipt_gas": lambda content: _with_receipt(content, lambda receipt: receipt._replace(gas_used=1)),
    "receipt_bytes": lambda content: replace(content, receipt=b"no receipt"),
}
"""The fields of a reply, each with what a liar puts there."""

OTHER_LIES: Final = ("empty_reply", "refused", "hints", "head")


class LyingDoors:
    """The answers of some replicas, falsified on their way; `effects` counts them by lie."""

    def __init__(self, replicas: Collection[int]) -> None:
        self.replicas = frozenset(replicas)
        self.effects: Counter[str] = Counter()

    def falsify(self, replica: int, frame: ReplicaFrame) -> ReplicaFrame:
        """What the client is told instead; a frame with replies has one."""
        if replica not in self.replicas:
            return frame
        name, told = "", frame
        if isinstance(frame, Head):
            name, told = "head", replace(frame, height=FALSE_HEIGHT, certified_height=FALSE_HEIGHT, view=FALSE_VIEW)
        elif isinstance(frame, Replies):
            name, told = self._falsify_reply(replica, frame)
        if name:
            self.effects[f"traitor:lying_door:{name}"] += 1
        return told

    def _falsify_reply(self, replica: int, frame: Replies) -> tuple[str, ReplicaFrame]:
        ((correlation, said),) = frame.replies
        content = parse_reply(said)
        names = [*sorted(REPLY_LIES), "empty_reply", "refused", "hints"]
        drawn = hashlib.sha256(content.tx_id).digest()
        name = names[drawn[0] % len(names)]
        if name == "refused":
            told: ReplicaFrame = Refused(
                correlation=correlation, tx_id=content.tx_id, code="expired", detail="", retry_after_ms=0
            )
        elif name == "empty_reply":
            told = replace(frame, replies=((correlation, b""),))
        else:
            reply = REPLY_LIES[name](content).to_bytes() if name in REPLY_LIES else said
            told = replace(frame, replies=((correlation, reply),), view_hint=FALSE_VIEW, primary_hint=replica)
        return name, told
