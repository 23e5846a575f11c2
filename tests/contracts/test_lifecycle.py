"""Code that comes in by transaction: deploy, upgrade and @migrate, all or nothing, at the price of the formula."""

import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from contracts_corpus.benign import BENIGN
from contracts_corpus.refused import BODIES, FILES
from contracts_corpus.sources import BEFORE, FIELDS, contract_of
from contracts_corpus.stopped import STOPPED
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.code import SIZE_KEY, address_key, hash_key, source_key, tree_key, version_key
from contracts.compiler import Weave, Woven, compile_source, judge_source, weave_contract
from contracts.gas import GAS
from contracts.runtime import Runtime
from contracts.standard import source_of
from contracts.testing import GAS_LIMIT, CallFailedError, Chain, Deployed
from contracts.tree import compute_tree_hash
from contracts.walker import walk_contract
from ledger.encoding import decode, encode
from ledger.execution import CallOutcome, contract_address

AUTHOR, STRANGER = b"a" * 32, b"s" * 32
OPERATORS = [bytes([number]) * 32 for number in range(1, 5)]
COUNTER = b"""
from contracts import Address, Contract, Map, ctx, external, init, require, view


class Counter(Contract):
    step: int
    counts: Map[Address, int]
    maker: Address

    @init
    def setup(self, step: int) -> None:
        require(step > 0, "BAD_STEP")
        self.step = step
        self.maker = ctx.sender

    @external
    def count(self) -> int:
        self.counts[ctx.sender] += self.step
        return self.counts[ctx.sender]

    @view
    def made_by(self) -> Address:
        return self.maker
"""
NEXT = b"""
from contracts import Address, Contract, Map, ctx, external, migrate, require, view


class Counter(Contract):
    step: int
    counts: Map[Address, int]
    maker: Address
    total: int

    @migrate
    def carry_over(self, known: list[Address]) -> None:
        require(len(known) > 0, "NOBODY")
        for who in known:
            self.total += self.counts[who]

    @external
    def count(self) -> int:
        self.counts[ctx.sender] += self.step
        self.total += self.step
        return self.total

    @view
    def made_by(self) -> Address:
        return self.maker
"""
SPINNING = NEXT.replace(
    b"        for who in known:", b"        while True:\n            self.total += 1\n        for who in known:"
)


class Network:
    """A chain with `governance` and `code`, one author, four operators."""

    def __init__(self, weave: Weave = weave_contract) -> None:
        self.chain = Chain()
        self.chain.runtime = Runtime(weave=weave)
        founders = [[f"coop {key[0]}", key] for key in OPERATORS]
        governance = self.chain.deploy(source_of("governance").encode(), founders, name="governance")
        self.code = self.chain.deploy(source_of("code").encode(), governance, [AUTHOR], name="code")

    def bring(
        self, method: str, name: str, source: bytes, *arguments: object, sender: bytes = AUTHOR, gas: int = GAS_LIMIT
    ) -> CallOutcome:
        """A transaction that brings a source."""
        data = encode(list(arguments))
        return self.chain.attempt(self.code, method, name, source, data, sender=sender, gas=gas)

    def decide(self, name: str, source: bytes, *arguments: object, from_height: int = 0) -> None:
        """The operators of a quorum vote for an upgrade."""
        for operator in OPERATORS[:3]:
            vote = (name, hash_of(source), encode(list(arguments)), from_height)
            self.chain.call(self.code, "vote_upgrade", *vote, sender=operator)

    def contract(self, name: str, source: bytes) -> Deployed:
        """What was deployed by transaction, to be called."""
        return Deployed(self.chain, name, compile_source(source))


@pytest.fixture
def network() -> Network:
    """A new one."""
    return Network()


def hash_of(source: bytes) -> bytes:
    return compute_tree_hash(compile_source(source).to_bytes())


def price_of(source: bytes) -> int:
    """What a source costs before it is known whether it is a contract."""
    return GAS.deploy + GAS.deploy_byte * len(source)


