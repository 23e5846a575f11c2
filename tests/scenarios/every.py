"""Every scenario there is: importing this module registers them all."""

from scenarios import answers, crash, deposal, epochs, new_views, payloads, primaries, snapshots, votes, worked
from scenarios.script import SCENARIOS

__all__ = ["MODULES", "SCENARIOS"]
MODULES = (answers, crash, deposal, epochs, new_views, payloads, primaries, snapshots, votes, worked)
