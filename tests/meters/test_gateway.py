"""A gateway against a client that answers when the test says: order, restarts, unknown outcomes, expiry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ledger.encoding import encode
from ledger.keys import SigningKey
from ledger.store import MemoryStore
from ledger.transaction import Receipt, SignedTransaction
from meters.batch import GroupChain, Place
from meters.gateway import (
    GAS_BASE,
    GAS_MAX,
    GAS_PER_READING,
    Gateway,
    Verdicts,
    begin_chains,
    compute_gas_limit,
    parse_verdicts,
)
from meters.outbox import ENTRY_BATCHES_MAX, ENTRY_PLACES_MAX, OUTBOX_TABLES, Outbox
from meters.series import MeterColumn
from pbft.client.account import Account, NonceKeeper
from pbft.core.client_session import (
    Committed,
    Outcome,
    OutcomeUnknown,
    Rejected,
    ReplyContent,
)

NETWORK = b"n" * 32
KEY = SigningKey.from_seed(b"g" * 32)
HOUR = 3600


@dataclass
class FakeClient:
    """Keeps what was submitted; the test decides each outcome."""

    expiry_height: int = 100
    ready_when: "Deferred[NonceKeeper]" = field(default_factory=Deferred)
    submitted: "list[tuple[SignedTransaction, Deferred[Outcome | OutcomeUnknown]]]" = field(default_factory=list)

    def read_nonces(self, address: bytes) -> "Deferred[NonceKeeper]":
        assert address == KEY.public_key
        return self.ready_when

    def sign(self, account: Account, contract: str, method: str, *arguments: object, **options: Any) -> Any:
        self.expiry_height += 1  # so that a transaction signed again differs, as with a real clock
        return account.sign(contract, method, arguments, expiry_height=self.expiry_height, expiry_time=10**9, **options)

    def submit_signed(self, signed: SignedTransaction, **_options: Any) -> "Deferred[Outcome | OutcomeUnknown]":
        waiter: Deferred[Outcome | OutcomeUnknown] = Deferred()
        self.submitted.append((signed, waiter))
        return waiter

    def answer(self, index: int, make: Callable[[SignedTransaction], Outcome | OutcomeUnknown]) -> None:
        signed, waiter = self.submitted[index]
        waiter.callback(make(signed))

    @property
    def nonces(self) -> list[int]:
        return [signed.transaction.nonce for signed, _waiter in self.submitted]


def make_receipt(signed: SignedTransaction, status: str, code: str, codes: list[str]) -> Receipt:
    return Receipt(
        tx_id=signed.tx_id,
        sender=signed.transaction.sender,
        nonce=signed.transaction.nonce,
        status=status,
        code=code,
        gas_used=1,
        result=encode(codes),
        events=(),
    )


def make_reply(receipt: Receipt) -> ReplyContent:
    return ReplyContent(
        client=receipt.sender,
        nonce=receipt.nonce,
        tx_id=receipt.tx_id,
        height=4,
        index=0,
        receipt=receipt.to_bytes(),
        header_hash=b"h" * 32,
    )


def committed(*codes: str) -> Callable[[SignedTransaction], Outcome]:
    def make(signed: SignedTransaction) -> Outcome:
        receipt = make_receipt(signed, "ok", "", list(codes))
        return Committed(reply=make_reply(receipt), receipt=receipt, vouched_by=(0, 1))

    return make


def rejected(status: str, code: str) -> Callable[[SignedTransaction], Outcome]:
    def make(signed: SignedTransaction) -> Outcome:
        receipt = make_receipt(signed, status, code, [])
        return Rejected(tx_id=signed.tx_id, code=code, reply=make_reply(receipt), receipt=receipt, vouched_by=(0, 1))

    return make


def expired(signed: SignedTransaction) -> Outcome:
    return Rejected(tx_id=signed.tx_id, code="EXPIRED", reply=None, receipt=None, vouched_by=())


def unknown(signed: SignedTransaction) -> OutcomeUnknown:
    return OutcomeUnknown(
        tx_id=signed.tx_id,
        nonce=signed.transaction.nonce,
        expiry_height=signed.transaction.expiry_height,
        expiry_time=signed.transaction.expiry_time,
        answers=0,
        refusals=(),
    )


@dataclass
class Bench:
    """A gateway with everything around it in the test's hands."""

    store: MemoryStore = field(default_factory=lambda: MemoryStore(OUTBOX_TABLES))
    client: FakeClient = field(default_factory=FakeClient)
    verdicts: list[Verdicts] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    in_flight_max: int = 3

    def open(self) -> Gateway:
        outbox = Outbox(self.store)
        outbox.register_group(GroupChain.begin(NETWORK, "a_load", HOUR, {0: ("a_load", "load", 0)}))
        return Gateway(
            name="gw-1",
            account=Account(KEY, network=NETWORK),
            outbox=outbox,
            client=self.client,
            on_verdicts=self.verdicts.append,
            on_failure=self.failures.append,
            in_flight_max=self.in_flight_max,
        )


