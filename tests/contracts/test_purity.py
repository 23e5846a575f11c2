"""The engine runs on a bare interpreter: no site packages, nothing on the path but the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from contracts.compiler import weave_contract
from contracts.runtime import Runtime
from contracts.testing import Chain
from contracts.walker import walk_contract
chain = Chain()
chain.runtime = Runtime(weave={weave})
source = b"from contracts import Contract, external\\n\\n\\nclass C(Contract):\\n    total: int\\n\\n"
source += b"    @external\\n    def add(self, n: int) -> int:\\n        self.total += n\\n        return self.total\\n"
contract = chain.deploy(source, name="c")
contract.add(40, sender=bytes(32))
print(contract.add(2, sender=bytes(32)).result)
foreign = {{m.partition(".")[0] for m in sys.modules}} - set(sys.stdlib_module_names)
foreign -= {{"contracts", "ledger", "__main__"}}
print(sorted(name for name in foreign if not name.endswith("__mypyc")))  # compiled modules share one such library
"""


@pytest.mark.parametrize("weave", ["weave_contract", "walk_contract"])
def test_the_engine_needs_nothing_but_the_interpreter(weave: str) -> None:
    """Deploys and calls with `-I -S`: no dependency is found, none is asked for, both ways of running a tree."""
    script = SCRIPT.format(root=str(ROOT), weave=weave)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("42\n[]\n", "")
