"""The benchmark of contracts stays runnable: a small run prints plain Python, a block and the worker side by side."""

import pytest
from benchmarks.contract_costs import main


@pytest.mark.drill
def test_a_small_run_prints_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    """Three kinds of work, each dearer in a contract than in plain Python, and no dearer than a contract may be."""
    main(["--repeats", "1"])
    lines = [line.split(maxsplit=5) for line in capsys.readouterr().out.splitlines()[1:]]
    assert [name for *_, name in lines] == [
        "a transfer, of 1,000 in a block",
        "an auction of 1,000 orders",
        "a loop of 100,000 adds",
    ]
    for *figures, _ in lines:
        plain, in_block, ratio, in_worker, _ = map(float, figures)
        assert 0 < plain < in_block
        assert ratio == pytest.approx(in_block / plain, rel=0.2)
        assert in_worker > plain
