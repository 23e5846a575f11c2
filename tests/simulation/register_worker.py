"""A contract worker program for tests: the real conversation on a real socket, with the register for contracts.

    python -m simulation.register_worker FD LEDGER [MISBEHAVIOUR FILE]

With a misbehaviour it does that to its first question after the greeting, once: the file, which it then makes,
remembers that it was done (`always` as FILE: every time). `die` exits, `garbage` answers what cannot be parsed,
`oversized` announces too much, `miscount` answers no call, `fault` says that it cannot, `spin` uses processor time,
`hang` does nothing.
"""

import socket
import sys
import threading
from pathlib import Path

from simulation.runtime import RegisterRuntime

from ledger.chain import LEDGER_TABLES
from ledger.encoding import decode, encode
from ledger.execution import BlockOutcome, Call, parse_block_plan
from ledger.lmdb_store import LmdbStore
from ledger.world_state import StateSnapshot


def send(stream: socket.socket, content: bytes) -> None:
    """One frame."""
    stream.sendall(len(content).to_bytes(4, "big") + content)


def misbehave(kind: str, stream: socket.socket) -> None:
    """What a broken worker does instead of answering."""
    if kind == "die":
        sys.exit(3)
    if kind == "oversized":
        stream.sendall(b"\xff\xff\xff\xff")
    if kind == "spin":
        while True:
            pass
    nothing = BlockOutcome(scheduled=(), calls=(), writes=(), next_due=None)
    answers = {
        "garbage": b"\xc1",
        "miscount": encode(["ok", nothing.to_bytes()]),
        "fault": encode(["fault", "no memory left"]),
    }
    if kind in answers:
        send(stream, answers[kind])
    threading.Event().wait()


def answer(question: bytes, store: LmdbStore) -> bytes:
    """The outcome of a question, from a new snapshot of the ledger."""
    kind, *fields = decode(question, max_bytes=2**26)
    runtime = RegisterRuntime()
    if kind == "genesis":
        return runtime.execute_genesis((), fields[1], fields[2]).to_bytes()
    with StateSnapshot(store.snapshot()) as state:
        if kind == "block":
            return runtime.execute_block(parse_block_plan(fields[0]), state).to_bytes()
        tx_id, sender, contract, method, arguments, gas = fields[0]
        call = Call(tx_id=tx_id, sender=sender, contract=contract, method=method, arguments=arguments, gas_limit=gas)
        outcome = runtime.call_view(call, state, *fields[1:])
        return BlockOutcome(scheduled=(), calls=(outcome,), writes=(), next_due=None).to_bytes()


def main(fd: str, ledger: str, misbehaviour: str = "", once: str = "always") -> None:
    """Answer until the socket closes."""
    stream = socket.socket(fileno=int(fd))
    store = LmdbStore(Path(ledger), tables=LEDGER_TABLES, readonly=True)
    while True:
        length = stream.recv(4, socket.MSG_WAITALL)
        if len(length) < 4:
            return
        question = stream.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
        if decode(question, max_bytes=2**26)[0] == "hello":
            send(stream, encode(["ok", encode({"confinement": {"seccomp": "on"}})]))
            continue
        if misbehaviour and not Path(once).exists():
            if once != "always":
                Path(once).touch()
            misbehave(misbehaviour, stream)
        send(stream, encode(["ok", answer(question, store)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
