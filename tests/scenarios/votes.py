"""Executions 1, 2, 3, 5 and 9: header votes, certificates, and the low watermark."""

from scenarios.edits import Edit
from scenarios.liars import knows_nothing, liar_follows
from scenarios.script import Without, scenario
from scenarios.stage import Stage

from pbft.core import checkpoints, state_transfer, status

ON_DEMAND_BY_VOTE = Edit(
    function=checkpoints.process_header_vote,
    old="process_vote(state, vote.height)",
    new="pass",
)
ON_DEMAND_BY_STATUS = Edit(
    function=status.process_status, old="process_vote(state, status.executed_height)", new="pass"
)
WAITING_VOTES = Edit(
    function=checkpoints.process_executed_header,
    old="        process_vote(state, height)\n",
    new="",
)


@scenario(
    1,
    rules="D24",
    title="Three replicas that never vote on the same height",
    liars=(3,),
    batch_requests_max=1,
    without=(
        Without(
            what="fixed heights and votes on demand: each replica votes where it finds itself idle",
            breaks="Q = 3 replicas voted on one height",
            edits=(
                Edit(
                    function=checkpoints.process_fixed_vote, old="height % state.configuration.stride == 0", new="False"
                ),
                ON_DEMAND_BY_VOTE,
                ON_DEMAND_BY_STATUS,
                WAITING_VOTES,
            ),
        ),
    ),
)
def votes_meet_at_fixed_heights(stage: Stage) -> None:
    """R3 is silent, so R0, R1 and R2 must all vote on one height before h can move. Which heights a replica finds
    itself idle at depends on what has reached it by then. If every replica voted only there, three replicas could
    execute for ever without one height that all three voted on: h stands still, the window fills, and the network
    stops.

    So heights that are multiples of the stride (here 8) are voted on by everybody, and a peer's vote on any other
    height asks for the own one.
    """
    stage.order("a0")
    stage.say(
        "R1 hears of all proposals at once, R2 of each when the one before is executed; 11 dies on its way to R2."
    )
    with stage.quietly("clients hand in a1 to a10; R0 proposes heights 2 to 11"):
        stage.hand_in(0, *(f"a{nonce}" for nonce in range(1, 11)))
    stage.lose("PRE-PREPARE", to=2, height=11)
    with stage.quietly("PRE-PREPARE 2 to 11 reach R1"):
        stage.deliver("PRE-PREPARE", to=1)
        stage.lose("PREPARE", height=11)
    for height in range(2, 11):
        with stage.quietly(f"PRE-PREPARE {height} reaches R2; height {height} is ordered and executed by R0, R1, R2"):
            stage.deliver("PRE-PREPARE", to=2, height=height)
            stage.deliver("PREPARE", height=height)
            stage.deliver("COMMIT", height=height)
    stage.stand_still()
    stage.say("Every header vote that anybody gave, and nothing else, arrives now.")
    stage.settle("HEADER-VOTE")
    certified = [stage[replica].replica.certified_height for replica in (0, 1, 2)]
    stage.show(f"Q = 3 replicas voted on one height: everybody's h is {certified}, e is 10", min(certified) >= 8)


