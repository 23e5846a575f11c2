"""What the client library raises. Outcomes of transactions are values, not errors."""
# the names say what happened; a suffix would add nothing


class ClientError(Exception):
    """Anything the client library reports; `code` is stable, lower case."""

    code = "client"


class InvalidNetworkDirectory(ClientError):
    """The data directory does not hold a network that a client can use."""

    code = "invalid_network_directory"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class WindowFull(ClientError):
    """An account has as many transactions outstanding as the nonce window allows (D45)."""

    code = "window_full"

    def __init__(self, base: int, window: int) -> None:
        super().__init__(f"nonces {base}..{base + window - 1} are all in use or in flight; wait for the oldest")
        self.base = base
        self.window = window


class NotVouched(ClientError):
    """Fewer than W replicas gave an equal answer in time. `answers` says who said what."""

    code = "not_vouched"

    def __init__(self, wanted: int, answers: tuple[tuple[int, str], ...]) -> None:
        said = ", ".join(f"r{replica}: {text}" for replica, text in answers) or "nobody answered"
        super().__init__(f"{wanted} equal answers needed; {said}")
        self.wanted = wanted
        self.answers = answers


class QueryFailed(ClientError):
    """The view ran and failed, the same on every replica that vouches for it."""

    code = "query_failed"

    def __init__(self, contract: str, method: str, reason: str) -> None:
        super().__init__(f"{contract}.{method}: {reason}")
        self.reason = reason


class NoProof(ClientError):
    """No replica gave a proof that verifies. `reasons` names each replica's."""

    code = "no_proof"

    def __init__(self, subject: str, reasons: tuple[tuple[int, str], ...]) -> None:
        said = ", ".join(f"r{replica}: {text}" for replica, text in reasons) or "nobody answered"
        super().__init__(f"no proof of {subject}: {said}")
        self.reasons = reasons


class Unreachable(ClientError):
    """No answer from enough replicas within the caller's time."""

    code = "unreachable"


class TooManyWaiting(ClientError):
    """The client has as many transactions outstanding as it keeps."""

    code = "too_many_waiting"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} transactions are outstanding already")
        self.limit = limit
