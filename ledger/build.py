"""Which build of the program runs: the sources as they are, or with the modules of every request compiled by mypyc.

Both are made of the same sources and agree in every byte; the compiled one takes less processor time
(docs/operate.md, "The compiled build").
"""

from typing import Final

import ledger.encoding

BUILD: Final = "interpreted" if ledger.encoding.__file__.endswith(".py") else "compiled"
