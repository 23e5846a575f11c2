"""Executions 24, 41 to 46, 49 and 50: what a proposal is judged by, and when a primary is suspected."""

from scenarios.edits import Edit
from scenarios.liars import knows_nothing, liar_follows
from scenarios.script import Without, scenario
from scenarios.stage import Stage, replica_names, request
from simulation.bench import WALL_MS

from pbft.core import ordering, requests, timers
from pbft.core.messages import PrePrepare
from pbft.core.requests import compute_batch


@scenario(
    24,
    rules="D42",
    title="A proposal is judged by its bytes and its height",
    without=(
        Without(
            what="that restraint: a backup that knows of the revocation refuses proposals with the key",
            breaks="all three backups send PREPARE",
            edits=(
                Edit(
                    function=requests.validate_batch,
                    old="    latest: dict[bytes, int] = {}\n",
                    new="    latest: dict[bytes, int] = {}\n"
                    "    if state.executed_height >= 2 and any(r.client == b'\\x03' * 32 for r in batch.requests):\n"
                    "        raise InvalidMessage('client_revoked')\n",
                ),
            ),
        ),
    ),
)
def a_proposal_is_judged_by_its_bytes(stage: Stage) -> None:
    """Height 2 revokes the key of client c. R0, R1 and R3 have executed it, R2 has not yet. The primary orders a
    request of c at height 3. If a backup judged by its state, R2 would accept and R1 would refuse: correct replicas
    disagree about a correct primary, no quorum prepares, and it is deposed, again and again while keys rotate.

    So a PRE-PREPARE is judged by its bytes, its height and the clock alone, which are the same for all. Registration,
    nonce and balance are judged at execution, where all have the same state, and give a receipt.
    """
    stage.order("a0")
    stage[2].executes = False
    stage.say("a1 at height 2 revokes the key of client c.")
    stage.hand_in(0, "a1")
    stage.settle("PRE-PREPARE", "PREPARE", "COMMIT")
    stage.hand_in(0, "c0")
    stage.deliver("PRE-PREPARE")
    voters = {flight.sender for flight in stage.select("PREPARE", height=3)}
    stage.show("all three backups send PREPARE for c0: executed here or not", voters == {1, 2, 3})


@scenario(
    44,
    rules="D56, M18, M21",
    title="A client that reaches one backup, and a primary that censors it",
    liars=(0,),
    without=(
        Without(
            what="the relay to all at T/2",
            breaks="b0 is executed",
            edits=(Edit(function=requests.process_relay_to_all, old="    if due:\n", new="    if False:\n"),),
        ),
    ),
)
def a_lone_complainer_is_heard(stage: Stage) -> None:
    """The client of b0 has a link to R2 only, and the primary R0 drops what R2 relays. At T R2 leaves the view, alone:
    nobody else knows of b0, so nobody else has a reason to leave. b0 stays censored, and the view has lost R2.

    So at T/2 the request is relayed to all, who start their own timers; at T two more replicas have the same
    complaint.
    """
    stage.hand_in(2, "b0")
    stage.say("R0 drops the relay.")
    stage.wait(750, 1, 2, 3)
    if stage.select("RELAY"):
        stage.deliver("RELAY")
    stage.wait(750, 1, 2, 3)
    if stage.select("VIEW-CHANGE"):
        stage.deliver("VIEW-CHANGE")
    stage.wait(750, 1, 2, 3)
    stage.settle("VIEW-CHANGE", "NEW-VIEW", "PRE-PREPARE", "PREPARE", "COMMIT")
    executed = [replica for replica in (1, 2, 3) if stage[replica].chain]
    stage.show(f"b0 is executed, by {replica_names(executed)}, under the primary of view 1", executed == [1, 2, 3])


