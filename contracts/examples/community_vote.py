"""A community decides: one home, one vote, until the deadline.

Who may vote is fixed when a question is put. A vote may be changed as long as the question is open; ballots are public.
At the deadline the chain itself closes the question: it is adopted if enough homes voted and more said yes than no.
A member may put a question to all, and a few open questions at a time are enough for anybody.
"""

from contracts import (
    Address,
    Contract,
    Event,
    Indexed,
    Map,
    Struct,
    ctx,
    emit,
    external,
    init,
    invariant,
    require,
    schedule,
    scheduled,
    view,
)

MEMBERS_MAX = 1_000
TEXT_MAX = 1_000
OPEN_MAX = 10
OPEN_SECONDS_MIN = 3_600
OPEN_SECONDS_MAX = 8_640_000  # a hundred days
PERCENT_MAX = 100

OPEN = "open"
ADOPTED = "adopted"
REJECTED = "rejected"


class Question(Struct):
    text: str
    deadline: int
    electorate: int  # homes that may vote
    yes: int
    no: int
    state: str


class Put(Event):
    number: Indexed[int]
    by: Address
    deadline: int


class Decided(Event):
    number: Indexed[int]
    adopted: bool
    yes: int
    no: int


class CommunityVote(Contract):
    members: Indexed[Map[Address, bool]]
    quorum: int  # percent of the homes that must vote
    questions: Indexed[Map[int, Question]]
    last: int  # number of the newest question
    open_count: int
    ballots: Map[int, Indexed[Map[Address, bool]]]  # question -> home -> yes

    @init
    def setup(self, members: list[Address], quorum: int) -> None:
        require(len(members) > 0 and len(members) <= MEMBERS_MAX, "MEMBER_COUNT")
        require(quorum > 0 and quorum <= PERCENT_MAX, "BAD_QUORUM")
        for member in members:
            require(member not in self.members, "TWICE")
            self.members[member] = True
        self.quorum = quorum

    @external
    def put(self, text: str, seconds: int) -> int:
        """Put a question for that long; gives its number."""
        require(ctx.sender in self.members, "NOT_A_MEMBER")
        require(len(text) > 0 and len(text) <= TEXT_MAX, "BAD_TEXT")
        require(seconds >= OPEN_SECONDS_MIN and seconds <= OPEN_SECONDS_MAX, "BAD_TIME")
        require(self.open_count < OPEN_MAX, "TOO_MANY_OPEN")
        self.last += 1
        self.open_count += 1
        deadline = ctx.time + seconds
        self.questions[self.last] = Question(text, deadline, len(self.members.keys()), 0, 0, OPEN)
        schedule(deadline, "close", self.last)
        emit(Put(self.last, ctx.sender, deadline))
        return self.last

    @external
    def vote(self, number: int, yes: bool) -> None:
        """Vote, or vote again: the last one counts."""
        require(ctx.sender in self.members, "NOT_A_MEMBER")
        require(number in self.questions, "NO_QUESTION")
        question = self.questions[number]
        require(question.state == OPEN and ctx.time < question.deadline, "CLOSED")
        ballots = self.ballots[number]
        if ctx.sender in ballots:
            question = counted(question, ballots[ctx.sender], -1)
        self.questions[number] = counted(question, yes, 1)
        ballots[ctx.sender] = yes

    @scheduled
    def close(self, number: int) -> None:
        question = self.questions[number]
        voted = question.yes + question.no
        adopted = voted * 100 >= question.electorate * self.quorum and question.yes > question.no
        state = ADOPTED if adopted else REJECTED
        self.questions[number] = Question(
            question.text, question.deadline, question.electorate, question.yes, question.no, state
        )
        self.open_count -= 1
        emit(Decided(number, adopted, question.yes, question.no))

    @view
    def question(self, number: int) -> Question:
        require(number in self.questions, "NO_QUESTION")
        return self.questions[number]

    @view
    def ballot(self, number: int, home: Address) -> bool | None:
        """How a home voted; None while it has not."""
        if home not in self.ballots[number]:
            return None
        return self.ballots[number][home]

    @invariant
    def every_ballot_is_counted_once(self) -> bool:
        for number, question in self.questions.items():
            votes = self.ballots[number].values()
            if question.yes != len([yes for yes in votes if yes]) or question.yes + question.no != len(votes):
                return False
        return True

    @invariant
    def nobody_votes_twice(self) -> bool:
        return all([question.yes + question.no <= question.electorate for question in self.questions.values()])

    @invariant
    def open_questions_are_counted(self) -> bool:
        open_ones = [question for question in self.questions.values() if question.state == OPEN]
        return len(open_ones) == self.open_count


def counted(question: Question, yes: bool, change: int) -> Question:
    """The question with one vote more or less."""
    return Question(
        question.text,
        question.deadline,
        question.electorate,
        question.yes + (change if yes else 0),
        question.no + (0 if yes else change),
        question.state,
    )
