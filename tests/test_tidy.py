"""The house rules, as a program: who may import whom, where each library lives, and how long a thing may be.

A line of code should know its room and what it may touch; this file says so. It reads sources as text and runs nothing.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("ledger", "contracts", "pbft", "meters")  # imports run only leftwards
# Inside pbft, only downwards.
CONSENSUS_FLOORS = {"core": 0, "wire": 1, "node": 2, "client": 3, "simulation": 4, "bench": 5, "http": 6, "cli": 6}
MODULE_LINES_MAX = 450  # past this a module has two subjects
FUNCTION_LINES_MAX = 60  # a function fits a screen
GENERATED = {"pbft/wire/gridquorum_pb2.py"}

# Where each impure or replaceable library may be imported; a folder ends with "/".
QUARANTINE = {
    "lmdb": ["ledger/lmdb_store.py"],
    "nacl": ["ledger/keys.py"],
    "Crypto": ["ledger/key_files.py", "ledger/payload_vault.py"],
    "cryptography": ["pbft/node/tls.py", "ledger/ecdsa.py"],
    "OpenSSL": ["pbft/node/tls.py"],
    "yaml": ["pbft/node/network_config.py"],
    "google": ["pbft/wire/"],
    "prometheus_client": ["pbft/node/metrics.py", "pbft/node/ops_port.py"],
    "structlog": ["pbft/node/log.py"],
    "rich": ["pbft/cli/", "meters/"],
    "click": ["pbft/cli/", "meters/cli.py", "meters/demo_progress.py"],
    "pytest": ["contracts/pytest_plugin.py"],  # what only tests have: no module of a node may need it
    "_pytest": [],
    "hypothesis": ["contracts/state_machine.py"],
    "twisted": [
        "pbft/node/tls.py",
        "pbft/node/links.py",
        "pbft/node/prompt.py",
        "pbft/node/dialler.py",
        "pbft/node/transport.py",
        "pbft/node/process_edge.py",
        "pbft/node/service.py",
        "pbft/node/contract_trial.py",
        "pbft/node/child_process.py",
        "pbft/node/verifier_processes.py",
        "pbft/node/worker_process.py",
        "pbft/node/ops_port.py",
        "pbft/node/client_port.py",
        "pbft/client/",
        "pbft/bench/",
        "pbft/cli/",
        "meters/gateway.py",
        "meters/demo_traffic.py",
    ],
}
# The protocol core and the language reach the standard library and pure ledger modules, nothing else.
PURE_LEDGER = {"admission", "block", "configuration", "encoding", "errors", "execution", "hashing", "merkle"}
PURE_LEDGER |= {"quorum_certificate", "shapes", "short_forms", "transaction"}
IMPURE_STANDARD = {"time", "random", "secrets", "os", "socket", "asyncio", "threading", "subprocess", "datetime"}


def product_files() -> list[Path]:
    """Every Python source of the four rooms that people write."""
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return [path for path in files if name_of(path) not in GENERATED]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, lazy ones inside functions included; relative ones made absolute."""
    package = list(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def is_contract_source(path: Path) -> bool:
    """Standard contracts and examples are text for the contract engine; Python never imports them."""
    folders = {ROOT / "contracts" / "standard", ROOT / "contracts" / "examples"}
    return path.parent in folders and path.name != "__init__.py"


def test_rooms_import_only_leftwards() -> None:
    """ledger <- contracts <- pbft <- meters, and inside pbft the order of CONSENSUS_FLOORS."""
    wrong = []
    for path in product_files():
        room = ROOMS.index(path.relative_to(ROOT).parts[0])
        for line, module in imports_of(path):
            parts = module.split(".")
            if parts[0] in ROOMS and ROOMS.index(parts[0]) > room:
                wrong.append(f"{name_of(path)}:{line} imports {module}")
            here = path.relative_to(ROOT).parts
            if here[0] == "pbft" and parts[0] == "pbft" and len(parts) > 1 and len(here) > 2:
                floor, target = CONSENSUS_FLOORS[here[1]], CONSENSUS_FLOORS.get(parts[1])
                if target is not None and target > floor:
                    wrong.append(f"{name_of(path)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_each_library_lives_where_it_was_quarantined() -> None:
    """A library that touches the world, or that could be replaced, has its few named places."""
    wrong = []
    for path in product_files():
        for line, module in imports_of(path):
            places = QUARANTINE.get(module.split(".")[0])
            if places is not None and not is_contract_source(path):
                name = name_of(path)
                if not any(name == place or (place.endswith("/") and name.startswith(place)) for place in places):
                    wrong.append(f"{name}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_the_core_is_pure() -> None:
    """pbft/core reaches the standard library and pure ledger modules; no clock, no socket, no randomness (D2)."""
    wrong = []
    for path in sorted((ROOT / "pbft" / "core").glob("*.py")):
        for line, module in imports_of(path):
            parts = module.split(".")
            pure = parts[:2] == ["pbft", "core"] or parts == ["pbft"]
            if parts[0] == "ledger":
                pure = len(parts) == 1 or parts[1] in PURE_LEDGER
            elif parts[0] != "pbft":
                pure = parts[0] not in IMPURE_STANDARD and parts[0] not in QUARANTINE
            if not pure:
                wrong.append(f"{name_of(path)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_contracts_know_no_clock_and_no_library() -> None:
    """The language and its runtime are deterministic: standard library and ledger only, and of those nothing impure."""
    wrong = []
    for path in sorted((ROOT / "contracts").glob("*.py")):
        if path.name in {
            "confinement.py",
            "helper_process.py",
            "worker.py",
            "testing.py",
            "pytest_plugin.py",
            "state_machine.py",
        }:
            continue
        for line, module in imports_of(path):
            top = module.split(".")[0]
            if top in IMPURE_STANDARD or top in QUARANTINE:
                wrong.append(f"{name_of(path)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_modules_and_functions_have_a_size_one_can_read() -> None:
    """Modules have one subject and functions fit a screen."""
    wrong = []
    for path in product_files():
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > MODULE_LINES_MAX:
            wrong.append(f"{name_of(path)}: {lines} lines, at most {MODULE_LINES_MAX}")
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    wrong.append(f"{name_of(path)}:{node.lineno} {node.name}: {length} lines")
    assert not wrong, "\n".join(wrong)


def test_every_module_says_what_it_owns() -> None:
    """Each module starts with a docstring, and each public class and function has one too."""
    wrong = []
    for path in product_files():
        tree = tree_of(path)
        if ast.get_docstring(tree) is None:
            wrong.append(f"{name_of(path)}: no module docstring")
        if is_contract_source(path):
            continue
        for node in tree.body:
            public = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if public and not node.name.startswith("_") and ast.get_docstring(node) is None:  # type: ignore[union-attr]
                if isinstance(node, ast.FunctionDef) and _length(node) <= 4:
                    continue  # the signature of a short function says it all
                wrong.append(f"{name_of(path)}:{node.lineno} {node.name}: no docstring")  # type: ignore[union-attr]
    assert not wrong, "\n".join(wrong)


def _length(node: ast.FunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_floating_point_where_money_and_energy_are_kept() -> None:
    """D19: no float exists in ledger/ or contracts/; not a literal, not a true division, not the name."""
    wrong = []
    for path in [*(ROOT / "ledger").rglob("*.py"), *(ROOT / "contracts").rglob("*.py")]:
        for node in ast.walk(tree_of(path)):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
            if division and isinstance(node, ast.BinOp):
                division = not _is_path_division(node)
            if literal or division:
                wrong.append(f"{name_of(path)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


def _is_path_division(node: ast.BinOp) -> bool:
    """`directory / "name"`: pathlib's join, told by a text operand."""
    right = node.right
    text = isinstance(right, ast.JoinedStr) or (isinstance(right, ast.Constant) and isinstance(right.value, str))
    return text or (isinstance(right, ast.Name) and right.id.endswith(("name", "path")))


def test_no_error_is_swallowed() -> None:
    """Never `except Exception`, never a bare except, never an ignored result of suppress(Exception)."""
    wrong = []
    for path in product_files():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler):
                kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
                if any(
                    kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})
                    for kind in kinds
                ):
                    wrong.append(f"{name_of(path)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


def test_there_is_one_driver() -> None:
    """The driver that persists before it sends exists once; the simulator runs that one and has no second (D2, D3)."""
    drivers = []
    for path in [*product_files(), *sorted((ROOT / "tests").rglob("*.py"))]:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Driver"):
                drivers.append(f"{name_of(path)}:{node.name}")
    assert drivers == ["pbft/node/driver.py:Driver"]


def test_a_compiled_class_has_no_interpreted_heir() -> None:
    """Making an object of one is a TypeError, on the compiled build alone: hold the other object instead."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders: dict[str, list[str]] = settings["tool"]["gridquorum"]["compiled"]
    compiled = {f"{folder}/{name}.py" for folder, names in folders.items() for name in names}
    assert compiled <= {name_of(path) for path in product_files()}
    heirs = []
    for path in product_files():
        tree = tree_of(path)
        origins = {
            alias.asname or alias.name: f"{node.module.replace('.', '/')}.py"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and name_of(path) not in compiled:
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                heirs += [f"{name_of(path)}:{node.name}({base})" for base in bases if origins.get(base) in compiled]
    assert not heirs, "\n".join(heirs)


def readme_tables() -> list[Path]:
    return [ROOT / room / "README.md" for room in ROOMS]


@pytest.mark.parametrize("readme", readme_tables(), ids=lambda path: path.parent.name)
def test_room_readmes_list_their_files(readme: Path) -> None:
    """Each room's README has a row `| file.py | ... |` for every module of the room, and none for a file now gone."""
    room = readme.parent
    rows = re.findall(r"^\|\s*`?([\w/.-]+\.py)`?\s*\|", readme.read_text(encoding="utf-8"), flags=re.MULTILINE)
    listed = set(rows)
    there = {
        path.relative_to(room).as_posix()
        for path in room.rglob("*.py")
        if path.name != "__init__.py" and name_of(path) not in GENERATED
    }
    without_folder = {name.rsplit("/", 1)[-1] for name in there}
    missing = {name for name in there if name not in listed and name.rsplit("/", 1)[-1] not in listed}
    gone = {
        row for row in listed if row not in there and row.rsplit("/", 1)[-1] not in without_folder | {"__init__.py"}
    }
    assert not missing, f"{name_of(readme)} does not list {sorted(missing)}"
    assert not gone, f"{name_of(readme)} lists files that are gone: {sorted(gone - {'gridquorum_pb2.py'})}"


def test_tests_neither_sleep_nor_excuse_a_failure() -> None:
    """No sleep, no xfail, no skip but for what the machine or the checkout really lacks."""
    wrong = []
    pattern = re.compile(r"time\.sleep\(|mark\.xfail|mark\.skip\b|pytest\.xfail")
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                wrong.append(f"{name_of(path)}:{number} {line.strip()}")
    assert not wrong, "\n".join(wrong)


def committed_texts() -> Iterator[tuple[str, str]]:
    """Every file that git tracks or would add, that reads as text."""
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listing:
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 2_000_000:
            data = path.read_bytes()
            if b"\0" not in data:
                yield name, data.decode("utf-8", errors="replace")


def test_no_machine_path_registry_or_private_key_is_committed() -> None:
    """A commit names no folder of somebody's machine, no package registry and holds no private key."""
    secrets = re.compile(r"-----BEGIN (?:ENCRYPTED |EC |RSA )?PRIVATE KEY-----\n[A-Za-z0-9+/]")
    places = re.compile(
        r"(?<![\w.])/(?:root|home/\w+|work)/\w|pypi\.(?:org|python)|registry\.npmjs|files\.pythonhosted"
    )
    wrong = []
    for name, text in committed_texts():
        if name == "tests/test_tidy.py":
            continue
        for found in (secrets.search(text), places.search(text)):
            if found:
                wrong.append(f"{name}: {found.group(0)[:60]!r}")
    assert not wrong, "\n".join(wrong)


def test_left_for_later_is_not_committed() -> None:
    """What is not finished is not here: no TODO, no stub that only raises."""
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError|simplified for now")
    wrong = []
    for path in product_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                wrong.append(f"{name_of(path)}:{number} {line.strip()}")
    assert not wrong, "\n".join(wrong)
