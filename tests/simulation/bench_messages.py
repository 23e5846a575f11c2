"""Protocol messages made by hand for the bench, and the short ways into a state that many tests need."""

from simulation.bench import (
    GENESIS_HASH,
    WALL_MS,
    Bench,
    make_batch,
    make_envelope,
    make_header_hash,
    make_request,
)

from ledger.block import Header
from ledger.quorum_certificate import QuorumCertificate
from pbft.core.messages import (
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    SlotEntry,
    Status,
    ViewChange,
)

T_TICKS = 30  # 1500 ms in ticks of 50 ms


def pre_prepare(height: int, *nonces: int, view: int = 0, time_ms: int = WALL_MS, client: int = 1) -> PrePrepare:
    """A proposal with one request per nonce."""
    batch = make_batch(*(make_request(nonce, client) for nonce in nonces), time_ms=time_ms)
    return PrePrepare(epoch=0, view=view, height=height, digest=batch.digest, batch=batch)


def prepare(message: PrePrepare) -> Prepare:
    return Prepare(epoch=0, view=message.view, height=message.height, digest=message.digest)


def commit(message: PrePrepare) -> Commit:
    return Commit(epoch=0, view=message.view, height=message.height, digest=message.digest)


def view_change(
    view: int, *, prepared: tuple[SlotEntry, ...] = (), pre_prepared: tuple[SlotEntry, ...] = ()
) -> ViewChange:
    """A VIEW-CHANGE from genesis; every P entry is a Q entry too."""
    return ViewChange(
        epoch=0,
        view=view,
        certified_height=0,
        header_hash=GENESIS_HASH,
        certificate=None,
        prepared=prepared,
        pre_prepared=(*prepared, *pre_prepared),
    )


def status(bench: Bench, **changes: object) -> Status:
    """Another replica's STATUS: at genesis, knowing nothing, but for the changes."""
    values: dict[str, object] = {
        "epoch": 0,
        "view": bench.replica.view,
        "active": True,
        "certified_height": 0,
        "executed_height": 0,
        "pre_prepared": (),
        "prepared": (),
        "committed": (),
        "view_changes": (),
    }
    return Status(**(values | changes))  # type: ignore[arg-type]


def certificate(height: int, header_hash: bytes | None = None) -> QuorumCertificate:
    signatures = tuple((replica, bytes(64)) for replica in range(3))
    return QuorumCertificate(
        epoch=0, height=height, header_hash=header_hash or make_header_hash(height), signatures=signatures
    )


def header(batch_digest: bytes, *, state_root: bytes = bytes(32)) -> Header:
    """A header of height 1 on genesis."""
    return Header(
        network=bytes(32),
        epoch=0,
        height=1,
        parent_hash=GENESIS_HASH,
        batch_digest=batch_digest,
        time_ms=WALL_MS,
        transactions_root=bytes(32),
        receipts_root=bytes(32),
        state_root=state_root,
        gas_used=0,
        next_config_hash=bytes(32),
    )


def enter_view(bench: Bench, view: int) -> None:
    """Carries a replica into a view in which nothing was prepared."""
    primary = bench.configuration.primary(view)
    others = [r for r in range(bench.configuration.member_count) if r != bench.replica_id]
    if primary == bench.replica_id:
        for sender in others:
            bench.say(sender, view_change(view))
    else:
        changes = tuple(make_envelope(sender, view_change(view)) for sender in others)
        bench.say(primary, NewView(epoch=0, view=view, view_changes=changes, choices=()))
    assert bench.replica.is_active and bench.replica.view == view
