"""Executions 13 to 17: crashes, restarts, and what a journal is for."""

from scenarios.edits import Edit
from scenarios.liars import knows_nothing, liar_follows
from scenarios.script import Without, scenario
from scenarios.stage import Stage, request
from simulation.bench import WALL_MS, make_envelope

from pbft.core import checkpoints, ordering, own_key, restart
from pbft.core.messages import Commit, Forward, NewView, PrePrepare, Status
from pbft.core.requests import compute_batch


@scenario(
    13,
    rules="M25, M40, D35",
    title="An executed height keeps its content",
    liars=(3,),
    without=(
        Without(
            what="the P entry in the journal before COMMIT",
            breaks="height 1 has one content",
            edits=(
                Edit(
                    function=ordering._process_prepared,
                    old="    state.actions.append(Persist(key=prepared_key(slot.height), value=encode_entry(entry)))\n",
                    new="",
                ),
            ),
        ),
    ),
)
def an_executed_height_keeps_its_content(stage: Stage) -> None:
    """R0 executes 1 on the COMMITs of R0, R1 and the liar R3, and is cut off. R1 crashes and starts again. A view
    change without R0 follows, in which R3 reports that it knows nothing, and helps whatever comes.

    Executed means Q COMMITs, so Q - f correct replicas journaled P(1) before they sent theirs. A null, or any other
    request, at 1 needs Q members of V without a P entry there; two such sets share a correct replica, and it cannot be
    in both. The argument uses exactly this: P is synced before COMMIT, and never lost above h.
    """
    stage.hand_in(0, "a0")
    stage.deliver("PRE-PREPARE")
    liar_follows(stage, 3, 0, 1)
    stage.deliver("PREPARE", to=(0, 1), sender=3)
    stage.deliver("PREPARE", to=(0, 1))
    stage.deliver("COMMIT", to=0)
    stage.lose("COMMIT")
    stage.cut(0)
    stage.crash(1)
    stage.restart(1)
    stage.flights.clear()
    stage.say("Another client waits at R1 and R2. R3 joins the view change and knows nothing.")
    stage.hand_in(1, "b0")
    stage.wait(1500, 1)
    stage.forge(3, knows_nothing(stage, view=1))
    stage.settle("VIEW-CHANGE", "NEW-VIEW", "PRE-PREPARE")
    liar_follows(stage, 3, 1, 1)
    stage.settle("PREPARE", "COMMIT")
    contents = {stage[replica].chain[0].batch.digest for replica in (0, 1, 2) if stage[replica].chain}
    executed = sum(1 for replica in (0, 1, 2) if stage[replica].chain)
    stage.show(f"height 1 has one content at the {executed} replicas that executed it", len(contents) == 1)


@scenario(
    14,
    rules="D34, D35",
    title="Power fails at all sites, and a ledger that was not synced",
    without=(
        Without(
            what="the ledger's sync: the last block is only in the operating system's memory",
            breaks="every replica starts again",
            stage={"unsynced_blocks": 1},
        ),
    ),
)
def the_ledger_is_synced_before_the_journal_forgets(stage: Stage) -> None:
    """1 is executed, answered to its client and certified, so the journals delete its P entry and its body. The four
    sites hang on one feeder, and power fails. If the ledgers were written without data sync, block 1 is in no ledger
    and in no journal: it was acknowledged and exists nowhere.

    So a journal slot is deleted only when its block is certified and durable in the ledger, whose every write is
    synced. And where a disk broke that promise, the replica refuses to start (e below the journal's h) instead of
    voting as if nothing had happened; "Failure and repair" in pbft/README.md says what its operator does.
    """
    stage.order("a0")
    stage.crash(0, 1, 2, 3)
    stage.restart(0, 1, 2, 3)
    up = [replica for replica in range(4) if not stage[replica].is_down]
    stage.show(
        f"every replica starts again and holds block 1: {len(up)} of 4",
        len(up) == 4 and all(stage[replica].replica.executed_height == 1 for replica in up),
    )


