"""The standard contracts of genesis: which they are, in which order they start, and what each is told at its start.

Sources are loaded as text and never imported: they are programs for the contract engine, not modules. All of them are
deployed before the first one is initialised, so a reference to a contract later in the order is valid.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Final

from ledger.genesis import Argument, ContractReference, GenesisContract

_FOUNDERS: Final = "founders"
"""Stands in the manifest for the list of founders."""
_AUTHORS: Final = "authors"
"""Stands in the manifest for the list of those who may deploy contracts from the start."""

MANIFEST: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("members", (_FOUNDERS,)),
    ("certifiers", ("members",)),
    ("meters", ("certifiers", "judges")),
    ("communities", ("meters", "settlement")),
    ("tariffs", ("settlement",)),
    ("cash", ("settlement",)),
    ("readings", ("meters", "judges", "settlement")),
    ("judges", ("readings", "meters", "settlement")),
    ("settlement", ("readings", "communities", "tariffs", "cash")),
    ("governance", (_FOUNDERS,)),
    ("code", ("governance", _AUTHORS)),
    ("ping", ()),
)
"""Name of each contract, in order, and the contracts whose addresses its `@init` takes."""


def source_of(name: str) -> str:
    """The source text of a standard contract, exactly as it is stored on chain."""
    if name not in {entry for entry, _ in MANIFEST}:
        raise ValueError(f"no standard contract is called {name!r}")
    return resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")


def genesis_contracts(
    founders: Sequence[tuple[str, bytes]], authors: Sequence[bytes] = ()
) -> tuple[GenesisContract, ...]:
    """The contracts of a new network, governed by `founders`: (name, 32-byte operator key) of each validator.

    `authors` are the addresses that may deploy contracts without a vote of the operators.

    Raises ValueError without founders. Source and arguments are data of the genesis file; nothing runs here.
    """
    if not founders:
        raise ValueError("a network needs at least one founder")
    lists: dict[str, Argument] = {_FOUNDERS: [[name, key] for name, key in founders], _AUTHORS: list(authors)}
    return tuple(
        GenesisContract(
            name=name,
            source=source_of(name),
            arguments=tuple(
                lists[reference] if reference in lists else ContractReference(contract=reference)
                for reference in references
            ),
        )
        for name, references in MANIFEST
    )
