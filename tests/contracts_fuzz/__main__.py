"""Runs random programs by the walker and by the closures, in ranges that are recorded and can be resumed.

    PYTHONPATH=tests python -m contracts_fuzz --programs 1000000 --seed 1 --processes 2 --report report.json

The same command goes on where the report ends. It stops at the first difference, exception or overpriced program with
its seed and source. Without --report nothing is kept. `--one SEED` runs and prints one program.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from contracts_fuzz.campaign import Campaign
from contracts_fuzz.programs import ProgramWriter
from contracts_fuzz.ranges import Report, read_report, run_ranges

ROOT = Path(__file__).resolve().parents[2]


def commit_of_checkout() -> str:
    """The commit whose programs and engine these are. Raises ValueError if either was changed since."""
    git = ["git", "-C", str(ROOT)]
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "contracts", "ledger", "tests/contracts_fuzz"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if changed:
        raise ValueError(f"a campaign is of a commit, and these differ from it:\n{changed}")
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Returns the exit status: 1 for a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--range", type=int, default=1_000, help="programs between two writings of the report")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--one", type=int, metavar="SEED", help="run and print this program only")
    options = parser.parse_args()
    if options.one is not None:
        print(ProgramWriter(options.one).program())
        Campaign().run(options.one)
        return 0
    report = Report("", options.seed, options.range)
    if options.report is not None:
        report = read_report(options.report, commit_of_checkout(), options.seed, options.range)
    try:
        for report in run_ranges(report, options.programs, options.processes):  # noqa: B020 (the same one, further on)
            if options.report is not None:
                report.save(options.report)
            print(f"{report.tally.programs} programs, {report.cpu_s:.0f} s of CPU", file=sys.stderr, flush=True)
    except AssertionError as difference:
        print(difference)
        return 1
    tally = report.tally
    print(f"{tally.programs} programs without a difference, seed {report.seed}, refused {dict(tally.refused)}")
    print(f"median {tally.median_size()} nodes; past deploy {100 * tally.past_deploy / max(tally.programs, 1):.1f} %")
    print(f"{tally.timed} blocks timed, slowest {tally.slowest_ns_per_gas} ns for a unit (seed {tally.slowest_seed})")
    print(dict(tally.outcomes.most_common()))
    print(dict(tally.kinds.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
