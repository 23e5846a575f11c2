"""The load of a run, drawn from its seed: honest and careless clients, transactions that may expire, and readers.

Most transactions execute. Some are handed in twice through different doors, some compete for one nonce, some revert,
some carry a private payload, some schedule a call. Some may expire: they name a time or a height that is near or past,
so that a run also ends by receipts that refuse and by proofs that a nonce is unused (D46, D47). A nonce whose
transaction was proved expired is used again (D45).
"""

from functools import partial
from typing import Final

from ledger.admission import EXPIRED
from ledger.encoding import Value
from pbft.core.client_session import ClientSession, Rejected
from pbft.simulation.checkers import PRIVATE_MARKER
from pbft.simulation.clients import Clients
from pbft.simulation.cluster import Cluster
from pbft.simulation.outcome import TOTAL_KEY
from pbft.simulation.readers import Readers

STYLES: Final = 12  # of an addition, drawn alike
FAILING_STYLE: Final = 0
DOUBLE_STYLE: Final = 1
RIVAL_STYLE: Final = 2
PLAIN_STYLE: Final = STYLES - 1
PRIVATE_STYLES: Final = frozenset({3, 4, 5})  # these carry a private payload (D50)
ADDING_CLIENTS: Final = 5
SCHEDULING_CLIENT: Final = 9
WAKING_CLIENT: Final = 10
EXPIRING_CLIENTS_FROM: Final = 20  # one each: a nonce that stays unused would hold up those after it
LOAD_SHARE: Final = 3 / 4  # of the safety phase: its rest meets what is under way
BURSTS: Final = 4
BURST_SHARE: Final = 0.5  # of the additions: so that windows fill
EXPIRY_CHECK_MS: Final = 500
WAKE_MS: Final = 3_000  # agreed time moves with blocks alone, and a proof of expiry needs it to move (D46)


class Load:
    """Plans itself over a span of virtual time; `keep_time_moving` is for the phase after it."""

    def __init__(
        self,
        cluster: Cluster,
        clients: Clients,
        readers: Readers,
        *,
        span_ms: int,
        requests: int,
        scheduled_calls: int,
        expiring: int,
        reads: int,
    ) -> None:
        self._cluster, self._clients, self._readers = cluster, clients, readers
        self.nonces_reused = 0
        self._expiring: list[tuple[int, ClientSession]] = []
        random, loaded_ms = cluster.random, max(int(span_ms * LOAD_SHARE), 1)
        bursts_ms = [random.randrange(loaded_ms) for _ in range(BURSTS)]
        for number in range(requests):
            client, style = number % ADDING_CLIENTS, random.randrange(STYLES)
            at_ms = random.choice(bursts_ms) if random.random() < BURST_SHARE else random.randrange(loaded_ms)
            cluster.at(at_ms, partial(self._add, client, style))
        for _ in range(scheduled_calls):
            cluster.at(random.randrange(loaded_ms), self._schedule)
        for number in range(expiring):
            cluster.at(random.randrange(loaded_ms), partial(self._add_expiring, EXPIRING_CLIENTS_FROM + number))
        for _ in range(reads):
            cluster.at(random.randrange(span_ms), lambda: readers.ask(random.randrange(ADDING_CLIENTS)))
        cluster.at(EXPIRY_CHECK_MS, self._reuse_nonces)

    def _note(self, raw: bytes) -> None:
        if self._cluster.checkers.submitted is not None:
            self._cluster.checkers.submitted.add(raw)

    def _add(self, client: int, style: int) -> None:
        clients, random = self._clients, self._cluster.random
        if style == FAILING_STYLE:
            signed = clients.sign(client, "fail", [])
        elif style in PRIVATE_STYLES:
            reading: Value = {"number": 1 + style, "secret": PRIVATE_MARKER}
            signed = clients.sign(client, "add_private", [TOTAL_KEY, 1 + style], private=[reading])
        else:
            signed = clients.sign(client, "add", [TOTAL_KEY, 1 + style])
        self._note(signed.raw)
        clients.submit(signed)
        replicas = len(self._cluster.machines)
        if style == DOUBLE_STYLE:
            clients.submit(signed, first=random.randrange(replicas))
        elif style == RIVAL_STYLE:
            rival = clients.sign(client, "add", [TOTAL_KEY, 1_000], nonce=signed.transaction.nonce)
            self._note(rival.raw)
            clients.submit(rival, first=random.randrange(replicas))

    def _schedule(self) -> None:
        due = self._cluster.now_ms // 1000 + self._cluster.random.randrange(6)
        signed = self._clients.sign(SCHEDULING_CLIENT, "later", [due])
        self._note(signed.raw)
        self._clients.submit(signed)

    def _add_expiring(self, client: int) -> None:
        """Past its expiry when it is handed in, or within a few blocks or seconds of it."""
        random = self._cluster.random
        arguments: list[Value] = [TOTAL_KEY, 100]
        height = max((node.chain.height for node in self._cluster.correct), default=0)
        signed = (
            self._clients.sign(client, "add", arguments, expiry_height=height + random.randrange(3))
            if random.random() < 0.4
            else self._clients.sign(client, "add", arguments, expires_in_s=random.randrange(-1, 3))
        )
        self._note(signed.raw)
        self._expiring.append((client, self._clients.submit(signed)))

    def _reuse_nonces(self) -> None:
        """D45: an expired transaction leaves its nonce free, and its client uses it for another one."""
        for client, session in list(self._expiring):
            outcome = session.outcome
            if outcome is not None:
                self._expiring.remove((client, session))
            if isinstance(outcome, Rejected) and outcome.code == EXPIRED:
                signed = self._clients.sign(client, "add", [TOTAL_KEY, 200], nonce=session.submission.nonce)
                self._note(signed.raw)
                self._clients.submit(signed)
                self.nonces_reused += 1
        self._cluster.at(EXPIRY_CHECK_MS, self._reuse_nonces)

    def add_one(self) -> None:
        """One addition more, now."""
        self._add(0, PLAIN_STYLE)

    @property
    def is_settled(self) -> bool:
        """Whether every transaction has its end, and no nonce waits to be used again."""
        return self._clients.is_done and not self._expiring

    def keep_time_moving(self) -> None:
        """From now on a block at least every few seconds, while a transaction waits for the proof of its expiry."""
        if any(session.outcome is None for _, session in self._expiring):
            signed = self._clients.sign(WAKING_CLIENT, "add", [TOTAL_KEY, 1])
            self._note(signed.raw)
            self._clients.submit(signed)
        self._cluster.at(WAKE_MS, self.keep_time_moving)
