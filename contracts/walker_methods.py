"""Methods of values as the slow walker does them.

Part of the definition of the language (`walker.py`). Which type has which method with how many arguments is the table
`ARGUMENTS`; anything else is TYPE.
"""

from typing import Any, Final

from contracts.errors import Fault
from contracts.gas import GAS, compute_search_cost
from contracts.machine import Machine
from contracts.walker_operations import get_item, items_of, list_of, position_of
from contracts.walker_storage import Place
from contracts.walker_values import as_key, from_key, need, need_type, pay_row, pay_text

WHITE_SPACE: Final = " \t\n\r\x0b\x0c"

ARGUMENTS: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "list": {"append": (1,), "extend": (1,), "insert": (2,), "pop": (0, 1), "index": (1,), "copy": (0,)},
    "dict": {"get": (1, 2), "items": (0,), "keys": (0,), "values": (0,), "pop": (1, 2)},
    "str": {"join": (1,), "split": (0, 1), "strip": (0,), "startswith": (1,), "endswith": (1,), "replace": (2,)}
    | {"upper": (0,), "lower": (0,), "find": (1,)},
    "bytes": {"hex": (0,)},
    "map": {"keys": (0,), "values": (0,), "items": (0,)},
    "indexed": {"keys": (0,), "values": (0,), "items": (0,)},
    "vec": {"append": (1,), "pop": (0,)},
    "ledger": {"move": (3,), "mint": (2,), "burn": (2,), "total": (0,)},
}
"""Type of value, or kind of storage -> method -> numbers of arguments."""


