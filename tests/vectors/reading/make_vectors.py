"""Make the golden readings: `python tests/vectors/reading/make_vectors.py`.

Fields, canonical bytes and digest of a few records. `meters/reading.py` and the contract `readings` must both come to
these digests: it is how the two ends, which share no code, are kept equal.
"""

import json
from dataclasses import replace
from pathlib import Path

from ledger.encoding import encode
from meters.reading import Reading, RecordChain

CHAIN = bytes(range(32))


def readings() -> dict[str, Reading]:
    """The readings, by what they show."""
    first, chain = RecordChain(chain=CHAIN, meter="h01_load", kind="load", length_s=3600, register_wh=12_345).append(
        1_470_009_600, 851
    )
    second, _ = chain.append(1_470_013_200, 835)
    pv, _ = RecordChain(chain=CHAIN, meter="h01_pv", kind="pv", length_s=900, register_wh=0).append(900, 0)
    return {
        "first_of_its_meter": first,
        "names_the_one_before": second,
        "pv_zero": pv,
        "flags_and_calculated": replace(first, flags=31, quality="calculated", firmware=b"\xff" * 32),
        "negative_energy": replace(first, import_wh=-1),
        "largest": replace(first, import_register=10**18 - 1, sequence=2**63 - 1, start=2**40 - 1),
    }


def main() -> None:
    vectors = [
        {
            "name": name,
            "fields": [value.hex() if isinstance(value, bytes) else value for value in reading.to_list()],
            "canonical": encode(reading.to_list()).hex(),
            "digest": reading.digest.hex(),
        }
        for name, reading in readings().items()
    ]
    (Path(__file__).parent / "readings.json").write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