@scenario(
    15,
    rules="D36, M51",
    title="Everybody restarts, and nobody knows what was committed",
    without=(
        Without(
            what="sending again what was promised",
            breaks="1 is executed by all",
            edits=(
                Edit(
                    function=restart.process_resume,
                    old="        _resend_slots(state)\n",
                    new="",
                ),
            ),
        ),
    ),
)
def all_restart_and_resume(stage: Stage) -> None:
    """All four have prepared 1 and journaled it; their COMMITs are in RAM and in the wires when power fails. After the
    restart every replica knows that 1 is prepared, no replica knows whether it was committed, and the client, who was
    told nothing, may never ask again. The height would stay open for ever.

    So a replica re-enters its view as it was and says again, in the same bytes, all that it had promised above h.
    """
    stage.hand_in(0, "a0")
    stage.deliver("PRE-PREPARE")
    stage.deliver("PREPARE")
    stage.crash(0, 1, 2, 3)
    stage.flights.clear()
    stage.restart(0, 1, 2, 3)
    stage.settle("PRE-PREPARE", "PREPARE", "COMMIT")
    stage.show(
        "1 is executed by all, without a client, a view change, or a timer",
        all(stage[replica].replica.executed_height == 1 for replica in range(4)),
    )


@scenario(
    16,
    rules="D37, M27",
    title="A lost disk, and a VIEW-CHANGE that nobody has seen",
    liars=(1,),
    without=(
        Without(
            what="the new key: after asking its peers, R2 goes on under its old one",
            breaks="height 1 has one content, or none yet",
            stage={"forgets_its_key": False},
        ),
    ),
)
def a_lost_disk_comes_back_silent(stage: Stage) -> None:
    """R2 leaves view 0 and signs a VIEW-CHANGE, "nothing prepared", that only the liar R1 receives. Then R2's disk
    dies. R2 starts on an empty one and asks everybody: nobody has heard of view 1, so it goes on in view 0 and helps
    to commit a0 at height 1, which R0 executes. Now R1, the primary of view 1, shows R2's old VIEW-CHANGE: its own,
    R2's and R3's say that nothing was prepared, and b0 gets height 1. No bound on heights helps, because what was
    forgotten is a view.

    So a replica without its journal is silent under its old key for ever. It comes back with a new consensus key, and
    votes from the first height of an epoch that lists it: everything signed with the old key dies with its epoch.
    """
    stage.hand_in(2, "c0")
    stage.wait(1500, 2)
    stage.say("R1 keeps R2's VIEW-CHANGE for itself; R2's disk dies.")
    (hidden,) = {id(f.message): f.message for f in stage.select("VIEW-CHANGE", sender=2)}.values()
    stage.crash(2)
    stage.flights.clear()
    stage.come_back_without_a_disk(2)
    stage.flights.clear()
    stage.hand_in(0, "a0")
    stage.deliver("PRE-PREPARE", to=2)
    stage.flights = [flight for flight in stage.flights if flight.receiver != 3]
    liar_follows(stage, 1, 0, 1, to=(0, 2))
    stage.settle("PREPARE", to=(0, 2))
    stage.settle("COMMIT", to=0)
    stage.flights.clear()
    stage.say("R1 shows what it kept. R3 leaves view 0, for W = 2 others have.")
    stage.forge(1, knows_nothing(stage, view=1), to=3)
    stage.post(1, 3, hidden)
    stage.deliver("VIEW-CHANGE", to=3)
    batch = compute_batch(WALL_MS, (request("b0"),))
    (own,) = {id(f.message): f.message for f in stage.select("VIEW-CHANGE", sender=3)}.values()
    stage.flights.clear()
    mine = make_envelope(1, knows_nothing(stage, view=1))
    stage.forge(1, NewView(epoch=0, view=1, view_changes=(mine, hidden, own), choices=()), to=(2, 3))
    stage.forge(1, PrePrepare(epoch=0, view=1, height=1, digest=batch.digest, batch=batch), to=(2, 3))
    stage.deliver("NEW-VIEW")
    stage.deliver("PRE-PREPARE", to=(2, 3))
    stage.forge(1, Commit(epoch=0, view=1, height=1, digest=batch.digest), to=(2, 3))
    stage.settle("PREPARE", "COMMIT", to=(2, 3))
    contents = {stage[replica].chain[0].batch.digest for replica in (0, 2, 3) if stage[replica].chain}
    stage.show("height 1 has one content, or none yet", len(contents) <= 1)