def test_a_deploy_is_an_address_an_event_and_code_in_the_state(network: Network) -> None:
    """Then it can be called by its name, and proved by its keys."""
    outcome = network.bring("deploy", "counter", COUNTER, 5)
    assert (outcome.status, decode(outcome.result)) == ("ok", contract_address("counter"))
    assert [(event.contract, event.name, event.values) for event in outcome.events] == [
        ("code", "Deployed", {"contract": "counter", "address": contract_address("counter"), "author": AUTHOR})
    ]
    state = network.chain.state
    tree = compile_source(COUNTER).to_bytes()
    assert state[source_key("counter")] == COUNTER
    assert state[hash_key("counter")] == hash_of(COUNTER)
    assert state[tree_key(hash_of(COUNTER))] == tree
    assert state[address_key(contract_address("counter"))] == b"counter"
    assert decode(state[version_key("counter", network.chain.height)]) == [hash_of(COUNTER)]
    counter = network.contract("counter", COUNTER)
    assert counter.made_by() == AUTHOR
    assert [counter.count(sender=STRANGER).result for _ in range(2)] == [5, 10]
    least = price_of(COUNTER) + GAS.deploy_tree_byte * len(tree)
    assert least < outcome.gas_used < least + 10_000


@pytest.mark.parametrize(
    ("name", "source", "arguments", "verdict"),
    [
        ("counter", COUNTER, (0,), "reverted BAD_STEP"),
        ("counter", COUNTER, (), "error ARGUMENTS"),
        ("counter", COUNTER, ("five",), "error ARGUMENTS"),
        ("counter", NEXT, (1,), "error ARGUMENTS"),
        ("Counter", COUNTER, (1,), "error CONTRACT_NAME"),
        ("", COUNTER, (1,), "error CONTRACT_NAME"),
        ("x" * 33, COUNTER, (1,), "error CONTRACT_NAME"),
        ("code", COUNTER, (1,), "error CONTRACT_NAME"),
        ("members", COUNTER, (1,), "error CONTRACT_NAME"),
        ("counter", b"import os\n", (), "error SOURCE"),
        ("counter", b"\xff", (), "error SOURCE"),
        ("counter", b"", (), "error SOURCE"),
    ],
)
def test_a_deploy_that_fails_leaves_nothing(
    network: Network, name: str, source: bytes, arguments: tuple[object, ...], verdict: str
) -> None:
    """Neither code nor events; and the name can still be had."""
    before = dict(network.chain.state)
    outcome = network.bring("deploy", name, source, *arguments)
    assert f"{outcome.status} {outcome.code}" == verdict
    assert outcome.events == ()
    assert network.chain.state == before
    assert network.bring("deploy", "counter", COUNTER, 1).status == "ok"


def test_only_an_author_deploys(network: Network) -> None:
    """Until the operators say otherwise; then not any longer."""
    assert network.bring("deploy", "mine", COUNTER, 1, sender=STRANGER).code == "NOT_AN_AUTHOR"
    for operator in OPERATORS[:3]:
        network.code.vote_author(STRANGER, True, sender=operator)
    assert network.bring("deploy", "mine", COUNTER, 1, sender=STRANGER).status == "ok"
    for operator in OPERATORS[1:]:
        network.code.vote_author(STRANGER, False, sender=operator)
    assert network.bring("deploy", "other", COUNTER, 1, sender=STRANGER).code == "NOT_AN_AUTHOR"


def test_the_price_is_paid_before_anybody_looks_at_the_source(network: Network) -> None:
    """One unit too little, and the compiler is not even asked; a refused source costs its price all the same."""
    source = b"x" * 10_000
    refused = network.bring("deploy", "counter", source)
    assert refused.code == "SOURCE"
    with patch("contracts.lifecycle.compile_source", side_effect=AssertionError("asked")):
        poor = network.bring("deploy", "counter", source, gas=refused.gas_used - 1)
    assert (poor.status, poor.gas_used) == ("out_of_gas", refused.gas_used - 1)
    assert refused.gas_used > price_of(source)


