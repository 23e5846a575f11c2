"""All interleavings of a network of real replicas: breadth first, every global state once, until there is no new one.

n = 4: three correct replicas (`automaton`) and a traitor (`traitor`) that leads view 0 or view 1. Two clients' requests
are handed to every replica at the start; a batch holds one, so that they need two heights. In every global state every
replica takes every step that it can: a message arrives, a quorum of votes is complete, a body arrives, its timer fires.

The network is the set of what has been sent. A message in it may arrive at any later time, any number of times, or
never; so loss, delay, duplication, reordering and partitions are all there, and a global state is no more than the
tuple of the local ones: what each replica has sent belongs to its local state.

Reductions. They leave out interleavings, and lose no state of the ledgers:

1. Own envelopes come back, turns end and the ledger executes at once: the driver does so before the next message.
2. The messages of one envelope arrive one by one: every order of them, and their arrival together as a special case.
3. A PREPARE or COMMIT below its quorum is stored, and read by nothing but the count (and by STATUS, see the cuts). So a
   quorum arrives as one step, at every moment at which it can be complete, and who its voters are is not remembered.
   For PREPAREs that is after the proposal's own promise: before it nothing but the count would change either.
4. A message of a view that is not entered yet is kept by the core and looked at when the view is entered: its arrival
   right after the entry is that.
5. Where VIEW-CHANGEs take a replica along (M35: W of them, or that of the primary), they arrive as one step. To who
   has left, they only start the timer of view 1, but to its primary, where each arrives for itself, after it has left:
   while a request waits its timeout may fire at any moment, so it may have fired before.
6. Of NEW-VIEWs with the same choices one stands for all: whoever finds that they follow from V looks at V no more.
7. A replica that is asked to leave view 1 sleeps on before that step: beyond it nothing of it is within the bounds.

Cuts. What is beyond them is not searched:

- no view after 1;
- time passes only when it makes a replica leave view 0; clocks agree;
- STATUS, relays, fetched blocks and header votes are lost: h stays at genesis (certificates: the simulator's part);
- bodies that are asked for may arrive at any time from anybody;
- no crash; the traitor says what `Traitor` lists.

    PYTHONPATH=tests .venv/bin/python -m exploration.search --traitor 0 --votes 2 --proposals 2
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Final

from exploration.automaton import VIEW_MAX, WALL_MS, Automaton, Catalogue, Node
from exploration.traitor import Traitor
from simulation.bench import make_batch, make_configuration, make_request

from ledger.hashing import NULL_DIGEST
from pbft.core.messages import Commit, Envelope, NewView, Prepare, PrePrepare, ViewChange

REPLICAS: Final = 4
NODE_BITS: Final = 20
"""A global state is one number: the index of each correct replica's local state in so many bits."""
NODE_MASK: Final = (1 << NODE_BITS) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a search covers."""

    traitor: int  # 0 leads view 0, 1 leads view 1
    proposals_max: int = 1  # the traitor proposes at heights up to this one
    votes_max: int = 1  # and votes at heights up to this one
    states_max: int = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that must never happen, and the steps to it."""

    kind: str  # agreement, halt
    text: str
    steps: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Report:
    """What a search saw."""

    bounds: Bounds
    depth: int = 0  # steps of the longest of the shortest ways to a state
    states: int = 0
    steps: int = 0
    local_states: tuple[int, ...] = ()
    reactions: int = 0  # runs of the core
    left_out: int = 0  # local states of a replica that was asked to leave the last view
    is_complete: bool = False  # every state that the bounds allow was seen; else `states_max` cut it
    ledgers: dict[tuple[str, ...], int] = field(default_factory=dict)  # -> depth at which it was first seen
    summaries: set[tuple[object, ...]] = field(default_factory=set)  # (view, active, ledger) of each correct replica
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_broken(self) -> bool:
        """Two correct ledgers disagree."""
        return any(fault.kind == "agreement" for fault in self.faults)

    def __str__(self) -> str:
        end = "complete" if self.is_complete else f"cut at {self.bounds.states_max} states"
        lines = [
            f"traitor {self.bounds.traitor}, one view change",
            f"its proposals up to height {self.bounds.proposals_max}, its votes up to {self.bounds.votes_max}",
            f"{self.states} states, {self.steps} steps, depth {self.depth}, {end}",
            f"{sum(self.local_states)} local states {self.local_states}, {self.reactions} runs of the core",
            f"{self.left_out} local states cut beyond view {VIEW_MAX}, {len(self.ledgers)} different sets of ledgers",
        ]
        for fault in self.faults:
            lines += [f"{fault.kind}: {fault.text}", *fault.steps]
        return "\n".join(lines)


