"""Execution 18: a snapshot is installed, and what was promised above it stays."""

from scenarios.edits import Edit
from scenarios.liars import claims, liar_follows
from scenarios.script import Without, scenario
from scenarios.stage import Actor, Stage
from simulation.bench import make_vote

from pbft.core import snapshot_transfer
from pbft.core.actions import Action, BeginSnapshot, InstallSnapshot, OfferSnapshot, SendSnapshotChunk, StageChunk
from pbft.core.messages import (
    CertificateNotice,
    LocalMessage,
    SnapshotChunk,
    SnapshotInstalled,
    SnapshotOffer,
    SnapshotStaged,
)


class SnapshotActor(Actor):
    """An actor whose small ledger has snapshots of one chunk. What a chunk proves is the ledger's affair: see its
    tests.
    """

    def _perform(self, action: Action) -> None:
        super()._perform(action)
        match action:
            case OfferSnapshot():
                height = max(self.stored)
                header = self.chain[height - 1].header
                self.stage.post(
                    self.replica_id, action.replica, SnapshotOffer(header=header, certificate=self.stored[height])
                )
            case SendSnapshotChunk():
                chunk = SnapshotChunk(height=action.height, position=action.position, chunk=b"the state")
                self.stage.post(self.replica_id, action.replica, chunk)
            case BeginSnapshot():
                self._report(
                    SnapshotStaged(height=action.certificate.height, code="", detail="", position=b"the first")
                )
            case StageChunk():
                self._report(SnapshotStaged(height=action.height, code="", detail="", position=None))
            case InstallSnapshot():
                donor = next(a for a in self.stage.actors.values() if len(a.chain) >= action.height)
                self.chain, self.hashes = donor.chain[: action.height], donor.hashes[: action.height + 1]
                self._report(SnapshotInstalled(height=action.height, next_due_ms=None, finished=(), used=()))

    def _report(self, message: LocalMessage) -> None:
        self._actions += self.replica.receive(self.replica_id, message)


class SnapshotStage(Stage):
    """A stage whose replicas take snapshots from 4 heights behind on."""

    actor_type = SnapshotActor


@scenario(
    18,
    rules="D39, D25",
    title="A snapshot, and what was promised above it",
    on=SnapshotStage,
    liars=(2,),
    without=(
        Without(
            what="keeping P and Q: the new ledger begins with an empty journal",
            breaks="height 7 has one content",
            edits=(
                Edit(
                    function=snapshot_transfer.process_snapshot_installed,
                    old="    state.executed_height = message.height\n",
                    new="    state.executed_height = message.height\n"
                    "    state.prepared.clear()\n    state.pre_prepared.clear()\n    state.slots.clear()\n",
                ),
            ),
        ),
    ),
)
def a_snapshot_keeps_what_was_promised_above_it(stage: SnapshotStage) -> None:
    """R3 was away while 1 to 6 were made. It is back in time to prepare 7, and R0 executes 7 on the COMMITs of R0, R3
    and the liar R2. Then R3 installs the snapshot of 6. A fresh ledger suggests a fresh journal; but with P(7) gone R3
    reports "nothing prepared above 6", R2 says so too, R1 never prepared 7, and view 1 gives height 7 to another
    request.

    So installing at m moves e and h to m, and touches nothing above it: view, P and Q stay.
    """
    stage[3].replica.state.snapshot_lag = 4
    with stage.quietly("R3 is cut off; 1 to 6 are ordered, executed and certified by R0, R1 and R2"):
        stage.cut(3)
        for height in range(1, 7):
            stage.hand_in(0, f"a{height}")
            stage.deliver("PRE-PREPARE")
            liar_follows(stage, 2, 0, height)
            stage.settle("PREPARE", "COMMIT")
            stage.forge(2, make_vote(height, stage[0].hashes[height]))
            stage.settle()
        stage.heal()
    stage.say("R3 is back in time for 7. R1 accepts 7 too, and prepares nothing: its link is slow.")
    stage.hand_in(0, "a7")
    stage.deliver("PRE-PREPARE")
    liar_follows(stage, 2, 0, 7, to=(0, 3))
    stage.deliver("PREPARE", to=(0, 3))
    stage.deliver("COMMIT", to=0)
    stage.flights.clear()
    stage.say("R3 learns that 6 is certified, and takes a snapshot.")
    stage.post(1, 3, CertificateNotice(certificate=stage[1].stored[6]))
    stage.deliver("CERTIFICATE")
    stage.wait(50, 3)
    stage.deliver("FETCH-SNAPSHOT", to=1)
    stage.deliver("SNAPSHOT-OFFER")
    stage.wait(400, 3)
    stage.deliver("FETCH-SNAPSHOT-CHUNK", to=1)
    stage.deliver("SNAPSHOT-CHUNK")
    stage.say("R0 is cut off, and view 1 opens; R2 helps whatever comes.")
    stage.flights.clear()
    stage.cut(0)
    stage.hand_in(1, "b0")
    stage.wait(1500, 1)
    stage.forge(2, claims(stage, certified_height=6))
    stage.settle("VIEW-CHANGE", "NEW-VIEW", "PRE-PREPARE")
    liar_follows(stage, 2, 1, 7)
    stage.settle("PREPARE", "COMMIT")
    contents = {stage[replica].chain[6].batch.digest for replica in (0, 1, 3) if len(stage[replica].chain) > 6}
    stage.show("height 7 has one content", len(contents) == 1)
