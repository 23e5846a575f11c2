"""docs/performance.md: page and picture are drawn from the figures beside them; the growth of the state is measured."""

import json
from pathlib import Path

import pytest
from benchmarks import growth, performance, performance_page


def test_page_and_picture_are_what_the_figures_give() -> None:
    """Nobody typed a number: both files follow from performance.json."""
    figures = json.loads(performance.FIGURES.read_text(encoding="utf-8"))
    assert performance.PAGE.read_text(encoding="utf-8") == performance_page.write_page(figures)
    assert performance.PICTURE.read_text(encoding="utf-8") == performance_page.draw(figures)
    for name, run in figures["runs"].items():
        assert run["commit"] and run["machine"]["cores"] and run["settings"]["seconds"], name


def test_every_part_of_a_replica_has_its_row() -> None:
    """No module of the product is counted among making records, libraries."""
    root = Path(performance.__file__).resolve().parents[2]
    files = [path for room in ("ledger", "contracts", "pbft") for path in (root / room).rglob("*.py")]
    running = [path for path in files if not {"simulation", "bench", "cli", "client"} & set(path.parts)]
    rest = [path for path in running if performance.part_of(str(path)) == "making records, libraries"]
    assert [path.name for path in rest if path.name != "__init__.py"] == []


def test_a_long_run_tells_how_memory_went() -> None:
    """At a tenth of it, in the middle, and at its end."""
    run = {
        "requests": 1_000,
        "seconds": 10.0,
        "disk_bytes_per_request_and_replica": 1_024,
        "course": [[step, step * 100, 50.0 + step] for step in range(11)],
    }
    text = performance_page.describe_long_run(run)
    assert "1,000 requests in 10 s" in text and "1,024 bytes" in text
    assert "51 MB after 100 requests, 55 MB after 500, and 60 MB after 1,000" in " ".join(text.split())


def test_growth_prints_a_row_for_each_size(capsys: pytest.CaptureFixture[str]) -> None:
    """A small state: loaded, updated, opened again with the same root."""
    growth.main(["--keys", "300", "900", "--batch", "50"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["300", "900"]
    assert all(float(figure) > 0 for row in rows for figure in row[1:3])
    growth.main(["--keys", "300", "--batch", "50", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["keys"] == 300 and row["disk_mb"] > 0
