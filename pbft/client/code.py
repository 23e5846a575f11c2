"""The calls that bring code to a network, ready for `submit`: pure.

    client.submit(account, *deploy("counter", source, 5), gas_limit=5_000_000)
    client.submit(operator, *vote_upgrade("counter", new_source, [alice], from_height=900))
    client.submit(account, *upgrade("counter", new_source, [alice]), gas_limit=5_000_000)

Sources are bytes; arguments are those of `@init` and `@migrate`, as in any call. Whether a source is a contract is
better found out before it is paid for: `contracts.compiler.judge_source`.
"""

from contracts.code import CODE_CONTRACT
from contracts.compiler import compile_source
from contracts.tree import compute_tree_hash
from ledger.encoding import encode


def deploy(name: str, source: bytes, *arguments: object) -> tuple[str, str, str, bytes, bytes]:
    """Deploy a source under a name; the result is the contract's address."""
    return (CODE_CONTRACT, "deploy", name, source, encode(list(arguments)))


def upgrade(name: str, source: bytes, *arguments: object) -> tuple[str, str, str, bytes, bytes]:
    """Do what the operators decided; the result is the hash of the new code."""
    return (CODE_CONTRACT, "upgrade", name, source, encode(list(arguments)))


def vote_upgrade(
    name: str, source: bytes, *arguments: object, from_height: int = 0
) -> tuple[str, str, str, bytes, bytes, int]:
    """An operator's vote for an upgrade; true as the result where it decided. Raises ContractRefused."""
    tree_hash = compute_tree_hash(compile_source(source).to_bytes())
    return (CODE_CONTRACT, "vote_upgrade", name, tree_hash, encode(list(arguments)), from_height)
