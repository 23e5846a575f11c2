"""How code comes in: a contract is deployed, or one that is there goes on with other code.

All of it happens inside the transaction that brings the source, in the order CHECK, CHARGE, EFFECT, RESULT: whatever
fails, out of gas included, leaves the code as it was. A source that is no contract is `SOURCE`, whatever is wrong with
it: which of its faults a parser meets first may differ between interpreters, that it is refused may not. Genesis brings
its contracts in by `install`, under the limits of the genesis file.
"""

from typing import TYPE_CHECKING, Any, Final

from contracts.code import (
    CODE_BYTES_MAX,
    CODE_CONTRACT,
    CONTRACTS_MAX,
    RESERVED_NAMES,
    SIZE_KEY,
    address_key,
    find_source,
    hash_key,
    put_version,
    read_size,
    source_key,
    tree_key,
)
from contracts.compiler import compile_source
from contracts.difference import find_lost_field
from contracts.errors import ContractRefused, Fault, RuntimeInconsistency
from contracts.gas import GAS
from contracts.language import METHOD_PATTERN
from contracts.machine import Machine
from contracts.tree import Tree, compute_tree_hash
from ledger.encoding import decode, encode
from ledger.execution import contract_address

if TYPE_CHECKING:
    from contracts.host import Host

_NO_ARGUMENTS: Final = encode([])


