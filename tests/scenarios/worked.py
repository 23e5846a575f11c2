"""Two worked examples: one height in the normal case, and one view change with real P and Q sets."""

from scenarios.script import scenario
from scenarios.stage import Stage


@scenario(rules="section 4.2, 4.3", title="The normal case: one request becomes one certified block")
def normal_case(stage: Stage) -> None:
    """Four replicas, so f = 1, Q = 3 and W = 2. R0 is the primary of view 0. The client sends a0 to it.

    PRE-PREPARE gives a0 the height 1. A backup that accepts it journals a Q entry, height:digest@view, and sends
    PREPARE. Whoever holds the proposal and two PREPAREs of backups is prepared: it journals a P entry and sends
    COMMIT. Three COMMITs commit the height; it is executed, and the header of the block is voted on. Three equal votes
    are a certificate: h moves to 1, and what was remembered about height 1 may be forgotten.
    """
    stage.hand_in(0, "a0")
    stage.settle("PRE-PREPARE")
    stage.settle("PREPARE")
    stage.settle("COMMIT")
    stage.stand_still()
    stage.settle("HEADER-VOTE")
    stage.show(
        "everybody executed the same block, and holds a certificate for it",
        len({stage[replica].hashes[1] for replica in range(4)}) == 1
        and all(stage[replica].replica.certified_height == 1 for replica in range(4)),
    )


@scenario(rules="section 4.4, D27, M40", title="A view change, and what becomes of three heights", batch_requests_max=1)
def view_change(stage: Stage) -> None:
    """R0 has proposed heights 2, 3 and 4 when it dies. 2 is executed at R1 alone; 3 is prepared at R2 alone; 4 reached
    R1 only. The others do not know who knows what: P and Q sets tell. Every entry reads height:digest@view.

    For 2, three members of V report P entries of one digest: it is chosen. For 3, one member reports a P entry, no
    member of V contradicts it (A1), and two report that they pre-prepared it (A2): it is chosen, though it was never
    committed. For 4 nobody reports a P entry, so nobody can have executed it: it is not in X, and its request is
    proposed anew.
    """
    stage.order("a0")
    stage.hand_in(0, "a1", "a2", "a3")
    stage.lose("PRE-PREPARE", to=(2, 3), height=4)
    stage.deliver("PRE-PREPARE")
    stage.deliver("PREPARE", height=2)
    stage.deliver("COMMIT", height=2, to=1)
    stage.deliver("PREPARE", height=3, to=2)
    stage.crash(0)
    stage.flights.clear()
    stage.say("What was still on its way is lost with R0. T = 1500 ms later the backups have waited long enough.")
    stage.wait(1500)
    stage.settle("VIEW-CHANGE")
    stage.settle("NEW-VIEW")
    stage.say("X is re-proposed: its slots go through PREPARE and COMMIT again, executed or not.")
    stage.settle("PREPARE", "COMMIT")
    stage.say("R1 heard the proposal of a3, so it knows the request: nobody has to ask again (M24).")
    stage.settle("PRE-PREPARE", "PREPARE", "COMMIT")
    stage.stand_still()
    stage.settle("HEADER-VOTE")
    chains = {tuple(stage[replica].hashes) for replica in (1, 2, 3)}
    stage.show(
        "R1, R2 and R3 hold the same five blocks, genesis included, and all of them certified",
        len(chains) == 1 and all(stage[replica].replica.certified_height == 4 for replica in (1, 2, 3)),
    )