def call_method(machine: Machine, receiver: Any, name: str, arguments: list[Any]) -> Any:
    """`receiver.name(arguments)`."""
    kind = receiver.hint.kind if type(receiver) is Place else type(receiver).__name__
    need(len(arguments) in ARGUMENTS.get(kind, {}).get(name, ()), "TYPE")
    match kind:
        case "list":
            return call_list(machine, receiver, name, arguments)
        case "dict":
            return call_dict(machine, receiver, name, arguments)
        case "str":
            return call_text(machine, receiver, name, arguments)
        case "bytes":
            pay_text(machine, 2 * len(receiver))
            return "".join("0123456789abcdef"[byte // 16] + "0123456789abcdef"[byte % 16] for byte in receiver)
        case "map" | "indexed":
            return call_map(machine, receiver, name)
        case "vec":
            return receiver.append(*arguments) if name == "append" else receiver.pop()
    return receiver.size_place().load() if name == "total" else receiver.post(name, arguments)


def call_list(machine: Machine, row: list[Any], name: str, arguments: list[Any]) -> Any:
    """Methods of a list."""
    match name:
        case "append":
            machine.charge(GAS.append)
            machine.grow(1)
            row.append(arguments[0])
        case "extend":
            added = list_of(items_of(machine, arguments[0], 1))
            machine.grow(len(added))
            row.extend(added)
        case "insert":
            need_type(arguments[0], int)
            machine.charge(GAS.insert + len(row) // GAS.insert_items)
            machine.grow(1)
            at = arguments[0] if arguments[0] >= 0 else max(0, arguments[0] + len(row))
            row.insert(min(at, len(row)), arguments[1])
        case "pop":
            index = arguments[0] if arguments else -1
            need_type(index, int)
            need(-len(row) <= index < len(row), "INDEX")
            machine.charge(GAS.insert + (0 if index == -1 else len(row) // GAS.insert_items))
            return row.pop(index)
        case "index":
            position = position_of(machine, row, arguments[0])
            need(position is not None, "VALUE")
            return position
        case "copy":
            pay_row(machine, len(row))
            return list_of(row)
    return None


def call_dict(machine: Machine, pairs: dict[Any, Any], name: str, arguments: list[Any]) -> Any:
    """Methods of a dict; keys, values and items are lists, in the order in which the keys came."""
    if name in {"get", "pop"}:
        key = as_key(machine, arguments[0])
        if key in pairs:
            return pairs[key] if name == "get" else pairs.pop(key)
        need(name == "get" or len(arguments) == 2, "KEY")
        return arguments[1] if len(arguments) == 2 else None
    pay_row(machine, 3 * len(pairs) if name == "items" else len(pairs))
    if name == "keys":
        return [from_key(key) for key in pairs]
    if name == "values":
        return [pairs[key] for key in pairs]
    return [(from_key(key), pairs[key]) for key in pairs]


def call_map(machine: Machine, storage: Place, name: str) -> Any:
    """Methods of an indexed map, all on a snapshot of its keys."""
    keys = storage.keys()
    if name == "keys":
        return keys
    if name == "values":
        return [get_item(machine, storage, key) for key in keys]
    machine.grow(3 * len(keys))
    return [(key, get_item(machine, storage, key)) for key in keys]


def call_text(machine: Machine, text: str, name: str, arguments: list[Any]) -> Any:
    """Methods of a text. Case and white space are ASCII; other arguments than texts are TYPE."""
    match name:
        case "join":
            return join(machine, text, arguments[0])
        case "split":
            return split(machine, text, arguments)
        case "strip":
            pay_text(machine, len(text))
            start, stop = 0, len(text)
            while start < stop and text[start] in WHITE_SPACE:
                start += 1
            while start < stop and text[stop - 1] in WHITE_SPACE:
                stop -= 1
            return text[start:stop]
        case "upper" | "lower":
            machine.charge(len(text))
            pay_text(machine, len(text))
            return "".join(change_case(letter, upper=name == "upper") for letter in text)
    for argument in arguments:
        need_type(argument, str)
    match name:
        case "startswith":
            machine.charge(len(arguments[0]) // GAS.text_compare_chars)
            return text[: len(arguments[0])] == arguments[0]
        case "endswith":
            machine.charge(len(arguments[0]) // GAS.text_compare_chars)
            return len(arguments[0]) <= len(text) and text[len(text) - len(arguments[0]) :] == arguments[0]
        case "find":
            machine.charge(compute_search_cost(len(text), len(arguments[0])))
            return text.find(arguments[0])
        case "replace":
            old, new = arguments
            machine.charge(compute_search_cost(len(text), len(old)))
            count = text.count(old)
            pay_text(machine, len(text) + count * (len(new) - len(old)))
            machine.charge(count)
            return text.replace(old, new)
    raise Fault("INTERNAL")


def change_case(letter: str, *, upper: bool) -> str:
    """An ASCII letter in the other case; anything else as it is."""
    if upper:
        return chr(ord(letter) - 32) if "a" <= letter <= "z" else letter
    return chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter


def join(machine: Machine, text: str, row: Any) -> str:
    """The texts of a row with this text between them."""
    items = list_of(items_of(machine, row, 1))
    for item in items:
        need_type(item, str)
    pay_text(machine, sum(len(item) for item in items) + len(text) * max(len(items) - 1, 0))
    made = ""
    for at in range(len(items)):
        made += (text if at > 0 else "") + items[at]
    return made


def split(machine: Machine, text: str, arguments: list[Any]) -> list[str]:
    """The pieces between separators, or between runs of white space (then without empty ones); counted and paid."""
    if arguments:
        need_type(arguments[0], str)
        need(arguments[0] != "", "VALUE")
        machine.charge(compute_search_cost(len(text), len(arguments[0])))
        count = text.count(arguments[0]) + 1
    else:
        machine.charge(GAS.text_search + len(text) // GAS.text_search_chars)
        count = 1 + sum(is_space_run_start(text, at) for at in range(len(text)))
    pay_text(machine, len(text))
    machine.charge(GAS.display + 2 * count)
    machine.grow(2 * count)
    if arguments:
        return text.split(arguments[0])
    pieces = [""]
    for letter in text:
        if letter in WHITE_SPACE:
            pieces.append("")
        else:
            pieces[-1] += letter
    return [piece for piece in pieces if piece]


def is_space_run_start(text: str, at: int) -> bool:
    """Whether a run of white space begins here."""
    return text[at] in WHITE_SPACE and (at == 0 or text[at - 1] not in WHITE_SPACE)
