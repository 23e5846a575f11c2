"""From source to what runs: gate, parse, check, lower, tree, closures (CONTRACTS.md section 5).

`compile_source` is the verdict at deploy: a tree or a refusal, decided by our gate and checker alone. Whatever the
host's parser refuses is refused, whatever its reason. `weave_contract` turns stored tree bytes into closures; nothing
else runs.
"""

import ast
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from contracts.boundary import Boundary
from contracts.calls import HostOperation
from contracts.closures import Weaver, routine_name
from contracts.declarations import read_module
from contracts.errors import ContractRefused
from contracts.gate import check_gate
from contracts.hints import Hint
from contracts.language import FUNCTIONS_MAX, TREE_DEPTH_MAX
from contracts.lowering import lower_function
from contracts.machine import Machine
from contracts.short_rows import ShortReader, make_short_reader
from contracts.source_parts import check_name, refusal
from contracts.tree import Function, Tree, compute_tree_hash, parse_tree
from contracts.values import InterfaceValue, StructShape
from contracts.verdict import HINT_CHARACTERS_MAX, SourceVerdict
from ledger.hashing import Tag, tagged_hash

GRAMMAR: Final = (3, 11)
"""Later interpreters read more (type parameters, `type X = int`): to each of them that is no Python, as to 3.11."""


def compile_source(source: bytes) -> Tree:
    """The canonical tree of a contract. Raises ContractRefused with code, line, column and hint."""
    text = check_gate(source)
    module = _parse(text)
    try:
        return _read_tree(module)
    except ContractRefused as refused:
        raise _count_characters(refused, text) from None


def _read_tree(module: ast.Module) -> Tree:
    _check_depth(module)
    declared = read_module(module)
    for name in declared.imported:
        check_name(module, name)
    sources = [*declared.functions.values(), *declared.methods.values()]
    if len(sources) > FUNCTIONS_MAX:
        raise refusal(sources[FUNCTIONS_MAX].node, "FUNCTIONS", f"at most {FUNCTIONS_MAX} functions")
    return Tree(
        name=declared.contract,
        structs=tuple(declared.structs.values()),
        events=tuple(declared.events.values()),
        interfaces=tuple(declared.interfaces.values()),
        fields=tuple(declared.fields.values()),
        functions=tuple(lower_function(declared, item) for item in sources),
    )


def _count_characters(refused: ContractRefused, text: str) -> ContractRefused:
    """The refusal with its column in characters, as the gate's are and as editors count: syntax trees count bytes."""
    line = text.split("\n")[refused.line - 1].encode()
    before = line[: refused.column - 1].decode(errors="ignore")  # 3.11 is off by some inside of a text of many lines
    return ContractRefused(refused.code, refused.line, len(before) + 1, refused.hint)


def judge_source(source: bytes) -> SourceVerdict:
    """What a deploy of this source would say."""
    try:
        return SourceVerdict(tree_hash=compute_tree_hash(compile_source(source).to_bytes()))
    except ContractRefused as refusal:
        return SourceVerdict(b"", refusal.code, refusal.line, refusal.column, refusal.hint[:HINT_CHARACTERS_MAX])


