"""One file for each meter format; `FORMATS` is the list of them.

A parser takes bytes from outside and is total: any input gives either a value or an error that says where and why.
"""

from collections.abc import Callable
from typing import Final

from meters.formats.interval_csv import parse_interval_csv
from meters.series import Series

FORMATS: Final[dict[str, Callable[[bytes], Series]]] = {
    "interval_csv": parse_interval_csv,
}
"""Name of each format and its parser."""