class Lifecycle:
    """The two ways by which code comes in, over a host."""

    def __init__(self, host: "Host") -> None:
        self._host = host

    def install(self, name: str, source: bytes) -> None:
        """Bring in the code of a new contract; nothing of it runs. Raises Fault CONTRACT_NAME, ContractRefused."""
        machine = self._host.machine
        self._require_free(machine, name)
        tree_bytes = compile_source(source).to_bytes()
        self._put(machine, name, source, tree_bytes, compute_tree_hash(tree_bytes))
        self._put_size(machine, 1, len(tree_bytes))

    def deploy(self, machine: Machine, name: Any, source: Any, arguments: Any) -> bytes:
        """`deploy_contract`: the source of this transaction under a new name; its @init runs as the caller.

        `arguments` are the canonical bytes of the array that @init gets. The result is the contract's address."""
        self._require_bringing(machine, name, source, arguments)
        self.bring(name, source, arguments, machine.sender)
        machine.grow(1)
        return contract_address(name)

    def upgrade(self, machine: Machine, name: Any, source: Any, arguments: Any) -> bytes:
        """`upgrade_contract`: the contract of that name goes on with the source of this transaction; its @migrate runs.

        What is stored stays; a field that is gone, or has another type, is refused: LAYOUT. The result is the hash of
        the new code."""
        self._require_bringing(machine, name, source, arguments)
        tree_hash = self.replace(name, source, arguments, machine.sender)
        machine.grow(len(tree_hash) // GAS.text_chars)
        return tree_hash

    def bring(self, name: str, source: bytes, arguments: bytes, sender: bytes) -> None:
        """A new contract inside a transaction, whoever may do so."""
        machine = self._host.machine
        if name in RESERVED_NAMES:
            raise Fault("CONTRACT_NAME")
        self._require_free(machine, name)
        tree = self._compile(machine, source)
        tree_bytes = self._pay_tree(machine, tree)
        self._require_room(machine, 1, len(tree_bytes))
        self._put(machine, name, source, tree_bytes, compute_tree_hash(tree_bytes))
        self._put_size(machine, 1, len(tree_bytes))
        machine.installed.append(name)
        self._run(name, "init", arguments, sender)

    def replace(self, name: str, source: bytes, arguments: bytes, sender: bytes) -> bytes:
        """Other code for a contract that is there, inside a transaction, whoever may do so; the hash of its tree."""
        machine = self._host.machine
        old_hash = machine.overlay.get(hash_key(name)) if METHOD_PATTERN.fullmatch(name) else None
        if old_hash is None:
            raise Fault("CONTRACT")
        if name in machine.calling:
            raise Fault("REENTRY")
        old_tree = machine.overlay.get(tree_key(old_hash))
        if old_tree is None:
            raise RuntimeInconsistency("STATE", "a contract without its tree", contract=name)
        tree = self._compile(machine, source)
        tree_bytes = self._pay_tree(machine, tree)
        tree_hash = compute_tree_hash(tree_bytes)
        if tree_hash == old_hash:
            raise Fault("UNCHANGED")
        lost = find_lost_field(self._host.woven(name).storage, tree)
        if lost:
            raise Fault("LAYOUT", detail=lost)
        self._require_room(machine, 0, len(tree_bytes) - len(old_tree))
        self._put(machine, name, source, tree_bytes, tree_hash)
        self._put_size(machine, 0, len(tree_bytes) - len(old_tree))
        machine.installed.append(name)
        self._run(name, "migrate", arguments, sender)
        return tree_hash

    def _run(self, name: str, kind: str, arguments: bytes, sender: bytes) -> None:
        """The contract's @init or @migrate, if it has one; else there is nothing to take arguments."""
        method = self._host.woven(name).find(kind)
        if method is not None:
            self._host.enter(name, method, arguments, sender, {kind})
        elif arguments != _NO_ARGUMENTS:
            raise Fault("ARGUMENTS")

    # --- checks ---

    def _require_bringing(self, machine: Machine, name: Any, source: Any, arguments: Any) -> None:
        """Only `code`, called by a transaction itself, and only with the source that this transaction brings (D53)."""
        if machine.read_only:
            raise Fault("READ_ONLY")
        if type(name) is not str or type(source) is not bytes or type(arguments) is not bytes:
            raise Fault("TYPE")
        call = machine.call
        if call is None or machine.calling != [CODE_CONTRACT]:
            raise Fault("GOVERNANCE")
        brought = decode(call.arguments)
        if type(brought) is not list or find_source(call.contract, call.method, brought) != source:
            raise Fault("GOVERNANCE")

    def _require_free(self, machine: Machine, name: str) -> None:
        if METHOD_PATTERN.fullmatch(name) is None or machine.overlay.get(hash_key(name)) is not None:
            raise Fault("CONTRACT_NAME")

    def _require_room(self, machine: Machine, contracts: int, tree_bytes: int) -> None:
        count, size = read_size(machine.overlay)
        if count + contracts > CONTRACTS_MAX or size + tree_bytes > CODE_BYTES_MAX:
            raise Fault("CODE_FULL")

    # --- code ---

    def _compile(self, machine: Machine, source: bytes) -> Tree:
        """The tree of a source, paid by its length before anything looks at it."""
        machine.charge(GAS.deploy + GAS.deploy_byte * len(source))
        try:
            return compile_source(source)
        except ContractRefused:
            raise Fault("SOURCE") from None

    def _pay_tree(self, machine: Machine, tree: Tree) -> bytes:
        """The bytes of a tree, paid before they are stored and woven."""
        tree_bytes = tree.to_bytes()
        machine.charge(GAS.storage_write + GAS.deploy_tree_byte * len(tree_bytes))
        return tree_bytes

    def _put(self, machine: Machine, name: str, source: bytes, tree_bytes: bytes, tree_hash: bytes) -> None:
        overlay = machine.overlay
        overlay.put(source_key(name), source)
        overlay.put(hash_key(name), tree_hash)
        overlay.put(tree_key(tree_hash), tree_bytes)
        overlay.put(address_key(contract_address(name)), name.encode())
        put_version(overlay, name, machine.height, tree_hash)

    def _put_size(self, machine: Machine, contracts: int, tree_bytes: int) -> None:
        count, size = read_size(machine.overlay)
        machine.overlay.put(SIZE_KEY, encode([count + contracts, size + tree_bytes]))