def _parse(text: str) -> ast.Module:
    """The host's syntax tree. Its errors carry no host text further: any failure is one refusal.

    Want of memory is none: the gate keeps sources far below what a parser can hold, so it is the machine's fault (D54).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, feature_version=GRAMMAR)
    except SyntaxError as error:
        raise ContractRefused("SYNTAX", error.lineno or 1, error.offset or 1, "this is not Python") from None
    except (ValueError, RecursionError):
        raise ContractRefused("SYNTAX", 1, 1, "the parser gave up") from None


def _check_depth(module: ast.Module) -> None:
    """Refuse what nests deeper than the limit, before anything walks it recursively; `elif` chains count once."""
    level: list[tuple[ast.AST, int]] = [(module, 0)]
    while level:
        node, depth = level.pop()
        if depth > TREE_DEPTH_MAX:
            raise refusal(node, "TREE_DEPTH", f"expressions and blocks nest at most {TREE_DEPTH_MAX}")
        for name in node._fields:
            part = getattr(node, name, None)
            if type(part) is list:
                inner = depth if name == "orelse" and isinstance(node, ast.If) else depth + 1
                level += [
                    (child, inner if isinstance(child, ast.If) else depth + 1)
                    for child in part
                    if isinstance(child, ast.AST)
                ]
            elif isinstance(part, ast.AST):
                level.append((part, depth + 1))


@dataclass(frozen=True, slots=True)
class Entry:
    """A method that can be reached from outside the contract."""

    name: str
    kind: str
    roles: tuple[str, ...]
    least: int
    """Parameters without a default."""
    most: int
    read_short: ShortReader
    """From encoded arguments to argument values, if they have the commonest form."""
    read_arguments: Callable[[list[Any]], list[Any]]
    """From decoded values to argument values. Raises Fault."""
    write_result: Callable[[Any], Any]
    """From the result to plain values. Raises Fault."""
    call: Callable[[list[Any]], Any]
    """Runs it with its argument values; missing ones take their defaults."""


@dataclass(frozen=True, slots=True)
class Woven:
    """A contract ready to run at one name: a cache of its tree."""

    contract: str
    address: bytes
    entries: dict[str, Entry]
    boundary: Boundary
    events: dict[str, StructShape]
    storage: Tree
    """Its tree without the functions: what an upgrade must keep."""

    def find(self, kind: str) -> str | None:
        """The one method of a kind that a contract has at most once: init, migrate."""
        return next((entry.name for entry in self.entries.values() if entry.kind == kind), None)


CallContract = Callable[[InterfaceValue, str, tuple[Any, ...]], Any]
"""A method of another contract, its name and its arguments; the host's."""

Weave = Callable[[bytes, str, Machine, dict[str, HostOperation], CallContract], Woven]
"""A way to run stored trees: tree bytes, the name deployed under, and what the host lends."""


def weave_contract(
    tree_bytes: bytes,
    contract: str,
    machine: Machine,
    host: dict[str, HostOperation],
    call_contract: CallContract,
) -> Woven:
    """Closures of a stored tree. Raises EncodingError if the bytes are not a tree."""
    tree = parse_tree(tree_bytes)
    weaver = Weaver(tree, contract, machine, host, call_contract)
    weaver.weave(tree.functions)
    return describe_contract(
        tree,
        contract,
        weaver.boundary,
        weaver.events,
        lambda function: weaver.routines[routine_name(function)].call,
    )


def describe_contract(
    tree: Tree,
    contract: str,
    boundary: Boundary,
    events: dict[str, StructShape],
    call_of: Callable[[Function], Callable[[list[Any]], Any]],
    short_reader_of: Callable[[list[Hint]], ShortReader] = make_short_reader,
) -> Woven:
    """What the host needs to know of a tree that something can run: `call_of` gives the way into a function."""
    entries = {
        function.name: _entry(function, boundary, call_of(function), short_reader_of)
        for function in tree.functions
        if function.kind not in {"helper", "internal"}
    }
    storage = replace(tree, functions=())
    return Woven(contract, tagged_hash(Tag.CONTRACT_ADDRESS, contract.encode()), entries, boundary, events, storage)


def _entry(
    function: Function,
    boundary: Boundary,
    call: Callable[[list[Any]], Any],
    short_reader_of: Callable[[list[Hint]], ShortReader],
) -> Entry:
    hints = [parameter.hint for parameter in function.parameters]
    return Entry(
        name=function.name,
        kind=function.kind,
        roles=function.roles,
        least=sum(not parameter.has_default for parameter in function.parameters),
        most=len(hints),
        read_short=short_reader_of(hints),
        read_arguments=boundary.row_reader(hints),
        write_result=boundary.writer(function.result),
        call=call,
    )
