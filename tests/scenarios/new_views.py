"""Executions 4, 6, 7 and 8: what a new view starts from, what it decides, and how much it may leave behind."""

from scenarios.edits import Edit
from scenarios.liars import claims, knows_nothing
from scenarios.script import Without, scenario
from scenarios.stage import Stage, request
from simulation.bench import WALL_MS, make_vote

from pbft.core import checkpoints, new_view, ordering
from pbft.core.messages import Commit, Prepare, PrePrepare, SlotEntry
from pbft.core.requests import compute_batch


@scenario(
    4,
    rules="D27",
    title="A new view that does not wait for a particular replica",
    liars=(3,),
    without=(
        Without(
            what="the certificate inside VIEW-CHANGE; the start is the highest h that W = 2 members of V list (M39)",
            breaks="R1 opens view 1",
            edits=(
                Edit(
                    function=new_view.compute_new_view,
                    old="best = max(members, key=lambda message: message.certified_height)",
                    new="best = sorted(members, key=lambda m: m.certified_height)[-configuration.quorums.weak]",
                ),
            ),
        ),
    ),
)
def the_highest_certified_h_wins(stage: Stage) -> None:
    """2 is certified at R0 alone: the votes that prove it were lost on their way to R1 and R2. R2 is cut off, and R3
    reports that it knows nothing. The new primary R1 has to start somewhere: if two members must list the same
    checkpoint, V = {R0 with h = 2, R1 with h = 1, R3 with h = 0} starts at 1, where R1's P entry of 2 has one voucher
    too few and null one member too few. The view would have to wait for R2 by name.

    So a VIEW-CHANGE carries the certificate of its h, and the highest one in V wins. Choosing needs no state: R1 may
    itself be behind the height that it starts from.
    """
    stage.order("a0")
    stage.say("Height 2 commits at R0 and R1; only R0 hears the votes of all.")
    stage.hand_in(0, "a1")
    stage.deliver("PRE-PREPARE", to=1)
    stage.deliver("PREPARE", to=0)
    digest = next(iter(stage[0].replica.state.pre_prepared[2]))
    stage.forge(3, Prepare(epoch=0, view=0, height=2, digest=digest))
    stage.deliver("PREPARE", to=(0, 1))
    stage.forge(3, Commit(epoch=0, view=0, height=2, digest=digest))
    stage.deliver("COMMIT", to=(0, 1))
    stage.stand_still()
    voted = stage[0].hashes[2]
    stage.forge(3, make_vote(2, voted), to=0)
    stage.deliver("HEADER-VOTE", to=0)
    stage.lose("HEADER-VOTE")
    stage.flights.clear()
    stage.say(
        "R0's client link breaks and its machine is stopped for maintenance: it gives up its view. R2 is cut off."
    )
    stage.forge(3, knows_nothing(stage, view=1))
    stage.hand_in(1, "b0")
    stage.wait(1500, 1)
    stage.settle("VIEW-CHANGE", "NEW-VIEW", to=(0, 1))
    stage.show("R1 opens view 1 and starts above 2", stage[1].replica.is_active and stage[1].replica.view == 1)


@scenario(
    6,
    rules="D28",
    title="A replica ahead that is shown old slots",
    liars=(3,),
    without=(
        Without(
            what="the answer to old messages",
            breaks="R2 has executed 2",
            edits=(
                Edit(
                    function=checkpoints.answer_with_certificate,
                    old="if state.certificate is None or replica == state.replica_id:",
                    new="if True:",
                ),
            ),
        ),
    ),
)
def old_messages_are_answered_with_the_certificate(stage: Stage) -> None:
    """2 is executed and certified at R0 alone. View 1 opens without R0's VIEW-CHANGE and re-proposes 2. R0 takes
    nothing at or below its h = 2, and R3, whose vote made the quorum, is silent now: R1 and R2 are two, and can never
    order 2 again.

    So whoever is shown a message at a height that it has certified answers with its newest certificate. The
    certificate proves itself, and R1 and R2 fetch the block.
    """
    stage.order("a0")
    stage.hand_in(0, "a1")
    stage.deliver("PRE-PREPARE")
    stage.deliver("PREPARE")
    stage.lose("COMMIT", to=2)
    stage.deliver("COMMIT")
    stage.stand_still()
    stage.say("R0 gets the votes of R1 and R3.")
    stage.forge(3, make_vote(2, stage[0].hashes[2]), to=0)
    stage.deliver("HEADER-VOTE", to=0)
    stage.cut(0)
    stage.say("R1 and R3 leave view 0, and take R2 along.")
    stage.hand_in(1, "b0")
    stage.wait(1500, 1)
    stage.forge(3, knows_nothing(stage, view=1))
    stage.settle("VIEW-CHANGE", "NEW-VIEW")
    stage.lose("PRE-PREPARE")  # of height 3: R1 goes on, which changes nothing at 2
    stage.settle("PREPARE")
    stage.heal()
    stage.wait(800, 1, 2)
    stage.deliver("STATUS", sender=2, to=1)
    stage.deliver("FORWARD", to=2)
    stage.deliver("STATUS", sender=2, to=0)
    stage.settle("CERTIFICATE")
    stage.wait(200, 2)
    stage.settle("FETCH-BLOCKS", "BLOCKS")
    stage.show(
        "R2 has executed 2, and h is 2",
        (stage[2].replica.executed_height, stage[2].replica.certified_height) == (2, 2),
    )


