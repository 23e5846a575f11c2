"""The page that integrators read names every method of every standard contract, and none that is not there."""

import ast
import re
from pathlib import Path

import pytest

from contracts.standard import MANIFEST, source_of

README = Path(__file__).resolve().parents[3] / "contracts" / "standard" / "README.md"


def methods_of(source: str) -> set[str]:
    """External methods and views of a contract's source; scheduled ones and helpers are nobody's to call."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            markers = {mark.id for mark in node.decorator_list if isinstance(mark, ast.Name)}
            if markers & {"external", "view"}:
                names.add(node.name)
    return names


@pytest.mark.parametrize("name", [name for name, _ in MANIFEST])
def test_the_page_names_exactly_the_methods_there_are(name: str) -> None:
    """Section by section: what stands in backquotes with brackets is a method of that contract."""
    text = README.read_text(encoding="utf-8").split("## Methods", 1)[1].split("\n## ", 1)[0]
    section = re.search(rf"^`{name}`.*?(?=^`\w+`|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert section is not None, f"no section for {name}"
    named = set(re.findall(r"`(\w+)\(", section.group(0)))
    assert named == methods_of(source_of(name))