@pytest.mark.parametrize("share", [10, 50, 90, 99])
def test_out_of_gas_anywhere_leaves_nothing(network: Network, share: int) -> None:
    """At any point of the deploy, and of the upgrade: the old code goes on."""
    with network.chain.snapshot():
        whole = network.bring("deploy", "counter", COUNTER, 1).gas_used
    before = dict(network.chain.state)
    assert network.bring("deploy", "counter", COUNTER, 1, gas=whole * share // 100).status == "out_of_gas"
    assert network.chain.state == before
    assert network.bring("deploy", "counter", COUNTER, 1, gas=whole).status == "ok"
    network.decide("counter", NEXT, [STRANGER])
    with network.chain.snapshot():
        whole = network.bring("upgrade", "counter", NEXT, [STRANGER]).gas_used
    before = dict(network.chain.state)
    assert network.bring("upgrade", "counter", NEXT, [STRANGER], gas=whole * share // 100).status == "out_of_gas"
    assert network.chain.state == before
    assert network.contract("counter", COUNTER).count(sender=STRANGER).result == 1


def test_an_upgrade_keeps_what_is_stored_and_migrates_it_once(network: Network) -> None:
    """Address, data and history stay; the tree of the old code too."""
    network.bring("deploy", "counter", COUNTER, 5)
    deployed_at = network.chain.height
    network.contract("counter", COUNTER).count(sender=STRANGER)
    network.decide("counter", NEXT, [STRANGER])
    outcome = network.bring("upgrade", "counter", NEXT, [STRANGER])
    assert (outcome.status, decode(outcome.result)) == ("ok", hash_of(NEXT))
    assert [(event.name, event.values) for event in outcome.events] == [
        ("Upgraded", {"contract": "counter", "code_hash": hash_of(NEXT)})
    ]
    state = network.chain.state
    assert (state[source_key("counter")], state[hash_key("counter")]) == (NEXT, hash_of(NEXT))
    assert decode(state[version_key("counter", deployed_at)]) == [hash_of(COUNTER)]
    assert decode(state[version_key("counter", network.chain.height)]) == [hash_of(NEXT)]
    assert tree_key(hash_of(COUNTER)) in state
    counter = network.contract("counter", NEXT)
    assert counter.made_by() == AUTHOR
    assert counter.count(sender=STRANGER).result == 10
    assert network.bring("upgrade", "counter", NEXT, [STRANGER]).code == "NOT_DECIDED"


def test_an_upgrade_does_exactly_what_was_decided(network: Network) -> None:
    """That code, those arguments, from that height on, by an author."""
    network.bring("deploy", "counter", COUNTER, 5)
    assert network.bring("upgrade", "counter", NEXT, [STRANGER]).code == "NOT_DECIDED"
    network.decide("counter", NEXT, [STRANGER], from_height=network.chain.height + 10)
    assert network.bring("upgrade", "counter", NEXT, [AUTHOR]).code == "NOT_DECIDED"
    assert network.bring("upgrade", "counter", NEXT, [STRANGER]).code == "TOO_EARLY"
    network.chain.at(time=network.chain.time, blocks=10)
    assert network.bring("upgrade", "counter", NEXT, [STRANGER], sender=STRANGER).code == "NOT_AN_AUTHOR"
    other = NEXT.replace(b"self.total += self.step", b"self.total += 2 * self.step")
    assert network.bring("upgrade", "counter", other, [STRANGER]).code == "NOT_DECIDED"
    assert network.contract("counter", COUNTER).count(sender=STRANGER).result == 5
    assert network.bring("upgrade", "counter", NEXT, [STRANGER]).status == "ok"


@pytest.mark.parametrize(
    ("source", "arguments", "verdict", "detail"),
    [
        (NEXT, ([],), "reverted NOBODY", None),
        (NEXT, (), "error ARGUMENTS", None),
        (NEXT, ([AUTHOR], 1), "error ARGUMENTS", None),
        (SPINNING, ([AUTHOR],), "out_of_gas OUT_OF_GAS", None),
        (COUNTER, (), "error UNCHANGED", None),
        (COUNTER + b"# a comment\n", (), "error UNCHANGED", None),
        (COUNTER.replace(b"step: int\n    counts", b"step: str\n    counts"), (), "error LAYOUT", "step"),
        (NEXT.replace(b"Map[Address, int]", b"Map[Address, bool]"), ([AUTHOR],), "error LAYOUT", "counts"),
        (COUNTER.replace(b"maker", b"author"), (), "error LAYOUT", "maker"),
        (COUNTER.replace(b"-> int:\n", b"-> int:\n        del self\n"), (), "error SOURCE", None),
    ],
)
def test_an_upgrade_that_fails_leaves_the_old_code(
    network: Network, source: bytes, arguments: tuple[object, ...], verdict: str, detail: str | None
) -> None:
    """Whatever the reason; a lost field is named."""
    network.bring("deploy", "counter", COUNTER, 5)
    code_hash = b"" if "SOURCE" in verdict else hash_of(source)
    for operator in OPERATORS[:3]:
        network.code.vote_upgrade("counter", code_hash, encode(list(arguments)), 0, sender=operator)
    before = dict(network.chain.state)
    outcome = network.bring("upgrade", "counter", source, *arguments)
    assert f"{outcome.status} {outcome.code}" == verdict
    assert decode(outcome.result) == detail
    assert network.chain.state == before
    assert network.contract("counter", COUNTER).count(sender=STRANGER).result == 5


def test_a_layout_of_more_parts_than_anybody_can_walk_through(network: Network) -> None:
    """Five structs, each a hundred rows of the one before: compared by hash, in the time that their price allows."""

    def nested(last: str) -> bytes:
        structs = [f"class S0(Struct):\n    a: {last}\n"]
        for level in range(1, 6):
            rows = "".join(f"    a{number}: list[S{level - 1}]\n" for number in range(100))
            structs.append(f"class S{level}(Struct):\n{rows}")
        head = "from contracts import Contract, Struct\n\n\n"
        return (head + "\n\n".join(structs) + "\n\nclass C(Contract):\n    deep: S5\n").encode()

    assert network.bring("deploy", "nested", nested("int")).status == "ok"
    network.decide("nested", nested("str"))
    began = time.process_time()
    outcome = network.bring("upgrade", "nested", nested("str"))
    assert (outcome.code, decode(outcome.result)) == ("LAYOUT", "deep")
    assert time.process_time() - began < 10


def test_what_is_not_there_is_not_upgraded_and_code_stays_as_it_is(network: Network) -> None:
    """`code` runs while it upgrades."""
    network.decide("nothing", COUNTER, 1)
    assert network.bring("upgrade", "nothing", COUNTER, 1).code == "CONTRACT"
    network.decide("code", COUNTER, 1)
    assert network.bring("upgrade", "code", COUNTER, 1).code == "REENTRY"


def test_a_frozen_contract_is_never_changed(network: Network) -> None:
    """Not even by what was decided before."""
    network.bring("deploy", "counter", COUNTER, 5)
    network.decide("counter", NEXT, [STRANGER])
    for operator in OPERATORS[:3]:
        network.code.vote_freeze("counter", sender=operator)
    assert network.code.is_frozen("counter")
    assert network.bring("upgrade", "counter", NEXT, [STRANGER]).code == "NOT_DECIDED"
    with network.chain.reverts("FROZEN"):
        network.decide("counter", NEXT, [STRANGER])


def test_contracts_with_the_same_code_share_its_tree(network: Network) -> None:
    """By hash, once; each has its own source, with its own comments, and its own data."""
    network.bring("deploy", "one", COUNTER, 1)
    trees = sum(key.startswith(b"k/#tree/") for key in network.chain.state)
    network.bring("deploy", "two", COUNTER + b"# mine\n", 2)
    assert sum(key.startswith(b"k/#tree/") for key in network.chain.state) == trees
    one, two = network.contract("one", COUNTER), network.contract("two", COUNTER)
    assert (one.count(sender=STRANGER).result, two.count(sender=STRANGER).result) == (1, 2)


def test_a_network_holds_so_much_code_and_no_more(network: Network) -> None:
    """Counted exactly, in both directions; what is woven never exceeds it."""
    count, size = decode(network.chain.state[SIZE_KEY])  # type: ignore[misc]
    small, large = (len(compile_source(source).to_bytes()) for source in (COUNTER, NEXT))
    with patch("contracts.lifecycle.CODE_BYTES_MAX", size + small - 1):
        assert network.bring("deploy", "one", COUNTER, 1).code == "CODE_FULL"
    with patch("contracts.lifecycle.CODE_BYTES_MAX", size + small):
        assert network.bring("deploy", "one", COUNTER, 1).status == "ok"
        network.decide("one", NEXT, [AUTHOR])
        assert network.bring("upgrade", "one", NEXT, [AUTHOR]).code == "CODE_FULL"
    with patch("contracts.lifecycle.CONTRACTS_MAX", count + 1):
        assert network.bring("deploy", "two", COUNTER, 1).code == "CODE_FULL"
        assert network.bring("upgrade", "one", NEXT, [AUTHOR]).status == "ok"
    assert decode(network.chain.state[SIZE_KEY]) == [count + 1, size + large]


def test_code_that_failed_to_come_in_takes_no_memory(network: Network) -> None:
    """Neither names that nobody has, nor a second weaving of what was to be replaced."""
    network.bring("deploy", "counter", COUNTER, 5)
    for number in range(3):
        network.bring("deploy", f"failed_{number}", COUNTER, 0)
    network.decide("counter", NEXT, [])
    host, woven = network.chain.runtime._host, []
    weave = host._run_tree

    def weave_and_note(tree: bytes, contract: str, *lent: Any) -> Woven:
        woven.append(contract)
        return weave(tree, contract, *lent)

    host._run_tree = weave_and_note
    assert network.bring("upgrade", "counter", NEXT, []).code == "NOBODY"
    network.contract("counter", COUNTER).count(sender=STRANGER)
    assert woven == ["counter"]
    assert set(host._woven) == {"governance", "code", "counter"}


ELSEWHERE = b"""
from contracts import Address, Contract, Interface, deploy_contract, external, schedule, scheduled, upgrade_contract


class ICode(Interface):
    def deploy(self, name: str, source: bytes, arguments: bytes) -> Address: ...


class Elsewhere(Contract):
    @external
    def deploy(self, name: str, source: bytes, arguments: bytes) -> Address:
        return deploy_contract(name, source, arguments)

    @external
    def upgrade(self, name: str, source: bytes, arguments: bytes) -> bytes:
        return upgrade_contract(name, source, arguments)

    @external
    def through(self, code: Address, source: bytes) -> Address:
        return ICode(code).deploy("hidden", source, b"\\x91\\x01")
"""


def test_code_comes_in_by_the_contract_code_and_by_a_transaction_alone(network: Network) -> None:
    """Each replica has checked what a transaction brings (D53); what a contract makes up, nobody has."""
    chain = network.chain
    other = chain.deploy(ELSEWHERE, name="elsewhere")
    for operator in OPERATORS[:3]:
        network.code.vote_author(other.address, True, sender=operator)
    for method in ("deploy", "upgrade"):
        assert chain.attempt(other, method, "counter", COUNTER, encode([1]), sender=AUTHOR).code == "GOVERNANCE"
    assert chain.attempt(other, "through", network.code, COUNTER, sender=AUTHOR).code == "GOVERNANCE"
    made_up = source_of("code").replace("deploy_contract(name, source,", 'deploy_contract(name, source + b" ",')
    fork = Network()
    fork.chain.upgrade(fork.code, made_up.encode())
    assert fork.bring("deploy", "counter", COUNTER, 1).code == "GOVERNANCE"


def test_the_kit_upgrades_without_a_vote() -> None:
    """`chain.upgrade`: for tests of @migrate; refusals are those of the network."""
    chain = Chain()
    old = chain.deploy(COUNTER, 5, name="counter", sender=AUTHOR)
    old.count(sender=STRANGER)
    with chain.snapshot(), pytest.raises(TypeError, match="migrate"):
        chain.upgrade(old, NEXT, nobody=[])
    with chain.reverts("LAYOUT"):
        chain.upgrade(old, COUNTER.replace(b"maker", b"author"))
    with pytest.raises(CallFailedError, match="NOBODY"):
        chain.upgrade(old, NEXT, [])
    new = chain.upgrade(old, NEXT, known=[STRANGER], sender=AUTHOR)
    assert new.count(sender=STRANGER).result == 10
    assert chain.contracts["counter"] == new


# --- the walker and the closures agree, the corpus has its verdicts ---

ACTS = ("deploy", "redeploy", "bad init", "bad source", "upgrade", "bad migrate", "spin", "lose", "count")


@settings(max_examples=25)
@given(steps=st.lists(st.sampled_from(ACTS), min_size=1, max_size=6), gas=st.integers(20_000, 400_000))
def test_walker_and_closures_agree_on_everything_that_brings_code(steps: list[str], gas: int) -> None:
    """Same outcomes and the same state, whatever is brought, whether it works or not."""
    networks = [Network(weave) for weave in (weave_contract, walk_contract)]
    for network in networks:
        network.decide("counter", NEXT, [STRANGER])
    for step in steps:
        closures, walker = (act(network, step, gas) for network in networks)
        assert closures == walker
        assert networks[0].chain.state == networks[1].chain.state


def act(network: Network, step: str, gas: int) -> CallOutcome:
    """One step of the comparison."""
    acts: dict[str, Callable[[], CallOutcome]] = {
        "deploy": lambda: network.bring("deploy", "counter", COUNTER, 3, gas=gas),
        "redeploy": lambda: network.bring("deploy", "again", COUNTER, 3),
        "bad init": lambda: network.bring("deploy", "counter", COUNTER, -3),
        "bad source": lambda: network.bring("deploy", "counter", COUNTER[:-30], 3, gas=gas),
        "upgrade": lambda: network.bring("upgrade", "counter", NEXT, [STRANGER], gas=gas),
        "bad migrate": lambda: network.bring("upgrade", "counter", NEXT, [b""], gas=gas),
        "spin": lambda: network.bring("upgrade", "counter", SPINNING, [STRANGER], gas=gas),
        "lose": lambda: network.bring("upgrade", "counter", COUNTER.replace(b"maker", b"other"), [STRANGER]),
        "count": lambda: network.chain.attempt(network.contract("counter", COUNTER), "count", sender=STRANGER),
    }
    return acts[step]()


ALL_BODIES = {name: body for table in (BODIES, STOPPED, BENIGN) for name, (body, _) in table.items()}
CORPUS = {name: contract_of(body, before=BEFORE, fields=FIELDS) for name, body in ALL_BODIES.items()}
CORPUS |= {name: source for name, (source, _) in FILES.items()}


def test_the_corpus_has_its_verdicts_by_transaction() -> None:
    """Refused ones cost their price and leave nothing, whatever is wrong with them; the others are deployed."""
    network = Network()
    for name, source in CORPUS.items():
        with network.chain.snapshot():
            before = dict(network.chain.state)
            outcome = network.bring("deploy", "corpus", source)
            if name in BODIES or name in FILES:
                if len(source) <= 65_536:
                    assert (outcome.status, outcome.code) == ("error", "SOURCE"), name
                assert outcome.status != "ok"
                assert network.chain.state == before, name
                assert outcome.gas_used >= min(price_of(source), GAS_LIMIT), name
            else:
                assert (outcome.status, outcome.code) == ("ok", ""), name
            if name in BENIGN:
                ran = network.chain.attempt(network.contract("corpus", source), "run", sender=STRANGER)
                assert decode(ran.result) == BENIGN[name][1], name


@pytest.mark.parametrize(
    "literal",
    ["'" + "\N{GRINNING FACE}" * 4_000 + "'", "b'" + "x" * 4_000 + "'", "'" + "x" * 100 + "'", str(2**200)],
    ids=["text", "bytes", "just above the format", "int"],
)
def test_a_name_of_a_constant_repeats_nothing_without_bound(network: Network, literal: str) -> None:
    """Each use stands in the tree as the value: a few bytes of source would be a tree that no worker can hold, and one
    above its format's limit would stop every replica at the block that brings it."""
    uses = "        rows = [" + ", ".join(["A"] * 700) + "]\n"
    head = f"from contracts import Contract, external\n\nA = {literal}\n\n\nclass Long(Contract):\n"
    source = (head + "    @external\n    def run(self) -> None:\n" + uses * 15).encode()
    outcome = network.bring("deploy", "long", source, gas=100_000_000)
    assert (outcome.status, outcome.code) == ("error", "SOURCE")
    assert judge_source(source).code == "CONSTANTS"
