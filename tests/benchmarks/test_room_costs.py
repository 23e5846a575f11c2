"""The benchmark that `make costs` runs stays runnable: a small run prints every step and a sum."""

import pytest
from benchmarks.room_costs import main


def test_a_small_run_prints_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Each step of a transfer has a cost, and the last line is their sum."""
    main(["--transfers", "5", "--repeats", "2"])
    table = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()[3:]]
    costs = {name: float(cost_us) for cost_us, _, name in table}
    total = costs.pop("in all")
    assert len(costs) == 6 and min(costs.values()) > 0
    assert total == pytest.approx(sum(costs.values()), abs=0.5)
