"""Pictures in the documentation are made by a script from the shipped data, and match it."""

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_picture_of_a_settled_day_is_what_the_reference_settles() -> None:
    """docs/settled-day.svg is what docs/make_pictures.py draws now."""
    script = runpy.run_path(str(DOCS / "make_pictures.py"))
    assert script["PICTURE"].read_text(encoding="utf-8") == script["draw"](script["compute_hours"]())
