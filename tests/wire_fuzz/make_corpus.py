"""Writes tests/pbft/wire/corpus/: for each target, the shortest input found for every outcome that edits reach.

    python tests/wire_fuzz/make_corpus.py [ROUNDS]

Inputs are edited golden vectors, from a fixed seed. What is in the corpus already stays, unless a shorter input of the
same outcome was found; an input that once failed was put in by hand under `found/` and is never touched. A line is the
outcome, a space, and the input in hexadecimal.
"""

import sys
import zlib
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "pbft" / "wire" / "corpus"
ROUNDS = 3_000
INPUT_BYTES_MAX = 4_096  # of an edited input that is kept: the corpus is read by people and by git


def read_corpus(path: Path) -> list[tuple[str, bytes]]:
    """The (outcome, input) lines of a file; none where it is missing."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return [(outcome, bytes.fromhex(data)) for outcome, data in (line.split(" ") for line in lines)]


def main() -> None:
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from wire_fuzz.mutations import mutate
    from wire_fuzz.small_network import make_network
    from wire_fuzz.targets import make_targets

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for name, target in make_targets(make_network()).items():
        path = CORPUS / f"{name}.txt"
        shortest = {target.outcome(data): data for _, data in read_corpus(path)}
        random = Random(zlib.crc32(name.encode()))
        for seed in target.seeds:
            shortest.setdefault(target.outcome(seed), seed)
        for _ in range(rounds):
            data = mutate(random.choice(target.seeds), target.edits, random)
            outcome = target.outcome(data)
            known = shortest.get(outcome)
            if (known is None and len(data) <= INPUT_BYTES_MAX) or (known is not None and len(data) < len(known)):
                shortest[outcome] = data
        lines = [f"{outcome} {data.hex()}" for outcome, data in sorted(shortest.items())]
        path.write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