class Search:
    """One search, from the start to its report."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.report = Report(bounds=bounds)
        configuration = make_configuration(REPLICAS, base_timer_ms=100, view_timer_ms=100, batch_requests_max=1)
        requests = [make_request(client=1), make_request(client=2)]
        batches = [make_batch(request, time_ms=WALL_MS) for request in requests]
        self._names = dict(zip((batch.digest for batch in batches), "AB", strict=True)) | {NULL_DIGEST: "-"}
        self._catalogue = Catalogue(traitor=bounds.traitor)
        self._correct = [
            Automaton(
                configuration=configuration,
                replica_id=replica,
                catalogue=self._catalogue,
                requests=requests,
                bodies=batches,
            )
            for replica in range(REPLICAS)
            if replica != bounds.traitor
        ]
        self._traitor = Traitor(
            configuration=configuration,
            replica_id=bounds.traitor,
            catalogue=self._catalogue,
            batches=batches,
            proposals_max=bounds.proposals_max,
            votes_max=bounds.votes_max,
        )
        self._parents: dict[int, int] = {0: -1}
        self._judged: set[tuple[int, ...]] = set()

    def run(self) -> Report:
        """Level by level, to the end; or to the first level where ledgers disagree, or beyond the bound on states."""
        report, parents = self.report, self._parents
        self._judge([0])
        frontier = [0]
        while frontier and not report.is_broken and len(parents) < self.bounds.states_max:
            following: list[int] = []
            for state in frontier:
                for after in self._successors(state):
                    if after not in parents:
                        parents[after] = state
                        following.append(after)
            frontier = following
            report.depth += bool(following)
            self._judge(following)
        report.is_complete = not frontier
        report.states = len(parents)
        report.local_states = tuple(len(automaton.nodes) for automaton in self._correct)
        report.reactions = sum(automaton.reactions for automaton in self._correct)
        report.left_out = sum(n.state.view > VIEW_MAX for automaton in self._correct for n in automaton.nodes)
        return report

    def _nodes(self, state: int) -> list[Node]:
        return [
            automaton.nodes[state >> place * NODE_BITS & NODE_MASK] for place, automaton in enumerate(self._correct)
        ]

    def _successors(self, state: int) -> list[int]:
        """The global states that one step of one replica leads to. The inner loop of the search."""
        heard = 0
        for node in self._nodes(state):
            heard |= node.sent
        available = heard | self._traitor.offer(heard)
        group_bits = self._catalogue.group_bits
        groups = len(group_bits)
        found: list[int] = []
        shift = 0
        for automaton in self._correct:
            index = state >> shift & NODE_MASK
            node = automaton.nodes[index]
            if node.local is None or available & ~node.tried or node.groups_tried != groups:
                node = automaton.extend(index, available)
            base = state - (index << shift)
            for _, after in node.local or ():
                found.append(base + (after << shift))
            for bit, after in node.singles:
                if available & bit:
                    found.append(base + (after << shift))
            for group, needed, after in node.quorums:
                if (available & group_bits[group]).bit_count() >= needed:
                    found.append(base + (after << shift))
            shift += NODE_BITS
        self.report.steps += len(found)
        return found

    # --- what must hold ---

    def _judge(self, states: list[int]) -> None:
        """Agreement: of two correct ledgers one begins the other. And no correct replica halts."""
        for state in states:
            nodes = self._nodes(state)
            summary = tuple((n.state.view, n.state.active, n.executed, n.state.halted) for n in nodes)
            if summary in self.report.summaries:
                continue
            self.report.summaries.add(summary)
            ledgers = tuple("".join(self._names[digest] for digest in node.executed) for node in nodes)
            self.report.ledgers.setdefault(ledgers, self.report.depth)
            if any(not one.startswith(other) and not other.startswith(one) for one, other in combinations(ledgers, 2)):
                self._record("agreement", f"the ledgers are {ledgers}", state)
            for node in nodes:
                if node.state.halted is not None:
                    self._record("halt", f"r{node.state.replica_id} stopped: {node.state.halted}", state)

    def _record(self, kind: str, text: str, state: int) -> None:
        if all(fault.kind != kind for fault in self.report.faults):  # one way to each kind is enough to read
            self.report.faults.append(Fault(kind=kind, text=text, steps=tuple(self._explain(state))))

    # --- ways, in words ---

    def _explain(self, state: int) -> Iterator[str]:
        """The shortest way to a state."""
        way: list[int] = []
        while state >= 0:
            way.append(state)
            state = self._parents[state]
        for before, after in pairwise(reversed(way)):
            for place, automaton in enumerate(self._correct):
                index, following = (s >> place * NODE_BITS & NODE_MASK for s in (before, after))
                if index != following:
                    yield self._explain_step(automaton, automaton.nodes[index], following)

    def _explain_step(self, automaton: Automaton, before: Node, following: int) -> str:
        after = automaton.nodes[following]
        steps = [name for name, node in before.local or () if node == following]
        steps += [self._name(bit) for bit, node in before.singles if node == following]
        votes = [self._catalogue.group_bits[group] for group, _, node in before.quorums if node == following]
        steps += [f"a quorum of {self._name(bits & -bits)}" for bits in votes]
        said = [self._name(bit) for bit, _ in self._catalogue.select(after.sent & ~before.sent)]
        executed = "".join(self._names[digest] for digest in after.executed[len(before.executed) :])
        return (
            f"  r{automaton.replica_id} view {after.state.view}: {steps[0]}"
            f"{', says ' + ', '.join(said) if said else ''}{', executes ' + executed if executed else ''}"
        )

    def _name(self, bit: int) -> str:
        ((_, envelope),) = self._catalogue.select(bit)
        return f"{type(envelope.messages[0]).__name__}({self._fields(envelope)}) of r{envelope.sender}"

    def _fields(self, envelope: Envelope) -> str:
        match envelope.messages[0]:
            case ViewChange() as message:
                return f"{message.view}, P {[(e.height, self._names[e.digest]) for e in message.prepared]}"
            case NewView() as message:
                return f"{message.view}, {''.join(self._names[c.digest] for c in message.choices)}"
            case PrePrepare() | Prepare() | Commit() as message:
                return f"{message.view}, {message.height}, {self._names[message.digest]}"
        raise TypeError(f"not a message of a search: {envelope}")


def explore(traitor: int) -> Report:
    """The bounds of every test run: both requests, one view change, a traitor that proposes twice for height 1."""
    return Search(Bounds(traitor=traitor)).run()


def main() -> None:
    """Larger bounds than those of `make test`, from the command line."""
    parser = argparse.ArgumentParser(description=Search.__doc__)
    parser.add_argument("--traitor", type=int, choices=(0, 1), default=0)
    parser.add_argument("--proposals", type=int, choices=(0, 1, 2), default=1)
    parser.add_argument("--votes", type=int, choices=(1, 2), default=2)
    parser.add_argument("--states", type=int, default=20_000_000)
    options = parser.parse_args()
    report = Search(
        Bounds(
            traitor=options.traitor,
            proposals_max=options.proposals,
            votes_max=options.votes,
            states_max=options.states,
        )
    ).run()
    print(report)
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
