"""What the engine makes of a fixed set of sources, as one digest each, on whatever interpreter runs this file.

    python -P -s -S tests/contracts/golden.py           prints {"recorded": {name: digest}, "compared": {...}} as JSON
    python -P -s -S tests/contracts/golden.py --write   writes the recorded ones to tests/vectors/contracts/golden.json

It needs nothing but the interpreter: signatures are checked by the definition of ECDSA and by a stand-in for Ed25519.
A digest covers the verdict at deploy, the hash of the tree, and of each call status, code, gas, result, events and
writes. *Recorded* are the sources that pin the language (the corpus, the runs of make_vectors.py, and
transactions that bring code: code_runs.py). *Compared*
among interpreters and hash seeds, and not recorded because they change for reasons of their own, are the standard
contracts, the examples, random programs, hostile arguments and random rows of tokens. Where a parser refuses, only that
it does: where is the parser's business.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "tests" / "vectors" / "contracts" / "golden.json"
PROGRAMS = 150
SNIPPETS = 1_500
ARGUMENT_PARTS, ARGUMENT_BLOCKS = 6, 20  # 6,000 calls
SEED = 90_000_000_000
GAS = 100_000  # enough to be stopped while running; what a source does with more, the corpus test knows


def digest(*parts: object) -> str:
    """Eight bytes of SHA-256 over the canonical encoding: enough to see a change."""
    from ledger.encoding import encode

    return hashlib.sha256(encode(list(parts))).hexdigest()[:16]


def corpus() -> Iterator[tuple[str, str]]:
    """Every source of the corpus: refused as it must be, or deployed and called once."""
    from contracts_corpus.benign import BENIGN
    from contracts_corpus.refused import BODIES, FILES
    from contracts_corpus.sources import BEFORE, FIELDS, contract_of
    from contracts_corpus.stopped import STOPPED

    bodies = {f"refused: {name}": body for name, (body, _) in BODIES.items()}
    bodies |= {f"stopped: {name}": body for name, (body, _) in STOPPED.items()}
    bodies |= {f"works: {name}": body for name, (body, _) in BENIGN.items()}
    sources = {name: contract_of(body, before=BEFORE, fields=FIELDS) for name, body in bodies.items()}
    sources |= {f"file: {name}": source for name, (source, _) in FILES.items()}
    for name, source in sources.items():
        yield name, digest(*judge(source))


def judge(source: bytes) -> list[object]:
    """The verdict at deploy and, of a contract, what one call of `run` gives."""
    from contracts.compiler import judge_source
    from contracts.runtime import Runtime
    from contracts.testing import Chain
    from ledger.curves import holds_by_definition

    verdict = judge_source(source)
    if not verdict.is_accepted:
        at = [] if verdict.code == "SYNTAX" else [verdict.line, verdict.column]
        return [verdict.code, *at]
    chain = Chain()
    chain.runtime = Runtime(refuse_signature, claim_holds=holds_by_definition)
    contract = chain.deploy(source, name="golden")
    before = dict(chain.state)
    outcome = chain.attempt(contract, "run", sender=b"\x01" * 32, gas=GAS)
    writes = sorted([key, value] for key, value in chain.state.items() if before.get(key) != value)
    events = [[event.name, event.fields] for event in outcome.events]
    return [verdict.tree_hash, outcome.status, outcome.code, outcome.gas_used, outcome.result, events, writes]


def refuse_signature(_public_key: bytes, _message: bytes, _signature: bytes) -> None:
    """No Ed25519 signature holds here."""
    from ledger.errors import InvalidSignature

    raise InvalidSignature("signature", "none holds")


def recorded_runs() -> Iterator[tuple[str, str]]:
    """The runs of make_vectors.py, whose every byte is in runs.json."""
    from vectors.contracts.make_vectors import BODIES, run

    yield from ((f"run: {name}", digest(json.dumps(run(name, body)))) for name, body in BODIES.items())


def contract_files() -> Iterator[tuple[str, str]]:
    """Trees of the standard contracts and of the examples."""
    from contracts.compiler import compile_source

    for folder in ("standard", "examples"):
        for path in sorted((ROOT / "contracts" / folder).glob("[!_]*.py")):
            tree = compile_source(path.read_bytes()).to_bytes()
            yield f"{folder}: {path.stem}", hashlib.sha256(tree).hexdigest()


def random_snippets() -> Iterator[tuple[str, str]]:
    """What the checker says of sources that are mostly none; a hundred to a digest."""
    from contracts_fuzz.snippets import snippets

    from contracts.compiler import judge_source

    for seed in range(SNIPPETS // 100):
        verdicts = [judge_source(source.encode()) for source in snippets(seed, 100)]
        yield f"snippets: {seed}", digest(*([verdict.code, verdict.tree_hash] for verdict in verdicts))


def random_programs() -> Iterator[tuple[str, str]]:
    """Programs of the fuzzer's grammar: deployed, two blocks of calls and one of what they scheduled, a view."""
    from contracts_fuzz.campaign import Side, call, plan_block
    from contracts_fuzz.programs import ProgramWriter

    from contracts.compiler import weave_contract

    side = Side(weave_contract)
    for seed in range(SEED, SEED + PROGRAMS):
        source = ProgramWriter(seed).program()
        done = [source.encode(), side.deploy(source).to_bytes()]
        blocks = [(call("run", GAS, 3, "a"), call("run", GAS, -5)), (call("ruled", GAS), call("later", GAS, 1)), ()]
        for height, calls in enumerate(blocks, 1):
            outcome = side.runtime.execute_block(plan_block(height, calls), side.state)
            done.append(side.apply(outcome).to_bytes())
        view = side.view(call("look", GAS, 2))
        done += [view.status, view.code, view.gas_used, view.result]
        side.forget()
        yield f"random: {seed}", digest(*done)


def hostile_arguments() -> Iterator[tuple[str, str]]:
    """What comes of arguments that fit, nearly fit, and do not."""
    from contracts_fuzz.arguments import blocks

    yield from ((name, digest(*done)) for name, done in blocks(SEED, ARGUMENT_PARTS, ARGUMENT_BLOCKS))


def main() -> int:
    sys.path += [str(ROOT), str(ROOT / "tests")]  # behind an installed build, of which `tests/compiled` asks the same
    from vectors.contracts.code_runs import code_runs

    from contracts.compiler import compile_source

    compiled = lru_cache(maxsize=4)(compile_source)  # a deploy compiles a source again that was just judged
    with patch("contracts.lifecycle.compile_source", compiled), patch("contracts.compiler.compile_source", compiled):
        recorded = dict([*corpus(), *recorded_runs(), *code_runs()])
        compared = dict([*contract_files(), *random_snippets(), *random_programs(), *hostile_arguments()])
    if "--write" in sys.argv:
        FILE.write_text(json.dumps(recorded, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    else:
        print(json.dumps({"recorded": recorded, "compared": compared}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