@scenario(
    2,
    rules="D25",
    title="A certificate for a block that this replica has not executed",
    without=(
        Without(
            what="the own block: h moves on a certificate alone",
            breaks="R2 still holds bodies and P entries of 2 and 3",
            edits=(
                Edit(
                    function=checkpoints.process_certificate,
                    old="if height > state.executed_height:",
                    new="if height > state.certified_height + 64:",
                ),
                Edit(
                    function=checkpoints.process_certificate,
                    old="own = state.header_hashes[height]",
                    new="own = certificate.header_hash",
                ),
                Edit(
                    function=checkpoints.require_consistent,
                    old="state.executed_height < state.certified_height",
                    new="False",
                ),
            ),
        ),
    ),
)
def h_moves_on_the_own_block(stage: Stage) -> None:
    """R2 has prepared 2 and 3 but its worker is slow: e = 1. The others execute both and their votes certify 3. If R2
    took h = 3 from the certificate, it would delete P, Q and the bodies of 2 and 3, which the ledgers of the others
    may not have synced yet. Power fails at all sites: blocks that were answered to clients exist nowhere, and R2's
    VIEW-CHANGE names an h that nobody can serve.

    So h moves only when the block was executed here, with that header, and is durable; a certificate above e starts
    catch-up.
    """
    stage.order("a0")
    stage[2].executes = False
    stage.hand_in(0, "a1")
    stage.settle("PRE-PREPARE", "PREPARE", "COMMIT")
    stage.hand_in(0, "a2")
    stage.settle("PRE-PREPARE", "PREPARE", "COMMIT")
    stage.stand_still()
    stage.say("R0, R1 and R3 voted; R2 hears them with nothing executed above 1.")
    stage.settle("HEADER-VOTE")
    held = stage[2].replica.state
    stage.show(
        f"R2 still holds bodies and P entries of 2 and 3: h = {held.certified_height}, P = {sorted(held.prepared)}",
        sorted(held.prepared) == [2, 3] and len(held.bodies) == 2,
    )
    stage.say("R2's worker is done with 2 and 3.")
    stage[2].executes = True
    for _ in range(2):
        stage[2].execute(stage[2].asked[-1])
        stage[2].turn()
    stage.show("then h = 3 at R2 too", stage[2].replica.certified_height == 3)


@scenario(
    3,
    rules="D25",
    title="A certificate that skips heights, and a crash right after it",
    without=(
        Without(
            what="one record for h and its certificate: P and Q are deleted, the certificate stays in RAM",
            breaks="R2's VIEW-CHANGE accounts for everything that it executed",
            edits=(
                Edit(
                    function=checkpoints._move_low_watermark,
                    old="""    state.actions.append(
        Persist(key=CERTIFIED_KEY, value=encode_certified(height, certificate.header_hash, certificate))
    )
""",
                    new="",
                ),
            ),
        ),
    ),
)
def certificate_and_h_are_one_record(stage: Stage) -> None:
    """1 and 2 are executed and never certified; 3 is. Deleting P and Q at 1 to 3 together is safe, because a
    VIEW-CHANGE with h = 3 brings the certificate of 3, and parent hashes fix 1 and 2 below it. It is safe only while
    certificate and h cannot be separated: a replica that restarts without either P or certificate reports "h = 0,
    nothing prepared", and three such reports let a new view fill executed heights with other requests.

    So the certificate, the new h and the deletions are one record and one sync.
    """
    with stage.quietly("1 and 2 are ordered and executed; the next comes before anybody votes on them"):
        for name in ("a0", "a1"):
            stage.hand_in(0, name)
            stage.settle("PRE-PREPARE", "PREPARE", "COMMIT")
    stage.hand_in(0, "a2")
    stage.settle("PRE-PREPARE", "PREPARE", "COMMIT")
    stage.stand_still()
    stage.settle("HEADER-VOTE")
    stage.crash(2)
    stage.restart(2)
    stage.say("The primary dies; R2's patience with a request ends.")
    stage.crash(0)
    stage.hand_in(2, "b0")
    stage.wait(1500, 2)
    stage.settle("VIEW-CHANGE", to=3)
    state = stage[2].replica.state
    stage.show(
        "R2's VIEW-CHANGE accounts for everything that it executed: h = 3 covers what P no longer holds",
        set(range(1, 4)) <= set(range(state.certified_height + 1)) | set(state.prepared),
    )