def measure(gateway: Gateway, *numbers: int) -> None:
    gateway.measure([(HOUR * number, {"a_load": number}) for number in numbers])


def test_requests_leave_in_interval_order_each_following_the_one_before() -> None:
    """D49: the nonce before is named, so that no primary can put a later interval in front."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1, 2, 3)
    transactions = [signed.transaction for signed, _waiter in bench.client.submitted]
    assert [(transaction.nonce, transaction.follows) for transaction in transactions] == [(0, None), (1, 0), (2, 1)]
    starts = [transaction.arguments[0][0][4] for transaction in transactions]  # type: ignore[index, call-overload]
    assert starts == [HOUR, 2 * HOUR, 3 * HOUR]
    assert {(transaction.contract, transaction.method) for transaction in transactions} == {("readings", "submit")}


def test_nothing_leaves_before_the_network_is_reached() -> None:
    """Readings wait in the outbox, durable, for the first link."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    measure(gateway, 1)
    assert bench.client.submitted == [] and gateway.backlog == 1
    bench.client.ready_when.callback(NonceKeeper())
    assert bench.client.nonces == [0]


def test_only_so_many_are_in_flight() -> None:
    """A slow network fills the outbox, not the links."""
    bench = Bench(in_flight_max=2)
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1, 2, 3, 4)
    assert bench.client.nonces == [0, 1]
    bench.client.answer(1, committed("accepted"))
    assert bench.client.nonces == [0, 1, 2]


def test_verdicts_reach_the_caller_and_the_outbox() -> None:
    """A refused reading is final too: its code is in the receipt, and nobody sends it again."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1, 2)
    bench.client.answer(0, committed("accepted"))
    bench.client.answer(1, committed("decreasing"))
    assert [(verdict.start, verdict.codes) for verdict in bench.verdicts] == [
        (HOUR, ("accepted",)),
        (2 * HOUR, ("decreasing",)),
    ]
    assert gateway.codes == {"accepted": 1, "decreasing": 1} and gateway.backlog == 0


def test_an_unknown_outcome_is_waited_for_with_the_same_bytes() -> None:
    """The transaction may have run: only the very same one is safe to send again."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1)
    bench.client.answer(0, unknown)
    (first, _), (second, _) = bench.client.submitted
    assert first.raw == second.raw
    bench.client.answer(1, committed("accepted"))
    assert len(bench.verdicts) == 1


@pytest.mark.parametrize("outcome", [expired, rejected("refused", "EXPIRED")], ids=["proof", "receipt"])
def test_an_expired_transaction_is_signed_again_under_its_nonce(
    outcome: Callable[[SignedTransaction], Outcome],
) -> None:
    """D45: the nonce was proved unused; keeping it means that the old one can never run beside the new one."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1, 2)
    bench.client.answer(0, outcome)
    assert bench.client.nonces == [0, 1, 0]
    (first, _), _, (again, _) = bench.client.submitted
    assert first.raw != again.raw
    assert first.transaction.arguments == again.transaction.arguments
    assert bench.verdicts == []


def test_the_chain_s_used_nonces_are_skipped() -> None:
    """The key asked for its meters before: the first request takes the next nonce and follows that one."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper(base=3))
    measure(gateway, 1)
    ((signed, _waiter),) = bench.client.submitted
    assert (signed.transaction.nonce, signed.transaction.follows) == (3, 2)


