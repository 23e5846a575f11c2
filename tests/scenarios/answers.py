"""Executions 11 and 25 to 31: what execution decides, what a client is told, and what it may believe."""

from scenarios.edits import Edit
from scenarios.ledger_stage import START_S, LedgerStage
from scenarios.script import Without, scenario

from ledger import admission
from ledger.chain import Chain
from pbft.client.questions import ReadQuestion
from pbft.core.client_session import ClientSession
from pbft.wire.client_frames import View, ViewAnswer


@scenario(
    11,
    rules="D32",
    title="A null block and a call that is due",
    on=LedgerStage,
    without=(
        Without(
            what="the parent's time: a null block has none",
            breaks="block 2 ran the call",
            edits=(Edit(function=Chain.plan, old="parent.time_ms, NULL_DIGEST,", new="0, NULL_DIGEST,"),),
        ),
    ),
)
def a_null_block_runs_what_is_due(stage: LedgerStage) -> None:
    """A new view turned height 2 into null. A null has no batch, so no primary stamped a time for it, and a call left
    over from block 1 is due. If it were open whether nulls run due calls, one replica would run it and another would
    not, and their state roots would differ.

    So every block, null too, first runs the calls that are due; the null digest is a constant, and its block's time is
    the parent's.
    """
    later = stage.sign("a0", 0, method="later", arguments=(START_S + 5,))
    stage.execute(later, after_s=10)
    stage.execute_null()
    (receipt,) = stage.chain.block(2).receipts or (None,)
    stage.show("block 2 ran the call, at the time of block 1", receipt is not None)
    times = [stage.chain.header(height).time_ms for height in (1, 2)]
    stage.show("and agreed time stands still", times[0] == times[1])


@scenario(
    25,
    rules="D43",
    title="The first answer is the answer",
    on=LedgerStage,
    without=(
        Without(
            what="skipping: a used nonce gets a receipt of its own",
            breaks="block 2 says nothing about a0",
            edits=(
                Edit(
                    function=admission.judge_transaction,
                    old="return SKIP",
                    new='return Verdict(False, False, "NONCE_USED")',
                ),
            ),
        ),
    ),
)
def the_first_answer_is_the_answer(stage: LedgerStage) -> None:
    """a0 executes in block 1. A view change puts it into block 2 once more, which is legal. If block 2 answered "nonce
    used", two replicas that look there are W: the client believes that a0 was rejected, and posts the same reading
    again under a new nonce.

    So a used nonce is skipped without a receipt, and whoever asks is always told the first outcome.
    """
    a0 = stage.sign("a0", 0)
    stage.execute(a0)
    before = stage.chain.receipt(a0.tx_id)
    stage.execute(a0)
    session = stage.session(a0)
    receipts = stage.chain.block(2).receipts
    stage.show(
        "block 2 says nothing about a0, and the receipt found by its id is the first one",
        not receipts and stage.chain.receipt(a0.tx_id) == before,
    )
    stage.answer(session, 1, 2)
    stage.show("the client believes: executed at height 1", stage.belief(session) == "executed at height 1")


@scenario(
    27,
    rules="D45",
    title="A window that does not slide past an outstanding nonce",
    on=LedgerStage,
    without=(
        Without(
            what="the contiguous prefix: the window follows the highest nonce",
            breaks="a0 has an outcome",
            edits=(
                Edit(
                    function=admission.NonceWindow.compute_with,
                    old="return NonceWindow(self.base + used_prefix, bitmap >> used_prefix)",
                    new="return NonceWindow(nonce + 1)",
                ),
            ),
        ),
    ),
)
def the_window_waits_for_every_nonce(stage: LedgerStage) -> None:
    """A client has a0 to a3 under way. The primary orders a3 first. If the window followed the highest nonce, a0 to a2
    would fall out of it: they can never execute, leave no receipt, and nobody can say what became of them.

    So the window advances over the contiguous used prefix alone. An abandoned nonce blocks nobody for ever, because
    the nonce of an expired transaction is free again.
    """
    a0, a3 = stage.sign("a0", 0), stage.sign("a3", 3)
    stage.execute(a3)
    stage.execute(a0)
    stage.show("a0 has an outcome: it executed, after a3", stage.chain.receipt(a0.tx_id) is not None)


@scenario(
    28,
    rules="D46",
    title="An order kept in a drawer",
    on=LedgerStage,
    without=(
        Without(
            what="expiry by agreed time: only heights expire",
            breaks="the order has no effect",
            edits=(
                Edit(
                    function=admission.judge_transaction,
                    old=" or time_ms > transaction.expiry_time * 1000",
                    new="",
                ),
            ),
        ),
    ),
)
def an_order_expires_by_time(stage: LedgerStage) -> None:
    """An order to buy at today's price expires 100 heights ahead. The network is idle, ten blocks a day. A faulty
    replica keeps the order and has it ordered in three weeks, still inside its 100 heights, at a price of then.

    So a transaction expires at a height (bounded ahead) and at an agreed time, whichever comes first.
    """
    order = stage.sign("a0", 0, expiry_height=100, expiry_time=START_S + 3600)
    stage.execute(order, after_s=21 * 86_400)
    stage.show(
        "the order has no effect, and its nonce is free",
        stage.chain.find_used(order.transaction.sender, 0) is None,
    )