@scenario(
    17,
    rules="D38, M28",
    title="Two processes with one key, and a neighbour who only says so",
    liars=(3,),
    without=(
        Without(
            what="the look at what is signed with the own key",
            breaks="R2 has stopped",
            edits=(
                Edit(
                    function=own_key.process_own,
                    old="told.sender == state.replica_id and not _is_own_word(state, word)",
                    new="False",
                ),
            ),
        ),
    ),
)
def signed_bytes_stop_a_second_process(stage: Stage) -> None:
    """R2's disk was copied, and a second process signs with R2's key: one correct replica says two things. The first
    process has to notice. But if it believed anybody who claims to have seen a newer vote of R2, every liar could
    silence every healthy replica with one sentence.

    So a claim moves nothing, and signed bytes do: whatever R2 signed above h is in R2's journal before it leaves, so a
    vote under its key that the journal does not know was made elsewhere, and stops it.
    """
    stage.order("a0")
    stage.say("R3 claims that the network, R2 included, is in view 40 and at height 500.")
    claim = Status(
        epoch=0, view=40, active=True, certified_height=500, executed_height=500,
        pre_prepared=(), prepared=(), committed=(), view_changes=(),
    )  # fmt: skip
    stage.post(3, 2, claim)
    stage.deliver("STATUS", to=2)
    state = stage[2].replica.state
    stage.show("R2 goes on in view 0 at height 1", (state.view, state.executed_height, state.halted) == (0, 1, None))
    stage.say("R3 forwards a COMMIT for 2 with R2's signature, made by the other process.")
    foreign = make_envelope(2, Commit(epoch=0, view=0, height=2, digest=bytes([7]) * 32))
    stage.post(3, 2, Forward(envelopes=(foreign,)))
    stage.deliver("FORWARD", to=2)
    stage.show("R2 has stopped, and tells its operator why", stage[2].halted is not None)


@scenario(
    17,
    rules="M28, D38",
    title="A data directory that was restored from a copy",
    without=(
        Without(
            what="the comparison of what others have heard with the own journal",
            breaks="R2 has stopped",
            edits=(
                Edit(function=own_key.process_said, old="for envelope in said.envelopes:", new="for envelope in ():"),
                Edit(function=checkpoints.process_own_signature, old="is_signed and", new="False and"),
            ),
        ),
    ),
)
def a_restored_copy_hears_of_itself(stage: Stage) -> None:
    """R2's machine dies, and its operator restores last night's copy of the data directory. The copy is whole, its
    journal parses, and it has forgotten what R2 promised this morning. If it voted, R2 would say two things, as a liar
    does, and f might be used up already.

    So before its first word a replica asks the others what they have heard of its key. They answer with signed bytes,
    which need no trust: a vote that the journal does not know was made by another life of this replica, and stops it.
    """
    stage.order("a0")
    actor = stage[2]
    copy = (dict(actor.journal), dict(actor.envelopes), list(actor.chain), list(actor.hashes))
    stage.say("Last night's copy of R2 is made here. This morning R2 prepares height 2.")
    stage.hand_in(0, "a1")
    stage.settle("PRE-PREPARE", "PREPARE")
    stage.deliver("COMMIT", to=0)
    stage.crash(2)
    stage.flights.clear()
    stage.say("R2 is restored from the copy, in which height 2 has never been.")
    actor.journal, actor.envelopes, actor.chain, actor.hashes = copy
    actor.asks = True
    stage.restart(2)
    stage.settle("FETCH-SAID", to=(0, 1))
    stage.settle("SAID")
    stage.wait(500, 2)
    said = stage.select("PREPARE", "COMMIT", "HEADER-VOTE", "VIEW-CHANGE", sender=2)
    stage.show("R2 has stopped, before it said a word", actor.halted is not None and not said)
