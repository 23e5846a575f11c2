"""docs/performance.md: page and picture are drawn from the figures beside them; the growth of the state is measured."""

import json
from pathlib import Path

import pytest
from benchmarks import chain_growth, growth, ledger_bytes, performance, performance_growth, performance_page
from benchmarks.performance_sweeps import SWEEPS, write_sweeps


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


@pytest.mark.parametrize(("end", "verdict"), [(60.0, "was flat."), (77.0, "was not flat, it grew by 40 %.")])
def test_a_long_run_tells_how_memory_went(end: float, verdict: str) -> None:
    """Fifth by fifth, average and most; the last is compared with the second, and what a start brings is left out."""
    megabytes = [30.0, 50.0, 50.0, 60.0, 50.0, 60.0, 50.0, 60.0, end, end]
    run = {
        "requests": 1_000,
        "seconds": 10.0,
        "disk_bytes_per_request_and_replica": 1_024,
        "course": [[step, step * 100, held] for step, held in enumerate(megabytes)],
    }
    text = performance_growth.describe_long_run(run)
    assert "1,000 requests in 10 s" in text and "1,024 bytes" in text
    assert "| 0 to 100 | 40 | 50 |" in text and f"| 800 to 900 | {end:.0f} | {end:.0f} |" in text
    assert f"memory {verdict}" in text


def test_a_sweep_has_its_own_table_and_none_where_nothing_was_swept() -> None:
    """A row for each run that was made, with the settings that it had."""
    figures = json.loads(performance.FIGURES.read_text(encoding="utf-8"))
    assert write_sweeps({"transfers": figures["runs"]["transfers"]}) == []
    settings = {**figures["runs"]["null"]["settings"], "payload": 16_384, "window": 8}
    figures["runs"]["null 16 kB"] = {**figures["runs"]["null"], "settings": settings}
    page = performance_page.write_page(figures)
    (row,) = [line for line in page.splitlines() if line.startswith("| null 16 kB |") and "gridquorum" not in line]
    assert [cell.strip() for cell in row.split("|")[1:5]] == ["null 16 kB", "500", "8", "16,384"]
    assert page.index("## Faults") < page.index("## Sweeps") < page.index(row)


def test_every_name_is_measured_once() -> None:
    """No run is in two tables, and every sweep changes one thing that its bench knows."""
    assert len(set(performance.ALL)) == len(performance.ALL)
    assert all({"--batch", "--window", "--payload", "--workload"} & set(arguments) for arguments in SWEEPS.values())


def test_a_replica_comes_back_to_a_chain_that_grows(capsys: pytest.CaptureFixture[str]) -> None:
    """A few blocks: production nodes on copies of the ledger, until who was away has the head; and the page."""
    chain_growth.main(["--blocks", "8", "12", "--missed", "3", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["blocks"] for row in rows] == [8, 12]
    assert all(row["start_seconds"] > 0 and row["missed_seconds"] > 0 and row["empty_seconds"] > 0 for row in rows)
    page = "\n".join(performance_growth.write_growth({"runs": {}, "chain": performance.describe_rows(rows)}))
    assert "missing 3 blocks" in page and "\n| 12 | " in page
    with pytest.raises(SystemExit):
        chain_growth.main(["--blocks", "10", "--missed", "10"])


def test_what_a_transfer_and_a_reading_leave_is_counted_by_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Transactions and receipts of transfers are there, a reading shares its transaction with others; and the page."""
    ledger_bytes.main(["--transfers", "500", "--readings", "1000", "--json"])
    rows = json.loads(capsys.readouterr().out)
    transfer, reading = (row["parts"] for row in rows)
    assert transfer["transactions"] > 150 and transfer["receipts"] > 100  # a signature, two keys; a transfer's events
    assert 0 < reading["transactions"] < transfer["transactions"]
    page = "\n".join(performance_growth.write_growth({"runs": {}, "ledger bytes": performance.describe_rows(rows)}))
    assert "500 transfers | 1,000 readings |" in page and "| growth of the file |" in page


def test_growth_prints_a_row_for_each_size(capsys: pytest.CaptureFixture[str]) -> None:
    """A small state: loaded, updated, opened again with the same root."""
    growth.main(["--keys", "300", "900", "--batch", "50"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["300", "900"]
    assert all(float(figure) > 0 for row in rows for figure in row[1:3])
    growth.main(["--keys", "300", "--batch", "50", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["keys"] == 300 and row["disk_mb"] > 0