@scenario(
    29,
    rules="D47",
    title="Two doors that say no",
    on=LedgerStage,
    without=(
        Without(
            what="the rule that a refusal is never final: W equal ones end the session",
            breaks="the client goes on",
            edits=(
                Edit(
                    function=ClientSession.receive_refusal,
                    old="    self._refusals[replica] = code\n",
                    new="    self._refusals[replica] = code\n"
                    "    if list(self._refusals.values()).count(code) >= self._weak_quorum:\n"
                    "        self.outcome = Rejected(\n"
                    "            tx_id=self.submission.tx_id, code=code, reply=None, receipt=None, vouched_by=()\n"
                    "        )\n",
                ),
            ),
        ),
    ),
)
def a_refusal_is_never_final(stage: LedgerStage) -> None:
    """a0 has executed at R0 and R1. R2 lags and R3 lies: both say "expired", two equal words, W of them. A client that
    believes that sends the reading again under a new nonce, and it is posted twice.

    Two refusals prove nothing: one may be a lie, and the other a look into the past. So a refusal before ordering is
    never final; "not executed" is believed on a proof alone: the nonce unused at a certified header past the expiry.
    """
    a0 = stage.sign("a0", 0)
    session = stage.session(a0)
    session.start()
    stage.execute(a0)
    stage.refuse(session, "expired", 2, 3)
    stage.show("the client goes on", stage.belief(session) == "unknown yet")
    stage.answer(session, 0, 1)
    stage.show("and learns: executed at height 1", stage.belief(session) == "executed at height 1")


@scenario(
    30,
    rules="D48, M53",
    title="Three equal answers, all of them old",
    on=LedgerStage,
    without=(
        Without(
            what="the minimum height: Q equal answers are taken for the newest",
            breaks="the client is not shown the old value",
            edits=(
                Edit(
                    function=ReadQuestion.receive,
                    old="frame.height < self._view.min_height",
                    new="False",
                ),
            ),
        ),
    ),
)
def equal_answers_may_be_old(stage: LedgerStage) -> None:
    """A client's write was acknowledged at height 5 by R0 and the liar R3. Then it reads, and asks for Q = 3 equal
    answers. R1 and R2 have not executed 5 yet and answer from height 4; R3 joins them. Three equal answers, and the
    client does not see its own write. This is possible for every n.

    So equal answers mean: true at that height. A read names the least height that it will accept, and shows the one it
    got; whoever needs the newest value has the read ordered like a write.
    """
    question = ReadQuestion(
        View(correlation=1, contract="notes", method="get", arguments=b"", min_height=5), replicas=range(4), wanted=3
    )
    question.start()
    stage.say("The client reads with min_height = 5, the height of its own write.")
    for replica in (1, 2, 3):
        stage.say(f"R{replica} answers from height 4: the old value.")
        question.receive(
            replica, ViewAnswer(correlation=1, height=4, time_ms=4_000, status="ok", code="", result=b"old")
        )
    stage.show("the client is not shown the old value as an answer", question.answer is None)


@scenario(
    31,
    rules="D49",
    title="A reading that overtakes the one before",
    on=LedgerStage,
    without=(
        Without(
            what="the follower's rule: whatever comes first executes first",
            breaks="reading 5 is in the chain before reading 6",
            edits=(
                Edit(
                    function=admission.judge_transaction,
                    old="return Verdict(False, False, RETRY)",
                    new="return EXECUTE",
                ),
            ),
        ),
    ),
)
def a_reading_waits_for_the_one_it_follows(stage: LedgerStage) -> None:
    """A gateway sends readings 5 and 6 of one meter. The primary orders 6 first; the contract marks a gap, and then
    must refuse 5, whose register is lower than the last. The refusal is final: a true reading is lost, by nobody's
    lie.

    So a transaction may name a nonce that it follows. While that is unused it is refused RETRY, which leaves its own
    nonce free: the gateway sends it again and it executes in its turn.
    """
    five, six = stage.sign("reading 5", 0), stage.sign("reading 6", 1, follows=0)
    stage.execute(six)
    stage.execute(five)
    stage.execute(six)
    heights = [stage.chain.receipt(signed.tx_id).height for signed in (five, six)]
    stage.show("reading 5 is in the chain before reading 6", heights[0] < heights[1])
