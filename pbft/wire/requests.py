"""A client's transaction as the core's Request: parsed once on each way that it comes, and kept parsed if small."""

from typing import Final

from contracts.code import find_source
from ledger.errors import LedgerError
from ledger.payload import verify_payload
from ledger.transaction import SignedTransaction, parse_transaction
from pbft.core.messages import Request
from pbft.wire.limits import WireError, WireRules

KEPT_ARGUMENTS_MAX: Final = 16  # of a transaction that is kept parsed: a transfer has two
KEPT_BYTES_MAX: Final = 1_024  # of the same; its parts take about twice that
_SCALARS: Final = frozenset({bool, int, str, bytes, type(None)})


def parse_request(raw: bytes, rules: WireRules, payload: bytes | None = None) -> Request:
    """A signed transaction as the core's Request: limits, network and payload checked, its signature not (D42).

    All that is judged lies in the bytes, so every replica judges a proposal alike. `payload` is the private payload
    that came beside the transaction; with None, one that declares commitments makes a request without it (D50).
    """
    return parse_payload(parse_signed(raw, rules), payload)


def parse_signed(raw: bytes, rules: WireRules) -> SignedTransaction:
    """A signed transaction of this network, within its limits. WireError."""
    try:
        signed = parse_transaction(raw)
    except LedgerError as error:
        raise WireError("bad_transaction", str(error)) from None
    if signed.transaction.network != rules.network:
        raise WireError("wrong_network", f"expected {rules.network.hex()}, got {signed.transaction.network.hex()}")
    return signed


def parse_payload(signed: SignedTransaction, payload: bytes | None) -> Request:
    """The transaction with the private payload that came beside it, None for none, as a Request. WireError."""
    if payload is None and not signed.transaction.commitments:
        payload = b""
    if payload is not None:
        try:
            verify_payload(signed, payload)
        except LedgerError as error:
            raise WireError("bad_payload", str(error)) from None
    return make_request(signed, payload)


def make_request(signed: SignedTransaction, payload: bytes | None) -> Request:
    """The transaction and its verified payload as the core knows them; what was parsed stays with it where it is small.

    A hostile transaction's values may take seventy times its bytes, and thousands of requests wait at once.
    """
    transaction = signed.transaction
    arguments = transaction.arguments
    is_small = len(arguments) <= KEPT_ARGUMENTS_MAX and all(type(value) in _SCALARS for value in arguments)
    return Request(
        client=transaction.sender,
        nonce=transaction.nonce,
        tx_id=signed.tx_id,
        expiry_height=transaction.expiry_height,
        gas_limit=transaction.gas_limit,
        raw=signed.raw,
        has_code=find_source(transaction.contract, transaction.method, arguments) is not None,
        payload=payload,
        signed=signed if is_small and len(signed.raw) <= KEPT_BYTES_MAX else None,
    )