@scenario(
    7,
    rules="D29",
    title="A forged P entry at the end of the window",
    liars=(3,),
    without=(
        Without(
            what="cutting the nulls at the end that are null only by absence",
            breaks="the new view decides nothing",
            edits=(
                Edit(
                    function=new_view.compute_new_view,
                    old="choices=tuple(choices[:decided])",
                    new="choices=tuple(choices)",
                ),
            ),
        ),
    ),
)
def a_forged_entry_floods_nobody(stage: Stage) -> None:
    """R3 reports that it prepared something at height 65, the end of the window, which nobody else ever saw. The paper
    fills every height up to the highest P entry: 64 heights become null requests, and each becomes an empty block. One
    forged line in a VIEW-CHANGE costs the network 64 blocks, in each view change again.

    So the nulls at the end of X that are null only because nobody prepared anything there are cut.
    """
    stage.order("a0")
    stage.say("R1's patience with R0 ends; R3 helps, with a forged entry.")
    stage.hand_in(1, "b0")
    stage.lose("RELAY")
    stage.wait(1500, 1)
    forged = SlotEntry(height=65, digest=b"\xfa" * 32, view=0)
    stage.forge(3, claims(stage, forged))
    stage.settle("VIEW-CHANGE")
    made = stage[1].replica.state.new_view.messages[0]
    stage.show("the new view decides nothing: X is empty, and b0 is the next height", made.choices == ())


@scenario(
    7,
    rules="D29, M41",
    title="A null that was prepared is no absence",
    liars=(0,),
    without=(
        Without(
            what="the difference: every null at the end of X is cut",
            breaks="view 2 decides height 1 as null again",
            edits=(
                Edit(
                    function=new_view.compute_new_view,
                    old="decided = len(choices)\n",
                    new="decided = len(choices) if digest != NULL_DIGEST else decided\n",
                ),
            ),
        ),
    ),
)
def a_prepared_null_stays(stage: Stage) -> None:
    """View 1 decided 1 as null, because only 2 had been prepared; R1 has executed 1 as an empty block when view 1
    fails too. In V of view 2 nobody holds a P entry of 2 any more, so 1 stands at the end. Cutting every null there
    would give height 1 to another request, while R1 has an empty block.

    So null is a digest like any other: it is pre-prepared, prepared and journaled, enters P and Q, and a null that is
    chosen by its P entry is never cut.
    """
    batch = compute_batch(WALL_MS, (request("a0"),))
    stage.say(
        "R0 proposes height 2 to R1 and R3, and height 1 to nobody. R1 alone prepares it. Then R0 gives up its view."
    )
    stage.forge(0, PrePrepare(epoch=0, view=0, height=2, digest=batch.digest, batch=batch), to=(1, 3))
    stage.deliver("PRE-PREPARE")
    stage.deliver("PREPARE", to=1)
    stage.flights.clear()
    stage.forge(0, knows_nothing(stage, view=1))
    stage.settle("VIEW-CHANGE", "NEW-VIEW")
    stage.say(
        "R2 lacks the body of 2: only 1 is prepared. R1 alone hears the COMMITs, executes an empty block, and crashes."
    )
    stage.settle("PREPARE")
    stage.deliver("COMMIT", to=1)
    stage.crash(1)
    stage.flights.clear()
    stage.wait(3000, 2)
    stage.forge(0, knows_nothing(stage, view=2))
    stage.settle("VIEW-CHANGE", "NEW-VIEW")
    made = stage[2].replica.state.new_view
    choices = () if made is None else made.messages[0].choices
    stage.show(
        "view 2 decides height 1 as null again, as R1 executed it",
        [(choice.height, choice.is_null) for choice in choices] == [(1, True)],
    )


@scenario(
    8,
    rules="D30",
    title="How much one view may add to the Q set",
    liars=(3,),
    batch_requests_max=1,
    without=(
        Without(
            what="the limit of 8 slots above X until the view has certified a height",
            breaks="R1's Q set",
            edits=(
                Edit(
                    function=ordering.compute_proposal_limit,
                    old="limit = min(limit, state.reproposed_top + UNCERTIFIED_SLOTS_MAX)",
                    new="pass",
                ),
            ),
        ),
    ),
)
def a_view_adds_eight_slots_at_most(stage: Stage) -> None:
    """A Q entry must stay until its height is certified: whoever forgets that it pre-prepared a digest may be the
    voucher (A2) without whom no choice is possible. So Q grows with every view that proposes and certifies nothing,
    and with it the VIEW-CHANGE, up to the limit of a message: then no view can change any more.

    The source is bounded instead: until a view has certified a height, its primary keeps at most 8 slots above X in
    flight.
    """
    with stage.quietly("clients hand 40 requests to R0, which proposes; no PREPARE arrives anywhere"):
        stage.hand_in(0, *(f"a{nonce}" for nonce in range(40)))
        stage.deliver("PRE-PREPARE")
        stage.lose("PREPARE")
    size = sum(len(digests) for digests in stage[1].replica.state.pre_prepared.values())
    stage.show(f"R1's Q set has at most 8 entries a view: {size} after the first", size <= 8)
