"""The author's side: the names of the kit, the page that explains them, and a language that needs no library."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import contracts
from contracts import kit
from contracts.compiler import compile_source
from contracts.errors import FAULT_CODES
from contracts.language import HOST_FUNCTIONS, KIT_NAMES
from contracts.testing import Chain

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "contracts" / "README.md").read_text(encoding="utf-8")


def test_every_kit_name_can_be_imported_and_no_other() -> None:
    """What the checker knows, an editor knows too."""
    assert set(contracts.__all__) == KIT_NAMES


@pytest.mark.parametrize("name", sorted(HOST_FUNCTIONS))
def test_a_kit_function_called_as_python_says_what_to_do(name: str) -> None:
    """It never pretends to have worked."""
    with pytest.raises(kit.NotInPythonError, match=r"contracts\.testing"):
        getattr(contracts, name)(*range(HOST_FUNCTIONS[name][0]))


def test_the_example_of_the_readme_deploys() -> None:
    """The contract on the page is a contract."""
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    tree = compile_source(example.encode())
    chain = Chain()
    market = chain.deploy(example.encode(), members=bytes(32))
    assert market.offer(1, bytes(32)) == [0, bytes(32)]
    assert {function.name for function in tree.functions} == {"setup", "sell", "close", "count_up", "offer"}


def test_the_readme_names_every_fault_and_kit_function() -> None:
    """Codes that clients see are documented."""
    section = README[README.index("## Statuses and codes") : README.index("## World state")]
    assert set(re.findall(r"\b[A-Z][A-Z_]{2,}\b", section)) >= set(FAULT_CODES)
    assert all(name in README for name in KIT_NAMES)


def test_the_language_runs_on_a_bare_interpreter() -> None:
    """Gate, checker, tree and closures need the standard library and the ledger's pure modules, nothing installed."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import contracts.compiler; "
        "names = {name.split('.')[0] for name in sys.modules}; "
        "print(sorted(names & {'nacl', 'Crypto', 'cryptography', 'lmdb', 'google', 'yaml', 'twisted', 'msgspec'}))"
    )
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
