"""The file that a `gridquorum contract` command is about: read with a limit, compiled, or refused with its place."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pbft.cli.surface import CommandError, ExitCode

if TYPE_CHECKING:
    from contracts.tree import Tree

READ_BYTES_MAX: Final = 1_048_576  # of a file; what a contract may have is the gate's to say, far below this

source_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


def compile_file(file: Path) -> "Tree":
    """The canonical tree of a source file. Raises CommandError with line, column, code and hint."""
    from contracts.compiler import compile_source
    from contracts.errors import ContractRefused

    try:
        return compile_source(read_source(file))
    except ContractRefused as refusal:
        raise CommandError(f"{file}:{refusal}") from refusal


def read_source(file: Path) -> bytes:
    """The bytes of a source file; of a file that is far too large, enough for the gate to refuse it. CommandError."""
    try:
        with file.open("rb") as stream:
            return stream.read(READ_BYTES_MAX)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", ExitCode.NOT_FOUND) from error
