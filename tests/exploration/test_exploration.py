"""The real core explored to the last state within small bounds, and planted mistakes that the exploration must find.

README.md has the numbers, `search` the reductions with their reasons. Larger bounds: `python -m exploration.search`.
"""

import inspect
from collections.abc import Iterator
from dataclasses import fields

import pytest
from exploration.automaton import EXCLUDED, SLOT_EXCLUDED
from exploration.search import Report, explore
from process_runs import ProcessRuns

from pbft.core import new_view, view_change
from pbft.core.message_log import Slot
from pbft.core.messages import NewView
from pbft.core.replica_state import ReplicaState

Explorations = ProcessRuns[tuple[int], Report]


@pytest.fixture(scope="module")
def runs() -> Iterator[Explorations]:
    with ProcessRuns(explore, [(1,), (0,)]) as runs:  # the longer one first
        yield runs


def require_depth(report: Report, orders: set[str]) -> None:
    """Exhaustive, and deep enough to mean something: on some branch everybody ends with both requests in view 1."""
    print(report)
    assert report.is_complete
    assert not report.faults, str(report)
    assert report.states > 500_000  # less would mean that the bounds have shrunk
    ends = {tuple((view, active) for view, active, _, _ in summary) for summary in report.summaries}
    assert ((1, True),) * 3 in ends, "the new view is installed by all on some branch"
    for order in orders:
        assert (order,) * 3 in report.ledgers, f"{order} is everybody's ledger on some branch"


def test_every_interleaving_under_a_traitor_that_makes_the_new_view(runs: Explorations) -> None:
    """M40, M43: a correct primary proposes, and a traitor chooses V, and so what view 1 goes on with."""
    require_depth(*runs.results([(1,)]), {"AB", "-B"})


def test_every_interleaving_under_an_equivocating_primary(runs: Explorations) -> None:
    """M10, M40, M43: view 0 is led by a traitor that proposes two batches for one height, to whom it likes."""
    require_depth(*runs.results([(0,)]), {"AB", "BA"})


def weaken(monkeypatch: pytest.MonkeyPatch, module: object, function: str, true: str, false: str) -> None:
    """Plants a mistake: the function's own source with one expression replaced."""
    source = inspect.getsource(getattr(module, function))
    assert source.count(true) == 1, f"{function} no longer says {true}"
    namespace = dict(vars(module))
    exec(source.replace(true, false), namespace)
    monkeypatch.setattr(module, function, namespace[function])


@pytest.mark.parametrize(
    ("true", "false"),
    [("agreeing >= quorums.quorum", "agreeing >= quorums.weak"), ("or own[height].view < view", "or True")],
    ids=["A1-of-W", "A1-of-any-entries"],
)
def test_a_wrong_a1_is_found(monkeypatch: pytest.MonkeyPatch, true: str, false: str) -> None:
    """M40: with A1 weaker than "Q members hold nothing against it" a claim of the traitor displaces what is decided."""
    weaken(monkeypatch, new_view, "_compute_prepared_choice", true, false)
    report = explore(0)
    assert report.is_broken, str(report)


def test_a_new_view_that_nobody_computes_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """M43: where choices are taken on the word of the new primary, it unmakes what is decided."""
    weaken(monkeypatch, new_view, "verify_new_view", "decision.choices != message.choices", "False")
    believing = new_view.verify_new_view

    def believe(configuration: object, message: NewView) -> new_view.NewViewDecision:
        decision = believing(configuration, message)  # type: ignore[arg-type]
        return new_view.NewViewDecision(
            certified_height=decision.certified_height, certificate=decision.certificate, choices=message.choices
        )

    monkeypatch.setattr(view_change, "verify_new_view", believe)
    assert explore(1).is_broken


def test_what_is_not_compared_is_named() -> None:
    """Every exclusion names a field that exists: a renamed one would be compared again, and its reason be stale."""
    assert set(EXCLUDED) < {field.name for field in fields(ReplicaState)}
    assert set(SLOT_EXCLUDED) < {field.name for field in fields(Slot)}
