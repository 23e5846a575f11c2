"""A primary that says two things, beside the executions of PROTOCOL.md: what deposes it, and what does not."""

from scenarios.edits import Edit
from scenarios.script import Without, scenario
from scenarios.stage import Stage, request
from simulation.bench import WALL_MS, make_batch

from pbft.core import deposal, evidence, view_change
from pbft.core.messages import Forward, NewView, PrePrepare


def proposal(*names: str, later_ms: int = 0) -> PrePrepare:
    """A liar's proposal for height 1."""
    batch = make_batch(*(request(name) for name in names), time_ms=WALL_MS + later_ms)
    return PrePrepare(epoch=0, view=0, height=1, digest=batch.digest, batch=batch)


@scenario(
    rules="M17, M35, M54",
    title="A primary that shows one replica another batch",
    liars=(0,),
    without=(
        Without(
            what="the half that R3 shows: each knows one proposal, and nobody has proof",
            breaks="R1, R2 and R3 have left view 0",
            edits=(
                Edit(
                    function=deposal.process_showing,
                    old="_compute_half(state, peer) if state.active else",
                    new="() if state.active else",
                ),
            ),
        ),
        Without(
            what="the consequence: the proof is kept, and its primary stays in office",
            breaks="R1, R2 and R3 have left view 0",
            edits=(
                Edit(function=deposal.process_conviction, old="start_view_change(state, state.view + 1)", new="pass"),
            ),
        ),
    ),
)
def two_words_depose_a_primary(stage: Stage) -> None:
    """R0 shows R1 and R2 one batch with a0 and R3 another one, and then says nothing: nobody gets Q COMMITs. Each of
    the three has seen one proposal with a good signature, so nobody can convict R0, and all would wait for T.

    But two members, one of them correct, contradict what R3 accepted. So R3 knows, and shows its proposal to one of
    them after the other. Who holds both has proof, and leaves the view at once; two that leave take R3 along. What R1
    and R2 had prepared is ordered in view 1, where R3 fetches the batch that it was not shown.
    """
    stage.forge(0, proposal("a0"), to=(1, 2))
    stage.forge(0, proposal("a0", later_ms=1), to=3)
    stage.deliver("PRE-PREPARE")
    stage.deliver("PREPARE")
    stage.wait(150)
    if stage.select("FORWARD"):
        stage.deliver("FORWARD")
    stage.settle("VIEW-CHANGE")
    left = all(stage[replica].replica.view == 1 for replica in (1, 2, 3))
    stage.show("R1, R2 and R3 have left view 0, long before T", left)
    stage.settle("NEW-VIEW")
    stage.wait(50)
    stage.settle("FETCH-BATCHES", "BATCHES", "PREPARE", "COMMIT")
    stage.show("a0 is executed by all of them in view 1", all(stage[replica].chain for replica in (1, 2, 3)))


@scenario(
    rules="M54, M29",
    title="Proof of a lie that is over",
    liars=(0,),
    without=(
        Without(
            what="the view in it: whoever lied once convicts its later offices, and who follows it in office",
            breaks="R1, R2 and R3 stay in view 4",
            edits=(
                Edit(
                    function=deposal.compute_conviction,
                    old="(epoch, view) != (state.configuration.epoch, state.view)",
                    new="epoch != state.configuration.epoch",
                ),
                Edit(
                    function=evidence.accuse,
                    old="(evidence.view, evidence.replica) == (state.view, state.primary)",
                    new="evidence.replica == state.primary",
                ),
                Edit(
                    function=deposal.process_conviction,
                    old="conviction.view == state.view and",
                    new="state.active and",
                ),
            ),
        ),
    ),
)
def an_old_lie_deposes_nobody(stage: Stage) -> None:
    """R0 signed two proposals in view 0 and was deposed. Four views later it is in office again and tells the truth, or
    was a machine with two processes by mistake, which was mended. Whoever kept the proof could have it deposed again
    and again, and each time the network would stand still for an exchange of VIEW-CHANGEs.

    So the proof convicts in the view that both words name. A second office ends by a second lie.
    """
    words = [stage.forge(0, proposal("a0", later_ms=ms), to=()) for ms in (0, 1)]
    with stage.quietly("R0 leads view 4"):
        for replica in (1, 2, 3):
            view_change.start_view_change(stage[replica].replica.state, 4)
            stage[replica].turn()
        stage.settle("VIEW-CHANGE")
        held = stage[1].replica.state.view_changes
        stage.forge(0, NewView(epoch=0, view=4, view_changes=tuple(held[r] for r in (1, 2, 3)), choices=()))
        stage.settle("NEW-VIEW")
    stage.say("Each of them is shown the two proposals of view 0.")
    for sender, receiver in ((1, 2), (2, 3), (3, 1)):
        stage.post(sender, receiver, Forward(envelopes=tuple(words)))
    stage.deliver("FORWARD")
    stands = {(stage[replica].replica.view, stage[replica].replica.is_active) for replica in (1, 2, 3)}
    stage.show("R1, R2 and R3 stay in view 4", stands == {(4, True)})
