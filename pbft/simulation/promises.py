"""What nodes promise on the wire: each frame that leaves a correct node, held against its journal and its own past.

Everything is read from the bytes that leave and from the disk as it is at that moment; what the core believes does not
count. The past is kept over restarts, because a promise is.
"""

from dataclasses import dataclass, field
from typing import Final

from ledger.encoding import Value, decode
from ledger.hashing import NULL_DIGEST
from ledger.store import Store
from pbft.core.messages import (
    Commit,
    Envelope,
    HeaderVote,
    NewView,
    Prepare,
    PrePrepare,
    SignedMessage,
    ViewChange,
)
from pbft.core.persisted import (
    CERTIFIED_KEY,
    NEW_VIEW_KEY,
    OWN_VIEW_CHANGE_KEY,
    VIEW_KEY,
    body_key,
    pre_prepared_key,
    prepared_key,
    voted_key,
)
from pbft.node.journal import JOURNAL_TABLE
from pbft.simulation.violation import Violation
from pbft.wire.codec import encode_envelope

View = tuple[int, int]
"""(epoch, view): views start anew with each epoch (D41)."""
Key = tuple[str, View, int]
"""What a replica says one thing about: (kind of message, view, height)."""
VOTES: Final = (PrePrepare, Prepare, Commit)


@dataclass(kw_only=True)
class Promises:
    """What each replica has said so far."""

    said: dict[tuple[int, Key], object] = field(default_factory=dict)
    left: dict[int, View] = field(default_factory=dict)  # replica -> the latest view that it left for
    committed: dict[tuple[View, int], tuple[int, bytes]] = field(default_factory=dict)  # -> who said it, digest

    def check(self, replica: int, journal: Store, envelope: Envelope) -> None:
        """An envelope leaves the node that signed it."""
        for message in envelope.messages:
            key, word = _compute_word(message)
            known = self.said.get((replica, key))
            if known is None:
                self._check_new(replica, message)
                self.said[replica, key] = word
            elif known != word:
                raise Violation("one voice", f"r{replica} said two things as {key}")
            check_journaled(replica, journal, envelope, message)

    def _check_new(self, replica: int, message: SignedMessage) -> None:
        """What is said first: in no view that was left, and no COMMIT against another correct replica's."""
        left = self.left.get(replica, (0, 0))
        if isinstance(message, ViewChange):
            self.left[replica] = max((message.epoch, message.view), left)
        elif isinstance(message, VOTES) and (message.epoch, message.view) < left:
            raise Violation("left view", f"r{replica} says {type(message).__name__} in view {message.view} and left it")
        if isinstance(message, Commit):
            place = (message.epoch, message.view), message.height
            other, digest = self.committed.setdefault(place, (replica, message.digest))
            if digest != message.digest:
                raise Violation("prepared", f"r{replica} and r{other} prepared two digests in {place}")


def _compute_word(message: SignedMessage) -> tuple[Key, object]:
    match message:
        case PrePrepare() | Prepare() | Commit():
            return (type(message).__name__, (message.epoch, message.view), message.height), message.digest
        case HeaderVote():
            return ("HeaderVote", (message.epoch, 0), message.height), message.header_hash
        case ViewChange() | NewView():
            return (type(message).__name__, (message.epoch, message.view), 0), message


def check_journaled(replica: int, journal: Store, envelope: Envelope, message: SignedMessage) -> None:
    """M25: the durable journal holds the promise that this message is, or something that has replaced it."""
    if not _is_journaled(journal, envelope, message):
        where = f"view {getattr(message, 'view', 0)}, height {getattr(message, 'height', 0)}"
        raise Violation("journal first", f"r{replica} sent {type(message).__name__} unjournaled: {where}")


def _is_journaled(journal: Store, envelope: Envelope, message: SignedMessage) -> bool:
    height = getattr(message, "height", 0)
    if _is_kept(journal, envelope, message, height):
        return True
    return 0 < height <= _certified(journal)  # its work is done: certified and durable (D25)


def _is_kept(journal: Store, envelope: Envelope, message: SignedMessage, height: int) -> bool:
    if isinstance(message, HeaderVote):
        record = _record(journal, voted_key(height))
        return record is not None and decode(record) == message.header_hash
    now, view = _view(journal), (message.epoch, message.view)
    match message:
        case PrePrepare() | Prepare():
            record = _record(journal, pre_prepared_key(height, message.digest))
            has_body = message.digest == NULL_DIGEST or _record(journal, body_key(message.digest)) is not None
            return record is not None and has_body and _at_least(decode(record), message.view) and now >= view
        case Commit():
            record = _record(journal, prepared_key(height))
            entry = decode(record) if record is not None else None
            is_it = entry == [message.digest, message.view]
            return isinstance(entry, list) and (is_it or _at_least(entry[1], message.view + 1)) and now >= view
        case ViewChange() | NewView():
            key = OWN_VIEW_CHANGE_KEY if isinstance(message, ViewChange) else NEW_VIEW_KEY
            return now > view or (now == view and _record(journal, key) == encode_envelope(envelope))


def is_promised(journal: Store, height: int, tx_id: bytes) -> bool:
    """Whether the durable journal makes a block with this transaction again: its P entry and its body (D34)."""
    entry = _record(journal, prepared_key(height))
    prepared = decode(entry) if entry is not None else None
    if not isinstance(prepared, list) or not isinstance(prepared[0], bytes):
        return False
    return tx_id in (_record(journal, body_key(prepared[0])) or b"")


def _record(journal: Store, key: bytes) -> bytes | None:
    """A journal record as it was appended, None where there is none."""
    return journal.get(JOURNAL_TABLE, key)


def _at_least(value: Value, number: int) -> bool:
    return isinstance(value, int) and value >= number


def _list(journal: Store, key: bytes) -> list[Value]:
    """A record that is a list; zeros where there is none."""
    record = _record(journal, key)
    value: Value = decode(record) if record is not None else [0, 0]
    assert isinstance(value, list), key
    return value


def _certified(journal: Store) -> int:
    """The height to which the journal says that everything is certified."""
    height = _list(journal, CERTIFIED_KEY)[0]
    assert isinstance(height, int)
    return height


def _view(journal: Store) -> View:
    """The view that the journal stands in."""
    epoch, view = _list(journal, VIEW_KEY)[:2]
    assert isinstance(epoch, int) and isinstance(view, int)
    return epoch, view