def test_a_nonce_that_was_used_elsewhere_costs_no_reading() -> None:
    """Another transaction of the key took it: ours never runs, and its readings leave again under the next nonce."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1, 2)
    used_elsewhere = make_receipt(bench.client.submitted[0][0], "ok", "", [])._replace(tx_id=b"e" * 32)
    bench.client.answer(
        0,
        lambda signed: Rejected(
            tx_id=signed.tx_id,
            code="NONCE_USED",
            reply=make_reply(used_elsewhere),
            receipt=used_elsewhere,
            vouched_by=(0, 1),
        ),
    )
    assert bench.client.nonces == [0, 1, 2]
    first, _, again = [signed.transaction for signed, _waiter in bench.client.submitted]
    assert first.arguments == again.arguments and gateway.backlog == 2


def test_a_restart_sends_the_very_same_transactions() -> None:
    """Power fails with two requests on their way: after the restart the same bytes leave, and then what came later."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1, 2)
    before = [signed.raw for signed, _waiter in bench.client.submitted]
    bench.store = bench.store.after_power_loss()
    bench.client = FakeClient(expiry_height=500)
    restarted = bench.open()
    restarted.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(restarted, 3)
    assert [signed.raw for signed, _waiter in bench.client.submitted][:2] == before
    assert bench.client.nonces == [0, 1, 2]


def test_a_transaction_that_failed_as_a_whole_is_reported_with_its_code() -> None:
    """It judged no reading: the caller hears the code, and each of its readings counts under it."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1)
    bench.client.answer(0, rejected("out_of_gas", "OUT_OF_GAS"))
    assert [(verdict.failure, verdict.codes) for verdict in bench.verdicts] == [("OUT_OF_GAS", ())]
    assert gateway.codes == {"OUT_OF_GAS": 1}


def test_a_store_that_fails_stops_the_gateway_aloud() -> None:
    """What cannot be made durable is not sent, and the owner hears why."""
    bench = Bench(in_flight_max=1)
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1, 2)
    bench.store.fail_writes("disk")
    bench.client.answer(0, committed("accepted"))
    assert [failure.value.code for failure in bench.failures] == ["disk"]
    assert bench.client.nonces == [0]


def test_a_receipt_with_another_number_of_verdicts_is_refused() -> None:
    """A result that is not one code per reading is no verdict."""
    bench = Bench()
    gateway = bench.open()
    gateway.start()
    bench.client.ready_when.callback(NonceKeeper())
    measure(gateway, 1)
    bench.client.answer(0, committed("accepted", "accepted"))
    assert len(bench.failures) == 1 and bench.verdicts == []


def test_gas_grows_with_the_readings_up_to_the_limit() -> None:
    """A request of any size that the contracts take fits one transaction."""
    assert compute_gas_limit(1) < compute_gas_limit(10) < compute_gas_limit(40) <= GAS_MAX
    assert compute_gas_limit(1, 2) > compute_gas_limit(2)
    assert ENTRY_BATCHES_MAX * GAS_BASE + ENTRY_PLACES_MAX * GAS_PER_READING <= GAS_MAX  # so the limit cuts nothing off


def test_verdicts_are_read_from_the_receipt() -> None:
    """One code per reading, in order; places without a reading have none."""
    signed = Account(KEY, network=NETWORK).sign(
        "readings", "submit", [[]], nonce=0, expiry_height=1, expiry_time=1, gas_limit=1
    )
    receipt = make_receipt(signed, "ok", "", ["accepted", "", "future"])
    meters = {number: (f"m{number}", "load", 0) for number in range(3)}
    batch, _ = GroupChain.begin(NETWORK, "m0", HOUR, meters).append(HOUR, {"m0": 1, "m2": 2})
    assert parse_verdicts(receipt, [batch]) == ("accepted", "future")


def test_a_chain_begins_for_each_group_of_a_gateway() -> None:
    """Meters stand at the places that the chain of blocks gave them, whatever their order in the series."""
    columns = [MeterColumn(meter=f"m{number}", home="a", kind="load") for number in range(3)]
    places = {
        "m0": Place(group="g", number=2),
        "m1": Place(group="h", number=0),
        "m2": Place(group="g", number=0),
    }
    one, other = begin_chains(NETWORK, columns, places, HOUR)
    assert (one.group, one.meters, one.sequences) == ("g", ("m2", "", "m0"), (0, 0, 0))
    assert (other.group, other.meters) == ("h", ("m1",))
