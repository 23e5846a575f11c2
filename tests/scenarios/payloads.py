"""Executions 33 and 37: a private payload that its sender gives to few, and code that kills every worker."""

from dataclasses import replace

from scenarios.edits import Edit
from scenarios.script import Without, scenario
from scenarios.stage import Stage, request
from simulation.bench import WALL_MS

from pbft.core import message_log, ordering, persisted
from pbft.core.messages import PrePrepare
from pbft.core.requests import compute_batch


@scenario(
    33,
    rules="D50, M16",
    title="A payload that only one replica was given",
    liars=(0,),
    without=(
        Without(
            what="the rule that a body without its payload is a missing body",
            breaks="every correct replica that sent PREPARE holds the payload",
            edits=(
                Edit(function=message_log.Slot.put_batch, old="if batch.is_whole:", new="if True:"),
                Edit(function=persisted.encode_body, old="if not batch.is_whole:", new="if False:"),
            ),
        ),
    ),
)
def no_prepare_without_the_payload(stage: Stage) -> None:
    """A reading's private value travels beside the signed bytes, which hold only its commitment. The primary R0 and
    its client give the value to R1 alone. If R2 and R3 prepared by the digest, which is right, the slot would commit,
    and the value would exist at R1 and with liars: if R1's disk fails, nobody can ever execute the block, and the
    chain ends there.

    So a body without a payload that it declares is a missing body: nobody sends PREPARE before he has checked the
    payload and journaled it sealed, and any prepared slot has f + 1 correct holders who answer fetches.
    """
    whole = replace(request("a0"), payload=b"the private value")
    batch = compute_batch(WALL_MS, (whole,))
    stripped = replace(batch, requests=(replace(whole, payload=None),))
    for receiver, given in ((1, batch), (2, stripped), (3, stripped)):
        proposal = PrePrepare(epoch=0, view=0, height=1, digest=batch.digest, batch=given)
        stage.forge(0, proposal, to=receiver)
    stage.deliver("PRE-PREPARE")
    said = {flight.sender for flight in stage.select("PREPARE")}
    holders = {r for r in said if (held := stage[r].replica.state.slots[1].batch) is not None and held.is_whole}
    stage.show("every correct replica that sent PREPARE holds the payload", said == holders)
    stage.say("R2 and R3 ask for the body by its digest, one replica after the other.")
    stage.wait(400, 2, 3)
    stage.settle("FETCH-BATCHES", "BATCHES")
    said = {flight.sender for flight in stage.select("PREPARE")}
    stage.show("then all three send PREPARE, and all three hold it", said == {1, 2, 3})


@scenario(
    37,
    rules="D53",
    title="Code that kills every worker",
    liars=(0,),
    without=(
        Without(
            what="the check before PREPARE",
            breaks="nobody has to execute what his worker does not survive",
            edits=(Edit(function=ordering.may_promise, old="if not _is_code_checked(state, slot):", new="if False:"),),
        ),
    ),
)
def code_is_survived_before_it_is_ordered(stage: Stage) -> None:
    """A defect of the parser kills the worker on one source, and the primary R0 proposes it. If it were ordered, all
    would meet it at one height, retry it, and stop there for ever: no later block can say that it is to be skipped,
    since none can be executed.

    So each replica has its own worker look at the source before it sends PREPARE. A source that is refused is prepared:
    that is a receipt like any other. One that a worker does not survive is not, the primary is suspected, and the next
    view decides on nothing at that height, since no correct replica promised it. Nor does a correct primary propose it:
    what brings code is given to the core only after the same check, whoever hands it in.
    """
    for replica in (1, 2, 3):
        stage[replica].checks = False
    batch = compute_batch(WALL_MS, (replace(request("a0"), has_code=True),))
    stage.forge(0, PrePrepare(epoch=0, view=0, height=1, digest=batch.digest, batch=batch))
    stage.deliver("PRE-PREPARE")
    stage.say("The workers die of it; each is replaced, and nobody reports that he survived.")
    if stage.select("PREPARE"):
        stage.settle("PREPARE", "COMMIT")
    asked = {replica for replica in (1, 2, 3) if any(asked.height == 1 for asked in stage[replica].asked)}
    stage.show("nobody has to execute what his worker does not survive", not asked)
    for replica in (1, 2, 3):
        stage.hand_in(replica, "b0")
    stage.wait(1500, 1, 2, 3)
    stage.settle("VIEW-CHANGE", "NEW-VIEW", "PRE-PREPARE", "PREPARE", "COMMIT")
    digests = {slot.committed for r in (1, 2, 3) for slot in stage[r].replica.state.slots.values()}
    executed = {len(stage[replica].chain) for replica in (1, 2, 3)}
    stage.show("the next view goes on without it: b0 is executed", batch.digest not in digests and executed == {1})
