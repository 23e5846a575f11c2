"""What changes between two versions of a contract, and whether stored data and callers can live with it.

Storage is found by field name and read by the field's type, so a field keeps its data where both stay what they were; a
struct is stored as the row of its fields, so there the order counts and the names do not. Callers pass arguments by
position. What a change means for people (a renamed argument, a new limit inside a method) is not to be seen here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from contracts.abi import describe_hint
from contracts.hints import Hint
from contracts.tree import Function, Parameter, Tree

_CALLED = ("external", "view", "scheduled")
"""Kinds of methods that somebody may be about to call when a contract is replaced."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change."""

    part: str
    """`storage`, `method` or `event`."""
    name: str
    change: str
    is_compatible: bool
    reason: str


def find_lost_field(old: Tree, new: Tree) -> str:
    """The first field of storage whose data an upgrade would lose, "" where it loses none."""
    return next((change.name for change in _compare_storage(old, new) if not change.is_compatible), "")


def compare_trees(old: Tree, new: Tree) -> list[Change]:
    """Changes of storage, methods and events, in that order; none where only bodies of methods differ."""
    return [*_compare_storage(old, new), *_compare_methods(old, new), *_compare_events(old, new)]


def _compare_storage(old: Tree, new: Tree) -> Iterator[Change]:
    before, after = ({field.name: field.hint for field in tree.fields} for tree in (old, new))
    old_layouts, new_layouts = _layouts_of(old), _layouts_of(new)
    for name, hint in before.items():
        if name not in after:
            yield Change("storage", name, "removed", False, "what is stored under it can no longer be reached")
            continue
        was, now = _storage_layout(hint, old_layouts), _storage_layout(after[name], new_layouts)
        change = f"{describe_hint(hint)} -> {describe_hint(after[name])}"
        if was != now:
            yield Change("storage", name, change, False, "what is stored would be read as another type")
        elif hint != after[name]:
            yield Change("storage", name, change, True, "both are stored in the same way")
    for name, hint in after.items():
        if name not in before:
            yield Change("storage", name, f"added: {describe_hint(hint)}", True, "it reads the zero value of its type")


def _compare_methods(old: Tree, new: Tree) -> Iterator[Change]:
    before = {function.name: function for function in old.functions if function.kind in _CALLED}
    after = {function.name: function for function in new.functions if function.kind in _CALLED}
    old_layouts, new_layouts = _layouts_of(old), _layouts_of(new)
    for name, function in before.items():
        if name not in after:
            waiting = "scheduled calls that wait for it would fail" if function.kind == "scheduled" else "callers fail"
            yield Change("method", name, "removed", False, waiting)
            continue
        yield from _compare_method(function, after[name], old_layouts, new_layouts)
    for name, function in after.items():
        if name not in before:
            yield Change("method", name, f"added: {function.kind}", True, "nobody calls it yet")


def _compare_method(
    old: Function, new: Function, old_layouts: Mapping[str, bytes], new_layouts: Mapping[str, bytes]
) -> Iterator[Change]:
    name = old.name
    if old.kind != new.kind:
        fits = (old.kind, new.kind) == ("external", "view")
        reason = "a view can be called as before" if fits else "who calls it in the old way fails"
        yield Change("method", name, f"{old.kind} -> {new.kind}", fits, reason)
    for index, parameter in enumerate(old.parameters):
        if index >= len(new.parameters):
            yield Change("method", name, f"argument {parameter.name} removed", False, "callers pass too many arguments")
            continue
        yield from _compare_parameter(name, parameter, new.parameters[index], old_layouts, new_layouts)
    for parameter in new.parameters[len(old.parameters) :]:
        reason = "it has a default" if parameter.has_default else "callers pass too few arguments"
        yield Change("method", name, f"argument {parameter.name} added", parameter.has_default, reason)
    if _layout(old.result, old_layouts) != _layout(new.result, new_layouts):
        change = f"result {describe_hint(old.result)} -> {describe_hint(new.result)}"
        yield Change("method", name, change, False, "callers read the result as another type")
    added = sorted(set(new.roles) - set(old.roles))
    for role in added:
        yield Change("method", name, f"role {role} added", False, "who lacks the role is refused now")
    for role in sorted(set(old.roles) - set(new.roles)):
        yield Change("method", name, f"role {role} removed", True, "more may call it than before: is that meant?")


