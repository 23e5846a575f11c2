"""The protocol, pure: Practical Byzantine Fault Tolerance (Castro and Liskov, OSDI 1999) as a state machine.

Theory of operation
===================

n >= 4 replicas keep the same chain of blocks while at most f = (n - 1) // 3 of them lie. In each *view* one of them,
the *primary*, gives requests their heights; three phases make sure that a height can never get two contents:

    PRE-PREPARE   the primary: "height n is this batch"              (its own PREPARE, too)
    PREPARE       a backup: "I accept this digest for (view, n)"     journaled before it is sent
    COMMIT        "Q replicas accept it": the slot is *prepared*     journaled before it is sent
    execution     Q COMMITs: heights are executed in order, each once, and become blocks
    HEADER VOTE   "block n came out with this header"; Q of them are a *certificate*, which moves the low watermark

Any two sets of Q = ceil((n + f + 1) / 2) replicas share a correct one, and any W = f + 1 hold one: that is the whole of
safety. When a primary is silent, a *view change* elects the next one: VIEW-CHANGE says what its sender prepared (P) and
pre-prepared (Q), and the slots that NEW-VIEW re-proposes follow from Q of them by a pure function that everybody
computes again (`new_view`).

This package knows no clock, no socket, no disk, no randomness, no Twisted and no LMDB. It imports the standard library
and pure modules of `ledger`. Equal inputs give equal outputs, to the byte: collections are iterated in sorted order.

The face
========

`Replica` has three verbs, each returning a list of actions (`actions`):

    receive(sender, message)   one message, parsed and verified by the edge; or a local one: a client's request, a block
                               that the ledger executed, the replica's own sealed envelope
    end_turn()                 the driver's turn ends: votes are gathered into one envelope, the primary proposes
    tick(wall_ms)              TICK_MS have passed; wall time stamps and checks batches, nothing else

The driver's duties
===================

    1. Verify before `receive`: form and limits, the sender's signature, nested signatures. The core trusts what it is
       given to be said by whom it names, and nothing else about it.
    2. Per round: seal every `Broadcast`, append every `Persist` to the journal, sync; only then send. A failed write
       stops the replica. Nothing of a turn leaves before its sync, and turns leave in order.
    3. Hand each own envelope back through `receive`: votes are counted from envelopes only, the own ones too.
    4. Execute what `Execute` asks, one height at a time, durably, and report `Executed`.
    5. Call `end_turn` after every turn and `tick` every TICK_MS. Late ticks count once; messages go first.
    6. At start give back the journal's records and the ledger's head. A journal that does not parse, or a ledger older
       than it, must not start.

The loop, as `pbft.node.driver` runs it::

    actions += replica.receive(sender, message)        # any number of times in a turn
    actions += replica.end_turn()
    while actions:
        seal, journal.append, journal.sync()            # everything promised is durable
        send; actions = [replica.receive(own envelopes)]
        execute, store certificates, serve blocks
        actions += replica.end_turn()

Messages
========

PRE-PREPARE (`ordering`): from the primary of the active view, inside the watermarks, one digest per height. Judged by
its bytes and height alone, so that all correct replicas judge alike; a fresh one may have to wait for the clock or for
gas below it, a re-proposed one only for its body.

PREPARE, COMMIT (`ordering`): one vote per member, view and height; another digest is evidence. COMMIT counts whatever
its view: Q for one (view, height, digest) prove the commit to a replica that was elsewhere.

HEADER VOTE (`checkpoints`): given at fixed heights, at the idle head, and on demand. Each vote is compared with the own
header; W equal ones against it halt this replica.

VIEW-CHANGE, NEW-VIEW (`view_change`, `new_view`): signed, journaled before they are sent, forwarded by any holder.

STATUS (`status`): where a replica stands; answered with what it lacks. FORWARD carries envelopes of others for that.

FETCH-BATCHES, BATCHES, FETCH-BLOCKS, BLOCKS, CERTIFICATE-NOTICE (`state_transfer`): what proves itself may come from
anybody: a body by its digest, a block by its path of parent hashes to a certificate or to W equal votes.

FETCH-SNAPSHOT, SNAPSHOT-OFFER, FETCH-SNAPSHOT-CHUNK, SNAPSHOT-CHUNK (`snapshot_transfer`): for who is far behind; an
offer is a certified header, and the ledger judges each chunk against it.

FETCH-SAID, SAID (`own_key`): before its first word a replica asks what others have heard of its key.

RELAY (`requests`): clients' requests passed on, judged by their clients' signatures.

Modules
=======

`messages`, `actions`, `config`, `quorum`, `errors` are vocabulary. `replica_state` is the one mutable value,
`message_log` its slots, `persisted` the journal's records. The rules are functions over that value: `requests`,
`ordering`, `checkpoints`, `view_change` (deciding in `new_view`), `deposal`, `status`, `state_transfer`,
`snapshot_transfer`, `epochs`, `timers`, `restart`; `unasked` judges what nobody asked for before a signature is
checked; `evidence`, `own_key` and `halting` are what becomes of lies, of a second process, and of contradictions.
`replica` is the face. `client_session` is the client's side of section 4.1. The paper map and all deviations:
pbft/README.md.
"""