@scenario(
    46,
    rules="D60",
    title="f silent and one clock a minute off",
    liars=(3,),
    without=(
        Without(
            what="following W replicas: a wrong clock costs the vote for good",
            breaks="a0 is executed",
            edits=(
                Edit(
                    function=ordering.may_promise,
                    old="if prepared_elsewhere < state.configuration.quorums.weak:",
                    new="if True:",
                ),
            ),
        ),
    ),
)
def a_skewed_clock_follows(stage: Stage) -> None:
    """R3 is silent, so R0, R1 and R2 are the quorum, and R2's clock is a minute behind. "A batch from the future"
    costs R2's vote, and R2's vote is the whole quorum: the network stops, and no view change helps, for R2 disagrees
    with every primary.

    So a vote that misses for the clock alone waits, until W = 2 replicas, the primary counted, stand behind the
    batch's time: one of them is correct, and its clock accepted it. The clock alone never raises suspicion.
    """
    stage[2].wall_ms -= 60_000
    stage.wait(50)
    stage.hand_in(0, "a0")
    stage.deliver("PRE-PREPARE")
    stage.say("R2 does not answer yet. Then it hears that R1 prepared the batch too.")
    stage.deliver("PREPARE")
    stage.settle("PREPARE", "COMMIT")
    stage.show("a0 is executed by R0, R1 and R2", all(stage[replica].chain for replica in (0, 1, 2)))


@scenario(
    43,
    rules="D58, M23",
    title="A full queue is no excuse for the primary",
    liars=(0,),
    without=(
        Without(
            what="the short list of reasons: a long queue stops the clock of suspicion, too",
            breaks="R1 leaves view 0",
            edits=(
                Edit(
                    function=timers.is_paused,
                    old="is_behind = state.executing is not None",
                    new="is_behind = len(state.pending) > 100 or state.executing is not None",
                ),
            ),
        ),
    ),
)
def a_full_queue_pauses_nothing(stage: Stage) -> None:
    """A flood keeps everybody's queue full. If overload stopped the clock of suspicion, the primary could drop one
    client's request for as long as the flood lasts, and the flood may be its own.

    So only this replica's own slowness stops the clock: a committed slot that is not executed, or catch-up; and at
    most 4 T in a view.
    """
    with stage.quietly("200 requests wait at R1; the primary orders none of them"):
        stage.hand_in(1, *(f"a{nonce}" for nonce in range(200)))
    stage.wait(1500, 1)
    stage.show("R1 leaves view 0 after T", not stage[1].replica.is_active)


@scenario(
    49,
    rules="D63, D64",
    title="Nobody makes the block in which a settlement closes",
    liars=(0,),
    without=(
        Without(
            what="the timer of due calls: only requests are timed",
            breaks="the call has run",
            edits=(
                Edit(
                    function=timers.process_due_timer,
                    old="if state.is_primary or not overdue_ms or agreeing < state.configuration.quorums.weak:",
                    new="if True:",
                ),
            ),
        ),
    ),
)
def a_due_call_is_a_request_of_its_own(stage: Stage) -> None:
    """A settlement closes at ten seconds past, by a call that the chain scheduled itself. The network is idle, and the
    primary does nothing: nobody waits for a request, so nobody suspects it, and the call never runs.

    So a due time is a request of its own: 2 s after it, on its own clock, each backup says so in its STATUS, and from
    when W others say it too it gives the primary T: one wrong clock suspects nobody. The primary of view 1 proposes an
    empty batch with that time, the one reason for which an empty batch is accepted.
    """
    due_ms = WALL_MS + 10_000
    for replica in (1, 2, 3):
        stage[replica].next_due_ms = due_ms
        stage[replica].replica.state.next_due_ms = due_ms
    stage.say("A call is due in 10 s.")
    stage.wait(10_000)
    stage.wait(2_000)
    stage.flights.clear()  # what they said of themselves up to here
    stage.wait(200)
    stage.deliver("STATUS")
    stage.wait(1_600)
    for replica in (1, 2, 3):
        stage[replica].next_due_ms = None  # the block that runs the call schedules no other
    if stage.select("VIEW-CHANGE"):
        stage.settle("VIEW-CHANGE", "NEW-VIEW", "PRE-PREPARE", "PREPARE", "COMMIT")
    ran = [replica for replica in (1, 2, 3) if stage[replica].chain]
    stage.show(f"the call has run at {replica_names(ran)}, in an empty block of view 1", ran == [1, 2, 3])