def _compare_parameter(
    method: str,
    old: Parameter,
    new: Parameter,
    old_layouts: Mapping[str, bytes],
    new_layouts: Mapping[str, bytes],
) -> Iterator[Change]:
    if _layout(old.hint, old_layouts) != _layout(new.hint, new_layouts):
        change = f"argument {old.name}: {describe_hint(old.hint)} -> {describe_hint(new.hint)}"
        yield Change("method", method, change, False, "callers pass another type")
    if old.name != new.name:
        yield Change("method", method, f"argument {old.name} renamed {new.name}", True, "arguments go by position")
    if old.has_default and not new.has_default:
        yield Change("method", method, f"argument {old.name}: default removed", False, "callers may leave it out")
    elif old.has_default and (type(old.default), old.default) != (type(new.default), new.default):
        change = f"argument {old.name}: default {old.default!r} -> {new.default!r}"
        yield Change("method", method, change, True, "who leaves it out gets the new one: is that meant?")


def _compare_events(old: Tree, new: Tree) -> Iterator[Change]:
    before, after = ({event.name: event for event in tree.events} for tree in (old, new))
    old_layouts, new_layouts = _layouts_of(old), _layouts_of(new)
    for name, event in before.items():
        if name not in after:
            yield Change("event", name, "removed", False, "readers wait for it in vain")
            continue
        was = {field.name: (_layout(field.hint, old_layouts), field.is_indexed) for field in event.fields}
        now = {field.name: (_layout(field.hint, new_layouts), field.is_indexed) for field in after[name].fields}
        for field in was:
            if field not in now:
                yield Change("event", name, f"field {field} removed", False, "readers miss it")
            elif was[field] != now[field]:
                yield Change("event", name, f"field {field} changed", False, "readers read another type, or search it")
        for field in now.keys() - was.keys():
            yield Change("event", name, f"field {field} added", True, "fields are read by name")
    for name in after:
        if name not in before:
            yield Change("event", name, "added", True, "nobody reads it yet")


def _layouts_of(tree: Tree) -> dict[str, bytes]:
    """Struct -> the hash of what its values are made of. Each is made once: a row of rows of structs of rows names more
    parts than anybody can walk through, in a few lines of source."""
    structs = {struct.name: struct for struct in tree.structs}
    layouts: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name not in layouts:
            fields = [field.hint for field in structs[name].fields]
            for inner in {part.name for hint in fields for part in _parts(hint) if part.kind == "struct"}:
                add(inner)
            layouts[name] = sha256(repr([_layout(hint, layouts) for hint in fields]).encode()).digest()

    for name in structs:
        add(name)
    return layouts


def _parts(hint: Hint) -> Iterator[Hint]:
    yield hint
    for argument in hint.arguments:
        yield from _parts(argument)


def _storage_layout(hint: Hint, layouts: Mapping[str, bytes]) -> tuple[object, ...]:
    """As `_layout`, but an Indexed map is stored as any other map."""
    kind = "map" if hint.kind == "indexed" else hint.kind
    if hint.kind in {"map", "indexed"}:
        return (kind, *(_storage_layout(part, layouts) for part in hint.arguments))
    return _layout(hint, layouts)


def _layout(hint: Hint, layouts: Mapping[str, bytes]) -> tuple[object, ...]:
    """What a value of this type is made of, with names of structs and of their fields left out."""
    if hint.kind == "struct":
        return ("struct", layouts[hint.name])
    return (hint.kind, *(_layout(part, layouts) for part in hint.arguments))
