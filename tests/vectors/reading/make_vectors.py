"""Make the golden readings and batches: `python tests/vectors/reading/make_vectors.py`.

Fields, canonical bytes and digests of a few records, and of batches of them. The room meters and the contracts must
both come to these digests: it is how the two ends, which share no code, are kept equal.
"""

import json
from dataclasses import replace
from pathlib import Path

from ledger.encoding import encode
from meters.batch import Batch, GroupChain
from meters.reading import Reading

CHAIN = bytes(range(32))
NAMES = ("h01_load", "h01_pv", "h02_load")  # by place
FIRST_HOUR = 1_470_009_600


def readings() -> dict[str, Reading]:
    """The readings, by what they show."""
    whole, chain = GroupChain.begin(CHAIN, "h01_load", 3600, {0: ("h01_load", "load", 12_345)}).append(
        FIRST_HOUR, {"h01_load": 851}
    )
    (first,) = whole.readings(NAMES)
    (second,) = chain.append(FIRST_HOUR + 3600, {"h01_load": 835})[0].readings(NAMES)
    quarter, _ = GroupChain.begin(CHAIN, "h01_pv", 900, {0: ("h01_pv", "pv", 0)}).append(900, {"h01_pv": 0})
    (pv,) = quarter.readings(NAMES[1:])
    return {
        "first_of_its_meter": first,
        "names_the_batch_before": second,
        "pv_zero": pv,
        "flags_and_calculated": replace(first, flags=31, quality="calculated", firmware=b"\xff" * 32),
        "negative_energy": replace(first, import_wh=-1),
        "largest": replace(first, import_register=10**18 - 1, sequence=2**63 - 1, start=2**40 - 1),
    }


def batches() -> dict[str, Batch]:
    """The batches, by what they show."""
    meters = {0: ("h01_load", "load", 12_345), 1: ("h01_pv", "pv", 0), 2: ("h02_load", "load", 0)}
    chain = GroupChain.begin(CHAIN, "h01_load", 3600, meters)
    first, chain = chain.append(FIRST_HOUR, {"h01_load": 851, "h01_pv": 0, "h02_load": 7})
    second, chain = chain.append(FIRST_HOUR + 3600, {"h01_load": 835, "h02_load": 8})
    third, _ = chain.append(FIRST_HOUR + 7200, {"h02_load": 9})
    return {
        "first_of_its_group": first,
        "a_place_without_a_reading": second,
        "names_the_batch_before": third,
        "one_place": Batch.gather("h01_load", {2: third.readings(NAMES)[-1]}),
        "flags_and_calculated": replace(first, states=b"\x1f\x00\x3f", firmware=b"\xff" * 32),
        "negative_energy": replace(first, energies=(851, 0, -1)),
        "largest": replace(first, registers=(10**18 - 1,) * 3, sequences=(2**63 - 1,) * 3, start=2**40 - 1),
    }


def make_reading_vectors() -> list[dict[str, object]]:
    """Each with its fields, bytes in hex."""
    return [
        {
            "name": name,
            "fields": [value.hex() if isinstance(value, bytes) else value for value in reading.to_list()],
            "canonical": encode(reading.to_list()).hex(),
            "digest": reading.digest.hex(),
        }
        for name, reading in readings().items()
    ]


def make_batch_vectors() -> list[dict[str, object]]:
    """Each with the digests of its readings too, in order."""
    return [
        {
            "name": name,
            "canonical": encode(batch.to_list()).hex(),
            "digest": batch.digest.hex(),
            "readings": [reading.digest.hex() for reading in batch.readings(NAMES)],
        }
        for name, batch in batches().items()
    ]


def main() -> None:
    for name, vectors in {"readings": make_reading_vectors(), "batches": make_batch_vectors()}.items():
        (Path(__file__).parent / f"{name}.json").write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
