"""Coverage: what was seen becomes rules, functions are noted where a seed is watched, and the report sums both."""

import re

from pbft.simulation.coverage import (
    RULES,
    WATCHED_EVERY,
    all_functions,
    exercised,
    is_watched,
    name_functions,
    summarise_modules,
    watch,
)
from pbft.simulation.search import summarise, to_record
from pbft.simulation.seed import run_seed

WATCHED_SEED = 10
SHORT_STEPS = 40


def test_rules_have_names_and_signs() -> None:
    """Every row is a rule of PROTOCOL or PBFT, and names at least one thing to be seen."""
    for rule, signs in RULES.items():
        assert re.fullmatch(r"[DM]\d+", rule)
        assert signs and all(signs)


def test_a_rule_is_exercised_where_one_of_its_signs_was_seen() -> None:
    """And not where a sign was counted zero times."""
    assert exercised({}) == []
    assert exercised({"answer:Replies": 0, "block:null": 2}) == ["M41", "D32"]
    assert "M3" in exercised({"evidence:equivocation_commit": 1})


def test_entered_functions_are_named_and_counted() -> None:
    """Only those that ran, methods with their class; nothing is noted outside the watch."""
    entered: set = set()
    with watch(entered):
        exercised({})
        summarise([])
    assert name_functions(entered) == [], "the simulator is not the product"
    functions = set(all_functions())
    assert {"pbft/core/ordering.py:process_prepare", "ledger/chain.py:Chain.commit"} <= functions
    modules = summarise_modules({"pbft/core/quorum.py:compute_tally"})
    assert modules["pbft/core/quorum.py"] == "1 of 2"
    assert modules["pbft/core/ordering.py"].startswith("0 of ")


def test_a_watched_seed_reports_the_functions_that_ran() -> None:
    """The same run with and without watching; and every name is a function of the product."""
    assert is_watched(WATCHED_SEED) and not is_watched(WATCHED_SEED + 1) and is_watched(WATCHED_SEED + WATCHED_EVERY)
    report = run_seed(WATCHED_SEED, SHORT_STEPS)
    assert set(report.functions) <= set(all_functions())
    assert "pbft/core/ordering.py:process_prepare" in report.functions
    assert report.rules == [rule for rule in RULES if rule in report.rules] != []
    summary = summarise([to_record(report)])
    assert summary["rules"]["M12"] == 1
    assert summary["modules"]["pbft/core/ordering.py"] != "0 of 24"
    assert not run_seed(WATCHED_SEED + 1, SHORT_STEPS).functions
