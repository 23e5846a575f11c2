"""What a contract can ask of the host: the kit functions, calls to other contracts, and the schedule.

Each operation has the shape CHECK, CHARGE, EFFECT, RESULT. The lock against re-entry, the list of running contracts
and the roll-back of effects live here, in the host, never in what a compiler makes of a contract (CONTRACTS.md
section 4.3).
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final

from contracts.boundary import NOTHING, encode_plain, put_any_together, take_any_apart
from contracts.calls import HostOperation
from contracts.code import GOVERNANCE_CONTRACT, MEMBERS_CONTRACT, address_key, hash_key, tree_key
from contracts.compiler import Entry, Weave, Woven, weave_contract
from contracts.errors import Fault, OutOfGas, Revert, RuntimeInconsistency
from contracts.gas import (
    CALL_DEPTH_MAX,
    EVENT_BYTES_MAX,
    EVENTS_MAX,
    GAS,
    RESULT_BYTES_MAX,
    SCHEDULE_AHEAD_MAX_S,
    VALUE_BYTES_MAX,
)
from contracts.language import CODE_PATTERN
from contracts.lifecycle import Lifecycle
from contracts.machine import Machine
from contracts.operations import checked
from contracts.tree import compute_tree_hash
from contracts.values import InterfaceValue, StructValue
from ledger.configuration import configuration_key, encode_decision, parse_configuration
from ledger.curves import CURVES, ClaimHolds, Curve, read_claim, read_der_signature
from ledger.encoding import decode, encode
from ledger.errors import EncodingError, InvalidConfiguration, InvalidSignature
from ledger.transaction import make_event

VerifySignature = Callable[[bytes, bytes, bytes], None]
"""public key, message, signature; raises InvalidSignature."""

NEXT_CALL_KEY: Final = b"m/next_call"
PARKED_PREFIX: Final = b"m/parked/"
SCHEDULE_PREFIX: Final = b"s/"


def schedule_key(due: int, call_id: int) -> bytes:
    """Where a scheduled call waits: keys ascend in the order in which calls run."""
    return SCHEDULE_PREFIX + due.to_bytes(8, "big") + call_id.to_bytes(8, "big")


class Host:
    """The kit functions over one machine, and the contracts woven for it."""

    def __init__(
        self,
        machine: Machine,
        verify_signature: VerifySignature,
        claim_holds: ClaimHolds,
        weave: Weave = weave_contract,
    ) -> None:
        self.machine = machine
        self._run_tree = weave
        self._verify_signature = verify_signature
        self._claim_holds = claim_holds
        self._woven: dict[str, tuple[bytes, bytes, Woven]] = {}
        """By name: the key where the state has the code's hash, that hash, and the code."""
        self._replaced: dict[str, tuple[bytes, bytes, Woven]] = {}
        """What the running transaction put other code in the place of: it may fail yet."""
        self.lifecycle = Lifecycle(self)
        self.operations: dict[str, HostOperation] = {
            "require": require,
            "emit": self._emit,
            "mul_div": mul_div,
            "schedule": self._schedule,
            "canonical": canonical,
            "sha256": sha256,
            "verify_ed25519": self._verify_ed25519,
            "verify_ecdsa": self._verify_ecdsa,
            "read_der_signature": read_der,
            "change_configuration": self._change_configuration,
            "deploy_contract": self.lifecycle.deploy,
            "upgrade_contract": self.lifecycle.upgrade,
            "private_value": private_value,
        }

    # --- contracts ---

    def woven(self, contract: str) -> Woven:
        """The contract of that name, ready to run. Raises Fault CONTRACT."""
        found = self._woven.get(contract)
        key = hash_key(contract) if found is None else found[0]
        code_hash = self.machine.overlay.get(key)
        if found is not None and found[1] == code_hash:
            return found[2]
        if code_hash is None:
            raise Fault("CONTRACT")
        if found is not None:
            self._replaced.setdefault(contract, found)
        woven = self._weave(contract, code_hash)
        self._woven[contract] = key, code_hash, woven
        return woven

    def begin(self, gas_limit: int) -> None:
        """A new transaction."""
        self.machine.begin(gas_limit)
        if self._replaced:
            self._replaced.clear()

    def forget_brought(self) -> None:
        """The transaction failed: the code that it brought takes no memory, and what was there need not be woven."""
        for contract in self.machine.installed:
            self._woven.pop(contract, None)
        self._woven.update(self._replaced)

    def _weave(self, contract: str, code_hash: bytes) -> Woven:
        tree_bytes = self.machine.overlay.get(tree_key(code_hash))
        if tree_bytes is None or compute_tree_hash(tree_bytes) != code_hash:
            raise RuntimeInconsistency("STATE", "a contract's tree is not what its hash names", contract=contract)
        try:
            return self._run_tree(tree_bytes, contract, self.machine, self.operations, self.call_contract)
        except EncodingError as error:
            raise RuntimeInconsistency("STATE", "a stored tree is malformed", cause=str(error)) from None

    def call_contract(self, target: InterfaceValue, method: str, arguments: tuple[Any, ...]) -> Any:
        """`IOther(address).method(arguments)`: the result, checked against the interface's annotation."""
        machine = self.machine
        signature = next((item for item in target.declaration.methods if item.name == method), None)
        if signature is None:
            raise Fault("METHOD")
        machine.charge(GAS.contract_call)
        name = machine.overlay.get(address_key(target.address))
        if name is None:
            raise Fault("CONTRACT")
        data = encode_plain(take_any_apart(machine, arguments), VALUE_BYTES_MAX, "ARGUMENTS")
        machine.charge(len(data) // GAS.contract_call_bytes)
        caller = self.woven(machine.contract).boundary
        result = self.enter(name.decode(), method, data, machine.address, {"external", "view"})
        machine.charge(len(result) // GAS.contract_call_bytes + GAS.container_byte * len(result))
        try:
            return caller.reader(signature.result)(decode(result))
        except Fault:
            raise Fault("RESULT") from None

    def enter(self, contract: str, method: str, arguments: bytes, sender: bytes, kinds: set[str]) -> bytes:
        """`run` from inside a call, which goes on in its own frame then."""
        machine = self.machine
        outer = (machine.contract, machine.address, machine.sender, machine.read_only)
        data = self.run(contract, method, arguments, sender, kinds)
        machine.contract, machine.address, machine.sender, machine.read_only = outer
        return data

    def run(self, contract: str, method: str, arguments: bytes, sender: bytes, kinds: set[str]) -> bytes:
        """Run a method of a contract as `sender`; the canonical bytes of its result.

        Raises Abort. `kinds` are the markers that this way in may call."""
        machine = self.machine
        woven = self.woven(contract)
        entry = woven.entries.get(method)
        if entry is None or entry.kind not in kinds:
            raise Fault("METHOD")
        if contract in machine.calling:
            raise Fault("REENTRY")
        machine.contract, machine.address, machine.sender = contract, woven.address, sender
        machine.calling.append(contract)
        for role in entry.roles:
            self._check_role(role, sender)
        machine.gas -= GAS.container_byte * len(arguments)
        if machine.gas < 0:
            raise OutOfGas
        values = entry.read_short(arguments)
        result = entry.write_result(entry.call(self._read_arguments(entry, arguments) if values is None else values))
        if result is None:
            data = NOTHING
        else:
            data = encode_plain(result, RESULT_BYTES_MAX, "RESULT")
            machine.charge(GAS.result_byte * len(data))
        machine.calling.pop()
        return data

    def _read_arguments(self, entry: Entry, arguments: bytes) -> list[Any]:
        """Arguments of any form, checked against the parameters' hints; those with defaults may be left out."""
        try:
            plain = decode(arguments)
        except EncodingError:
            raise Fault("ARGUMENTS") from None
        if type(plain) is not list or not entry.least <= len(plain) <= entry.most:
            raise Fault("ARGUMENTS")
        try:
            return entry.read_arguments(plain)
        except Fault as fault:
            raise Fault("ARGUMENTS" if fault.code == "TYPE" else fault.code) from None

    def _check_role(self, role: str, sender: bytes) -> None:
        """Ask the contract `members`; whatever it answers but True, the sender has not the role."""
        machine = self.machine
        machine.charge(GAS.contract_call)
        if machine.overlay.get(hash_key(MEMBERS_CONTRACT)) is None:
            raise Revert("ROLE")
        if MEMBERS_CONTRACT in machine.calling[:-1]:
            raise Fault("REENTRY")
        machine.depth += 1  # `members` may mark `has_role` too: then each answer takes another question
        if machine.depth > CALL_DEPTH_MAX:
            raise Fault("DEPTH")
        running = machine.calling
        machine.calling = []  # `members` may mark its own methods with @role: nothing of it has run yet
        answer = self.enter(MEMBERS_CONTRACT, "has_role", encode([sender, role]), machine.address, {"view"})
        machine.calling = running
        machine.depth -= 1
        if answer != encode(True):
            raise Revert("ROLE")

    # --- kit functions that need the host ---

    def _emit(self, machine: Machine, event: StructValue) -> None:
        if machine.read_only:
            raise Fault("READ_ONLY")
        if len(machine.events) >= EVENTS_MAX:
            raise Fault("EVENTS")
        machine.charge(GAS.event)
        fields = self.woven(machine.contract).boundary.write_fields(event)
        data = encode_plain(fields, EVENT_BYTES_MAX, "EVENTS")
        machine.charge(GAS.event_byte * len(data))
        machine.events.append(make_event((machine.contract, event.shape.name, data)))

    def _schedule(self, machine: Machine, due: Any, method: Any, *arguments: Any) -> int:
        if machine.read_only:
            raise Fault("READ_ONLY")
        if type(due) is not int:
            raise Fault("TYPE")
        if not 0 <= due <= machine.time + SCHEDULE_AHEAD_MAX_S:
            raise Fault("SCHEDULE")
        machine.charge(GAS.schedule)
        plain = take_any_apart(machine, arguments)
        record = encode_plain([machine.contract, method, plain, 0], VALUE_BYTES_MAX, "SCHEDULE")
        machine.charge(GAS.storage_write_byte * len(record))
        stored = machine.overlay.get(NEXT_CALL_KEY)
        call_id = 0 if stored is None else int.from_bytes(stored, "big")
        machine.overlay.put(NEXT_CALL_KEY, (call_id + 1).to_bytes(8, "big"))
        machine.overlay.put(schedule_key(due, call_id), record)
        return call_id

    def _verify_ed25519(self, machine: Machine, public_key: Any, message: Any, signature: Any) -> bool:
        if type(public_key) is not bytes or type(message) is not bytes or type(signature) is not bytes:
            raise Fault("TYPE")
        machine.charge(GAS.ed25519 + len(message) // GAS.sha256_bytes)
        if len(public_key) != 32 or len(signature) != 64:
            return False
        try:
            self._verify_signature(public_key, message, signature)
        except InvalidSignature:
            return False
        return True

    def _verify_ecdsa(self, machine: Machine, curve: Any, public_key: Any, message: Any, signature: Any) -> bool:
        if type(public_key) is not bytes or type(message) is not bytes or type(signature) is not bytes:
            raise Fault("TYPE")
        known = curve_of(curve)
        machine.charge(GAS.ecdsa[known.name] + len(message) // GAS.sha256_bytes)
        claim = read_claim(known, public_key, message, signature)
        return claim is not None and self._claim_holds(claim)

    def _change_configuration(self, machine: Machine, document: Any) -> list[bytes]:
        """D40: one change may wait; it ends the epoch one window later. What block it is decided in, the chain knows
        from the record that is written here."""
        if machine.read_only:
            raise Fault("READ_ONLY")
        if type(document) is not bytes:
            raise Fault("TYPE")
        if machine.contract != GOVERNANCE_CONTRACT or machine.window == 0:
            raise Fault("GOVERNANCE")
        machine.charge(GAS.configuration + GAS.storage_read + GAS.container_byte * len(document))
        key = configuration_key(machine.epoch + 1)
        if machine.overlay.get(key) is not None:
            raise Fault("PENDING")
        try:
            configuration = parse_configuration(document, machine.network)
        except InvalidConfiguration:
            raise Fault("CONFIGURATION") from None
        if configuration.epoch != machine.epoch + 1:
            raise Fault("CONFIGURATION")
        machine.charge(GAS.storage_write + GAS.storage_write_byte * len(document))
        machine.grow(len(configuration.members))
        machine.overlay.put(key, encode_decision(machine.height + machine.window, document))
        return [member.operator_key for member in configuration.members]


# --- kit functions of values and the transaction alone ---


def private_value(machine: Machine, index: Any) -> Any:
    """A value of the transaction's private payload: each read pays for each byte, since each may be a value (D50)."""
    if type(index) is not int:
        raise Fault("TYPE")
    if not 0 <= index < len(machine.private_values):
        raise Fault("INDEX")
    data = machine.private_values[index]
    machine.charge(GAS.convert + GAS.container_byte * len(data))
    machine.grow(len(data) // GAS.text_chars)
    return put_any_together(machine, decode(data))


def curve_of(name: Any) -> Curve:
    """The curve of that name. Which curve a meter may use is the contract's to know: another one is its mistake."""
    if type(name) is not str:
        raise Fault("TYPE")
    curve = CURVES.get(name)
    if curve is None:
        raise Fault("VALUE")
    return curve


def read_der(machine: Machine, curve: Any, data: Any) -> tuple[bytes, bool]:
    """r and s of a DER signature, and whether it was strict; both empty and False where it is none."""
    if type(data) is not bytes:
        raise Fault("TYPE")
    known = curve_of(curve)
    machine.charge(GAS.der_signature)
    machine.grow(2 + 2 * known.width // GAS.text_chars)
    return read_der_signature(known, data)


def require(machine: Machine, condition: Any, code: Any) -> None:
    """Revert unless the condition is True. The code is the contract's own."""
    if type(condition) is not bool or type(code) is not str:
        raise Fault("TYPE")
    if not condition:
        if CODE_PATTERN.fullmatch(code) is None:
            raise Fault("VALUE")
        raise Revert(code)


def mul_div(machine: Machine, a: Any, b: Any, divisor: Any) -> int:
    """floor(a * b / divisor): only the result must fit."""
    if type(a) is not int or type(b) is not int or type(divisor) is not int:
        raise Fault("TYPE")
    if divisor == 0:
        raise Fault("DIVISION")
    return checked(a * b // divisor)


def canonical(machine: Machine, value: Any) -> bytes:
    """The canonical encoding of a value, as long as a stored value can be."""
    data = encode_plain(take_any_apart(machine, value), VALUE_BYTES_MAX, "STATE_SIZE")
    machine.charge(GAS.convert + len(data) // GAS.text_chars)
    machine.grow(len(data) // GAS.text_chars)
    return data


def sha256(machine: Machine, data: Any) -> bytes:
    """SHA-256 of bytes."""
    if type(data) is not bytes:
        raise Fault("TYPE")
    machine.charge(GAS.sha256 + len(data) // GAS.sha256_bytes)
    return hashlib.sha256(data).digest()
