"""Runs seeds against whatever packages come first on the path, and prints one line of JSON for each.

Started by `mutant_runs` in a process of its own: a planted defect must not stay in the memory of the tests.
"""

import json
import sys
from pathlib import Path

import pbft
from pbft.simulation.seed import run_seed


def main() -> None:
    """`mutant_child ROOT PROPERTY SEED...`: to the first seed at which PROPERTY is reported; - for all."""
    root, wanted, *seeds = sys.argv[1:]
    assert Path(pbft.__file__).is_relative_to(root), f"{pbft.__file__} is not the copy in {root}"
    for seed in seeds:
        failure = run_seed(int(seed)).failure
        print(json.dumps({"seed": int(seed), "failure": failure}), flush=True)
        if failure.startswith(f"Violation: {wanted}:"):
            return


if __name__ == "__main__":
    main()
