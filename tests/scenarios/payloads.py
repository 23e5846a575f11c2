"""Execution 33: a private payload that its sender gives to few."""

from dataclasses import replace

from scenarios.edits import Edit
from scenarios.script import Without, scenario
from scenarios.stage import Stage, request
from simulation.bench import WALL_MS

from pbft.core import message_log, persisted
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
