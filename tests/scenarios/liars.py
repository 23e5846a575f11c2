"""What liars say in scenarios: they have no core, only a key and an interest."""

from scenarios.stage import Stage

from pbft.core.messages import Commit, Prepare, SlotEntry, ViewChange


def liar_follows(stage: Stage, liar: int, primary: int, height: int, to: tuple[int, ...] | None = None) -> None:
    """PREPARE and COMMIT of a liar for whatever the primary's slot at a height holds."""
    state = stage[primary].replica.state
    digest = state.slots[height].digest
    assert digest is not None
    stage.forge(liar, Prepare(epoch=0, view=state.view, height=height, digest=digest), to=to)
    stage.forge(liar, Commit(epoch=0, view=state.view, height=height, digest=digest), to=to)


def knows_nothing(stage: Stage, view: int) -> ViewChange:
    """The VIEW-CHANGE of a liar that wants nothing to have happened, or of a primary that gives up at once."""
    genesis = next(iter(stage.actors.values())).hashes[0]
    return ViewChange(
        epoch=0, view=view, certified_height=0, header_hash=genesis, certificate=None, prepared=(), pre_prepared=()
    )


def claims(stage: Stage, *prepared: SlotEntry, certified_height: int = 1) -> ViewChange:
    """A VIEW-CHANGE for view 1 with the true h, and P entries above it that nobody has to believe."""
    return ViewChange(
        epoch=0,
        view=1,
        certified_height=certified_height,
        header_hash=stage[1].hashes[certified_height],
        certificate=stage[1].stored[certified_height],
        prepared=prepared,
        pre_prepared=prepared,
    )
