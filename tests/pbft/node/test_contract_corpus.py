"""The corpus in the worker that a replica runs: every hostile source gets its verdict, every benign one its result.

A code INTERNAL or a worker that died would be a defect of the engine, and is never a verdict.
"""

from collections import Counter
from collections.abc import Generator
from io import StringIO
from pathlib import Path

import pytest
import pytest_twisted
from contracts_corpus.benign import BENIGN
from contracts_corpus.deepest import DEEPEST
from contracts_corpus.refused import BODIES, FILES
from contracts_corpus.sources import BEFORE, FIELDS, contract_of
from contracts_corpus.stopped import STOPPED
from twisted.internet import reactor

from contracts.helper_process import STACK_BYTES_MIN
from ledger.encoding import decode, encode
from ledger.execution import CallOutcome
from pbft.node.contract_trial import ContractTrial
from pbft.node.log import make_logger

pytestmark = pytest.mark.drill

GAS = 5_000_000  # what the verdicts of STOPPED are for
NO_ARGUMENTS = encode([])
ONE_CODE_MAX = 15  # sources that share a refusal code: more would say little about the checker
REFUSED = {name: (contract_of(body, before=BEFORE, fields=FIELDS), code) for name, (body, code) in BODIES.items()}
REFUSED |= FILES


@pytest.fixture(scope="module")
def trial() -> Generator[ContractTrial, None, None]:
    """One worker for the whole corpus: what a source does to it would be seen by all that follow."""
    with ContractTrial(reactor, make_logger(replica=0, stream=StringIO())) as made:
        yield made
        pytest_twisted.blockon(made.close())


def test_the_corpus_is_wide() -> None:
    """At least 150 hostile sources, 60 of them stopped while running, and 40 benign; no code is worn out."""
    assert len(REFUSED) + len(STOPPED) >= 150
    assert len(STOPPED) >= 60
    assert len(BENIGN) >= 40
    code, count = Counter(code for _, code in REFUSED.values()).most_common(1)[0]
    assert count <= ONE_CODE_MAX, code


@pytest.mark.parametrize("name", REFUSED)
@pytest_twisted.ensureDeferred
async def test_refused_at_deploy(trial: ContractTrial, name: str) -> None:
    """The checker's code, and the same worker lives on."""
    source, code = REFUSED[name]
    pid = trial.pid
    verdict = await trial.check(source)
    assert (verdict.code, trial.pid) == (code, pid)


@pytest.mark.parametrize("name", STOPPED)
@pytest_twisted.ensureDeferred
async def test_stopped_while_running(trial: ContractTrial, name: str) -> None:
    """Its verdict, no more gas than it may use, no event, and the same worker lives on."""
    body, verdict = STOPPED[name]
    pid = trial.pid
    outcome = await run(trial, body)
    shown = outcome.status if outcome.status == "out_of_gas" else f"{outcome.status} {outcome.code}"
    assert (shown, trial.pid) == (verdict, pid)
    assert outcome.gas_used <= GAS
    assert outcome.events == ()


@pytest.mark.parametrize("name", BENIGN)
@pytest_twisted.ensureDeferred
async def test_works(trial: ContractTrial, name: str) -> None:
    """Near to what is forbidden, and allowed."""
    body, result = BENIGN[name]
    outcome = await run(trial, body)
    assert (outcome.status, outcome.code) == ("ok", "")
    assert decode(outcome.result) == result


@pytest.mark.parametrize("method", ["plain", "by_key"])
@pytest_twisted.ensureDeferred
async def test_the_deepest_program_leaves_most_of_the_stack(trial: ContractTrial, method: str) -> None:
    """Compiled, the engine nests on the C stack, and a process that has none left dies: of the least stack that a
    worker has, the deepest program takes half at most."""
    assert (await trial.deploy(DEEPEST, NO_ARGUMENTS)).status == "ok"
    outcome = await trial.call(method, NO_ARGUMENTS, gas=GAS, count=1)
    assert (outcome.status, outcome.code) == ("error", "DEPTH")
    assert 0 < stack_of(trial.pid) < STACK_BYTES_MIN // 2


def stack_of(pid: int | None) -> int:
    """The most that the stack of a process has been so far, in bytes: the kernel never takes its pages back."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmStk:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not say")


async def run(trial: ContractTrial, body: str) -> CallOutcome:
    """Checked, deployed and called once."""
    source = contract_of(body, before=BEFORE, fields=FIELDS)
    verdict = await trial.check(source)
    assert verdict.is_accepted, verdict
    deployed = await trial.deploy(source.decode(), NO_ARGUMENTS)
    assert deployed.status == "ok"
    outcome: CallOutcome = await trial.call("run", NO_ARGUMENTS, gas=GAS, count=1)
    return outcome
