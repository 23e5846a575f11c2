"""Contracts in a subset of Python: how they are checked, lowered, metered and run.

What this file exports are the kit names, `from contracts import Contract, Map, ...`, as *types*: a contract's source is
never imported by a replica (the runtime reads it as text and gives these names their meaning), but an author's editor
and `mypy --strict` read them here. Calling one of them in Python is therefore a mistake and says so.

The language, the gas table and how to write a contract: `contracts/README.md`.
"""

from contracts.kit import (
    Address,
    Contract,
    Event,
    Indexed,
    Interface,
    Ledger,
    Map,
    Struct,
    Vec,
    canonical,
    change_configuration,
    ctx,
    deploy_contract,
    emit,
    external,
    init,
    invariant,
    migrate,
    mul_div,
    private_value,
    read_der_signature,
    require,
    role,
    schedule,
    scheduled,
    sha256,
    upgrade_contract,
    verify_ecdsa,
    verify_ed25519,
    view,
)

__all__ = [
    "Address",
    "Contract",
    "Event",
    "Indexed",
    "Interface",
    "Ledger",
    "Map",
    "Struct",
    "Vec",
    "canonical",
    "change_configuration",
    "ctx",
    "deploy_contract",
    "emit",
    "external",
    "init",
    "invariant",
    "migrate",
    "mul_div",
    "private_value",
    "read_der_signature",
    "require",
    "role",
    "schedule",
    "scheduled",
    "sha256",
    "upgrade_contract",
    "verify_ecdsa",
    "verify_ed25519",
    "view",
]