@scenario(
    50,
    rules="D64",
    title="Empty batches as a nuisance",
    liars=(0,),
    without=(
        Without(
            what="the closed list of reasons for an empty batch",
            breaks="no backup takes it",
            edits=(Edit(function=requests.validate_batch, old="if not batch.requests:", new="if False:"),),
        ),
    ),
)
def an_empty_batch_needs_a_reason(stage: Stage) -> None:
    """The primary proposes an empty batch each millisecond. Every one would become a block with a certificate, on
    every disk, for ever.

    So an empty batch is accepted for a call that is due, and for nothing else that can be judged here.
    """
    batch = compute_batch(WALL_MS, ())
    stage.forge(0, PrePrepare(epoch=0, view=0, height=1, digest=batch.digest, batch=batch))
    stage.deliver("PRE-PREPARE")
    stage.show("no backup takes it", not stage.select("PREPARE"))


@scenario(
    41,
    rules="D57",
    title="A network that is slow, and not faulty",
    without=(
        Without(
            what="the patience that was learned: one certified height sets T back to its base",
            breaks="nobody leaves view 1",
            edits=(
                Edit(
                    function=ordering.process_executed,
                    old="    state.progress_tick = state.ticks\n",
                    new="    state.progress_tick = state.ticks\n    state.doublings = 0\n",
                ),
            ),
        ),
    ),
)
def learned_patience_is_kept(stage: Stage) -> None:
    """A round takes 1.5 T. View 0 fails at T, view 1 has 2 T and orders a0. If that one success set the timer back to
    T, the next request would fail again at T: a view change for every block, for as long as the network is slow.

    So a doubled timer is halved once per 64 certified heights, and not before.
    """
    for replica in range(4):
        stage.hand_in(replica, "a0")
    stage.flights.clear()
    stage.say("1.5 T are 2250 ms; whatever R0 proposed is still on its way.")
    stage.wait(1500)
    stage.settle("VIEW-CHANGE", "NEW-VIEW", "PRE-PREPARE", "PREPARE", "COMMIT")
    stage.say("View 1 has ordered a0. The next request takes 1.5 T, as everything here does.")
    for replica in range(4):
        stage.hand_in(replica, "a1")
    stage.wait(2250)
    views = {stage[replica].replica.view for replica in range(4)}
    stage.show("nobody leaves view 1 while a1 is on its way", views == {1})


@scenario(
    42,
    rules="D57, D58",
    title="A new view with a heavy window to work off",
    liars=(0,),
    without=(
        Without(
            what="re-arming: one timer for all of X",
            breaks="view 1 stands",
            edits=(
                Edit(
                    function=ordering.process_committed,
                    old="if slot.height <= state.reproposed_top and state.view_deadline is not None:",
                    new="if False:",
                ),
            ),
        ),
    ),
)
def each_slot_of_x_buys_time(stage: Stage) -> None:
    """X holds three heavy slots, each of which takes 2000 ms to get through; the timer of view 1 is 3000 ms. If one
    timer had to cover all of X, view 1 would fail in the middle of its work, and so would every view after it, each
    with a longer X.

    So the view timer is armed again by each newly committed slot of X: who makes progress is not suspected.
    """
    stage.say("View 0 prepared 1, 2 and 3 and committed nothing.")
    with stage.quietly("R0 proposes a0, a1, a2; all prepare; no COMMIT arrives"):
        for height in (1, 2, 3):
            batch = compute_batch(WALL_MS, (request(f"a{height}"),))
            stage.forge(0, PrePrepare(epoch=0, view=0, height=height, digest=batch.digest, batch=batch))
        stage.settle("PRE-PREPARE", "PREPARE")
        stage.flights.clear()
    stage.say(
        "R0 gives up its view. R3's link is down from here on; R0's own COMMITs trickle in, one height in 2000 ms."
    )
    stage.cut(3)
    stage.forge(0, knows_nothing(stage, view=1))
    stage.settle("VIEW-CHANGE", "NEW-VIEW")
    liar_follows(stage, 0, 1, 1)
    liar_follows(stage, 0, 1, 2)
    liar_follows(stage, 0, 1, 3)
    stage.deliver("PREPARE")
    stage.deliver("COMMIT", sender=1)
    stage.deliver("COMMIT", sender=2)
    for height in (1, 2, 3):
        stage.wait(2000)
        if stage.select("COMMIT", sender=0, height=height):
            stage.deliver("COMMIT", sender=0, height=height)
    views = {stage[replica].replica.view for replica in (1, 2)}
    heights = {stage[replica].replica.executed_height for replica in (1, 2)}
    stage.show("view 1 stands and has worked off X: R1 and R2 executed all three", (views, heights) == ({1}, {3}))
