"""Many seeds, one summary, and a report file that a later search resumes.

The summary holds nothing that depends on the machine or the hour: a range of seeds gives the same bytes everywhere. The
report file has one line of JSON per finished seed, written as it finishes; a search skips the seeds that it finds there
with the same number of steps.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pbft.simulation.byzantine import KINDS_JOIN
from pbft.simulation.coverage import RULES, summarise_modules
from pbft.simulation.seed import SeedReport, run_seed


class DamagedReport(ValueError):
    """A report file that this version did not write."""


def to_record(report: SeedReport) -> dict[str, Any]:
    """A seed's line in the report file."""
    return {
        "seed": report.seed,
        "steps": report.options.steps,
        "n": report.options.n,
        "counts": report.counts,
        "requests_executed": report.requests_executed,
        "blocks": report.blocks,
        "view_changes": report.view_changes,
        "faults": dict(sorted(report.faults.items())),
        "byzantine": [kind for _, kinds in report.options.traitors for kind in kinds.split(KINDS_JOIN)],
        "coverage": dict(sorted(report.coverage.items())),
        "rules": report.rules,
        "functions": report.functions,
        "liveness_ms": report.liveness_ms,
        "virtual_ms": report.virtual_ms,
        "trace_sha256": report.trace_sha256,
        "failure": report.failure,
    }


def read_report(path: Path, steps: int) -> dict[int, dict[str, Any]]:
    """The finished seeds of a report file, by seed; none where there is no file. Raises DamagedReport."""
    if not path.exists():
        return {}
    records: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            if record["steps"] == steps:
                records[record["seed"]] = record
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedReport(f"{path}:{number} is no line of a report: {error!r}") from error
    return records


def write_transcript(report: SeedReport, directory: Path) -> Path:
    """A failed seed's story in a file: what it drew, its faults, its last events, where everybody stood, and why."""
    path = directory / f"gridquorum-seed-{report.seed}.txt"
    lines = [f"seed {report.seed}: {report.options.describe()}", *report.transcript, report.failure]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def search(
    seeds: Iterable[int],
    steps: int,
    *,
    report_path: Path | None = None,
    on_seed: Callable[[SeedReport], None] = lambda report: None,
) -> list[dict[str, Any]]:
    """Runs the seeds that the report file does not hold yet. Returns a record of each, in order."""
    known = read_report(report_path, steps) if report_path is not None else {}
    records = []
    for seed in seeds:
        record = known.get(seed)
        if record is None:
            report = run_seed(seed, steps)
            record = to_record(report)
            on_seed(report)
            if report_path is not None:
                with report_path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record, sort_keys=True) + "\n")
        records.append(record)
    return records


def summarise(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The one object that `gridquorum simulate --json` prints."""
    records = list(records)
    faults: Counter[str] = Counter()
    coverage: Counter[str] = Counter()
    for record in records:
        faults.update(record["faults"])
        coverage.update(record["coverage"])
    rules = Counter(rule for record in records for rule in record["rules"])
    byzantine = Counter(kind for record in records for kind in record["byzantine"])
    traces = hashlib.sha256()
    for record in records:
        traces.update(bytes.fromhex(record["trace_sha256"]))
    alone = records[0]["trace_sha256"] if len(records) == 1 else traces.hexdigest()
    return {
        "seeds": len(records),
        "first_seed": records[0]["seed"] if records else None,
        "last_seed": records[-1]["seed"] if records else None,
        "counted": sum(record["counts"] for record in records),
        "failed": [record["seed"] for record in records if record["failure"]],
        "n": dict(sorted(Counter(str(record["n"]) for record in records).items())),
        "requests_executed": sum(record["requests_executed"] for record in records),
        "view_changes": sum(record["view_changes"] for record in records),
        "liveness_ms_max": max((record["liveness_ms"] for record in records), default=0),
        "faults": dict(sorted(faults.items())),
        "byzantine": dict(sorted(byzantine.items())),
        "coverage": dict(sorted(coverage.items())),
        "rules": {rule: rules[rule] for rule in RULES},
        "modules": summarise_modules({name for record in records for name in record["functions"]}),
        "trace_sha256": alone,
    }
