"""The canonical tree of a contract, readable: what replicas agree on when they agree on a contract.

Owns the listing for people (indented lines) and for programs (plain values for JSON), both from the tree alone.
"""

from collections.abc import Iterator
from typing import Any, Final

from contracts.abi import describe_hint, value_to_json
from contracts.tree import TREE_VERSION, Function, Node, Parameter, Tree, compute_tree_hash

INDENT: Final = "  "


def describe_tree(tree: Tree) -> dict[str, Any]:
    """Name, hash, size, storage, records and functions with their bodies, as plain values."""
    data = tree.to_bytes()
    return {
        "contract": tree.name,
        "tree": compute_tree_hash(data).hex(),
        "tree_version": TREE_VERSION,
        "tree_bytes": len(data),
        "nodes": sum(count_nodes(function.body) for function in tree.functions),
        "storage": _parts(tree.fields),
        "structs": [{"name": struct.name, "fields": _parts(struct.fields)} for struct in tree.structs],
        "events": [{"name": event.name, "fields": _parts(event.fields)} for event in tree.events],
        "interfaces": [
            {
                "name": interface.name,
                "methods": [
                    {"name": each.name, "arguments": _parts(each.parameters), "result": describe_hint(each.result)}
                    for each in interface.methods
                ],
            }
            for interface in tree.interfaces
        ],
        "functions": [_describe_function(function) for function in tree.functions],
    }


def list_tree(tree: Tree) -> Iterator[str]:
    """The same as lines."""
    shown = describe_tree(tree)
    yield f"contract {shown['contract']}"
    yield f"{INDENT}tree {shown['tree']}"
    yield f"{INDENT}{shown['nodes']} nodes, {shown['tree_bytes']} bytes, tree version {shown['tree_version']}"
    for field in shown["storage"]:
        yield f"storage {field['name']}: {field['type']}"
    for kind in ("structs", "events"):
        for record in shown[kind]:
            yield f"{kind[:-1]} {record['name']}({_in_line(record['fields'])})"
    for interface in shown["interfaces"]:
        for method in interface["methods"]:
            signature = f"{method['name']}({_in_line(method['arguments'])}) -> {method['result']}"
            yield f"interface {interface['name']}.{signature}"
    for function, described in zip(tree.functions, shown["functions"], strict=True):
        roles = f", role {' or '.join(function.roles)}" if function.roles else ""
        arguments = _in_line(described["arguments"])
        yield f"{function.kind} {function.name}({arguments}) -> {described['result']}{roles}"
        yield from _list_node(function.body, INDENT)


def count_nodes(node: Node) -> int:
    """A node and all below it."""
    return 1 + sum(count_nodes(child) for child in node.children)


def _list_node(node: Node, indent: str) -> Iterator[str]:
    value = "" if node.value is None else f" {_value(node)!r}"
    yield f"{indent}{node.kind}{value}"
    for child in node.children:
        yield from _list_node(child, indent + INDENT)


def _describe_function(function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "kind": function.kind,
        "roles": list(function.roles),
        "arguments": _parts(function.parameters),
        "result": describe_hint(function.result),
        "locals": function.slot_count,
        "body": _describe_node(function.body),
    }


def _describe_node(node: Node) -> dict[str, Any]:
    described: dict[str, Any] = {"kind": node.kind}
    if node.value is not None:
        described["value"] = value_to_json(_value(node))
    if node.children:
        described["children"] = [_describe_node(child) for child in node.children]
    return described


def _value(node: Node) -> Any:
    return list(node.value) if isinstance(node.value, tuple) else node.value


def _parts(parameters: tuple[Parameter, ...]) -> list[dict[str, str]]:
    return [{"name": each.name, "type": describe_hint(each.hint)} for each in parameters]


def _in_line(parts: list[dict[str, str]]) -> str:
    return ", ".join(f"{part['name']}: {part['type']}" for part in parts)
