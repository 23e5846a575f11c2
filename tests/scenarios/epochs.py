"""Executions 20 to 22: the step from one epoch to the next."""

from scenarios.edits import Edit
from scenarios.script import Without, scenario
from scenarios.stage import Stage, request
from simulation.bench import WALL_MS

from pbft.core import epochs, ordering
from pbft.core.messages import PrePrepare
from pbft.core.replica_state import ReplicaState
from pbft.core.requests import compute_batch


def propose(stage: Stage, liar: int, height: int, name: str) -> None:
    """A liar that is primary proposes."""
    batch = compute_batch(WALL_MS, (request(name),))
    stage.forge(liar, PrePrepare(epoch=0, view=0, height=height, digest=batch.digest, batch=batch))


@scenario(
    20,
    rules="D40",
    title="A proposal beyond the end of the epoch",
    liars=(0,),
    window=8,
    stride=2,
    without=(
        Without(
            what="the end of the epoch as a limit for every replica",
            breaks="nobody promises anything at 10",
            edits=(
                Edit(
                    function=getattr(ReplicaState.high_watermark, "fget", None),  # compiled, it has none
                    old="top if self.epoch_end is None else min(top, self.epoch_end)",
                    new="top",
                ),
            ),
        ),
    ),
)
def nobody_votes_beyond_the_end(stage: Stage) -> None:
    """Height 1 decided that another configuration holds from the next epoch on; with the window of 8 the epoch ends at
    E = 9. If only the primary were bound to stop there, the liar R0 could have 10 prepared and committed by some, who
    count with the old members and keys, while the others, who execute 9 first, count the same votes with the new ones:
    two quorums that need not meet.

    So every replica, not the primary alone, accepts nothing above E until E is certified here. E = n + L is the least
    height for which that is safe: who has not executed n accepts nothing above n - 1 + L.
    """
    stage.change_at = 1
    with stage.quietly("1 to 4 are ordered, executed and certified; 1 decides on the next configuration, so E = 9"):
        for height in range(1, 5):
            propose(stage, 0, height, f"a{height}")
            stage.settle()
    propose(stage, 0, 10, "a10")
    stage.deliver("PRE-PREPARE")
    promised = [replica for replica in (1, 2, 3) if 10 in stage[replica].replica.state.pre_prepared]
    stage.show("nobody promises anything at 10, though it lies inside the window of h = 4", not promised)


@scenario(
    21,
    rules="D40, D64",
    title="An idle network and the end of an epoch",
    window=8,
    stride=2,
    without=(
        Without(
            what="empty batches that fill up to E",
            breaks="epoch 1 begins",
            edits=(
                Edit(
                    function=ordering.process_proposals,
                    old="is_filling = state.epoch_end is not None",
                    new="is_filling = False",
                ),
            ),
        ),
    ),
)
def an_idle_network_reaches_the_end(stage: Stage) -> None:
    """A stolen key is voted out at height 1, and then nobody submits anything. If the epoch ended at a far, fixed
    height, or waited for requests to get there, the thief would stay a member for as long as the network is idle.

    So E is one window away, and while an epoch is ending the primary proposes empty batches up to E, all that its
    limits admit at once: one of the two reasons for an empty batch, beside a due call.
    """
    stage.change_at = 1
    with stage.quietly("a1 at height 1 decides on the next configuration; nothing else is ever submitted"):
        stage.hand_in(0, "a1")
        stage.settle()
    epochs_now = {stage[replica].replica.state.configuration.epoch for replica in range(4)}
    heads = {stage[replica].replica.executed_height for replica in range(4)}
    stage.show(
        f"epoch 1 begins: E = 9 is certified everywhere (heads {sorted(heads)})", (epochs_now, heads) == ({1}, {9})
    )
    stage.show(
        "in view 0, with R1 as its primary",
        all((stage[replica].replica.view, stage[replica].replica.primary) == (0, 1) for replica in range(4)),
    )


@scenario(
    22,
    rules="D41",
    title="A replica that slept through the end of its epoch",
    window=8,
    stride=2,
    without=(
        Without(
            what="the answer to an older epoch",
            breaks="R3 is in epoch 1",
            edits=(
                Edit(
                    function=epochs.answer_with_epoch_end,
                    old="if replica != state.replica_id and state.ticks - notes.certificate_sent_tick >= ANSWER_TICKS:",
                    new="if False:",
                ),
            ),
        ),
    ),
)
def an_older_epoch_is_answered_with_its_end(stage: Stage) -> None:
    """R3 is cut off while the others leave epoch 0. Its view 3 of epoch 0 and their view 3 of epoch 1 have different
    primaries, and perhaps different n: counted together they mean nothing. If messages of an older epoch were just
    dropped, R3 could send STATUS and VIEW-CHANGEs for ever, and nobody would tell it why it is alone.

    So every message carries (epoch, view), an epoch starts in view 0, and whoever is in an older one is answered with
    the certificate of its last height: it proves itself under the keys that R3 knows, and R3 fetches up to it.
    """
    stage.change_at = 1
    with stage.quietly("a1 at height 1 decides on the next configuration; R3 executes it and is cut off"):
        stage.hand_in(0, "a1")
        stage.deliver("PRE-PREPARE")
        stage.deliver("PREPARE")
        stage.deliver("COMMIT")
        stage.cut(3)
        stage.settle()
    stage.heal()
    stage.wait(1000, 3)
    stage.wait(200, 0, 1, 2)
    stage.deliver("STATUS", sender=3, to=0)
    if stage.select("CERTIFICATE", to=3):
        stage.deliver("CERTIFICATE", to=3)
    stage.wait(200, 3)
    stage.settle("FETCH-BLOCKS", "BLOCKS")
    state = stage[3].replica.state
    stage.show("R3 is in epoch 1, at height 9", (state.configuration.epoch, state.executed_height) == (1, 9))