@scenario(
    5,
    rules="D28",
    title="A replica in the middle, too late for the votes of a view that is gone",
    liars=(3,),
    without=(
        Without(
            what="adoption on W equal header votes: only a certificate is believed",
            breaks="R2 has executed 2 and 3",
            edits=(
                Edit(
                    function=state_transfer.compute_trusted,
                    old="count >= state.configuration.quorums.weak",
                    new="count >= state.configuration.quorums.quorum",
                ),
            ),
        ),
    ),
)
def w_equal_votes_are_enough_to_adopt(stage: Stage) -> None:
    """R3 helps R0 and R1 to commit 2 and 3, then falls silent and never votes on a header. R2 missed both, and the
    COMMITs that would prove them are gone with R3. R2's vote is needed for a certificate, and R2 could catch up by a
    certificate: neither comes first. The window fills and the network stops.

    Two equal header votes (W = f + 1) hold one of a correct replica, and a correct replica votes only on what it
    executed, which was committed. So W equal votes are enough to adopt blocks; then R2 executes, votes, and the
    certificate exists.
    """
    stage.order("a0")
    for name, height in (("a1", 2), ("a2", 3)):
        stage.say(f"Height {height} reaches R1 and R3, not R2.")
        stage.hand_in(0, name)
        stage.lose("PRE-PREPARE", to=2)
        stage.deliver("PRE-PREPARE", to=1)
        liar_follows(stage, 3, 0, height, to=(0, 1))
        stage.lose("PREPARE", to=2)
        stage.deliver("PREPARE")
        stage.lose("COMMIT", to=2)
        stage.deliver("COMMIT")
    stage.stand_still()
    stage.say("R2 hears the two honest header votes for 3.")
    stage.settle("HEADER-VOTE", to=2)
    stage.wait(200, 2)
    stage.settle("FETCH-BLOCKS", "BLOCKS")
    stage.show("R2 has executed 2 and 3 without a certificate", stage[2].replica.executed_height == 3)
    stage.settle("HEADER-VOTE")
    stage.show(
        "and its vote certifies 3: everybody's h is 3",
        all(stage[replica].replica.certified_height == 3 for replica in (0, 1, 2)),
    )


@scenario(
    9,
    rules="D26, M45",
    batch_requests_max=1,
    title="A replica that executed differently, at a height that nobody was going to vote on",
    without=(
        Without(
            what="the comparison of votes with the own header at any executed height",
            breaks="R1 has stopped",
            edits=(
                ON_DEMAND_BY_VOTE,
                Edit(
                    function=checkpoints.process_votes_at,
                    old="if height <= state.executed_height else None",
                    new="if height in state.voted else None",
                ),
            ),
        ),
    ),
)
def divergence_is_seen_at_any_height(stage: Stage) -> None:
    """A bit of R1's memory turns while it executes 2: its state is wrong from there on. With height 3 under way R1
    does not vote on 2, and a replica that compares votes only where it voted itself finds out at the next height of
    its own, perhaps after it has served wrong answers for hours.

    So every vote at an executed height is compared with the own header, voted on or not. One vote against it may be a
    liar's; W equal ones hold a correct replica's, and stop this one: it keeps everything and answers nothing.
    """
    stage.order("a0")
    stage[1].twist[2] = b"a bit turned"
    stage.hand_in(0, "a1", "a2")
    stage.say("R1 hears of the proposal for 3 too, so executing 2 does not leave it idle there.")
    stage.lose("PRE-PREPARE", to=(2, 3), height=3)
    stage.deliver("PRE-PREPARE")
    stage.deliver("PREPARE", height=2)
    stage.deliver("COMMIT", height=2)
    stage.stand_still()
    stage.deliver("HEADER-VOTE", to=1)
    stage.show("R1 has stopped", stage[1].halted is not None)


@scenario(
    10,
    rules="D31",
    title="A header that tells in which view its batch was decided",
    liars=(3,),
    without=(
        Without(
            what="the closed list: the header holds the view too",
            breaks="R0, R1 and R2 have the same header",
            stage={"header_holds_view": True},
        ),
    ),
)
def the_header_knows_no_view(stage: Stage) -> None:
    """R0 executes 1 as decided in view 0, R1 and R2 execute the same batch re-proposed in view 1. With a view, a
    proposer, a signature or an arrival time in the header, three correct replicas would have two headers for one
    block: no Q, and the rule that finds divergence stops the one that was first.

    So the header is a closed list of what all correct replicas know alike.
    """
    stage.hand_in(0, "a0")
    stage.deliver("PRE-PREPARE")
    stage.deliver("PREPARE")
    stage.deliver("COMMIT", to=0)
    stage.lose("COMMIT")
    stage.say("R0 has executed 1 in view 0. It is cut off, and view 1 opens.")
    stage.cut(0)
    stage.hand_in(1, "b0")
    stage.wait(1500, 1)
    stage.forge(3, knows_nothing(stage, view=1))
    stage.settle("VIEW-CHANGE", "NEW-VIEW")
    liar_follows(stage, 3, 1, 1)
    stage.settle("PREPARE", "COMMIT")
    stage.heal()
    hashes = {stage[replica].hashes[1] for replica in (0, 1, 2)}
    stage.show("R0, R1 and R2 have the same header for block 1", len(hashes) == 1)
