"""The operators of a local network vote: `operators.py DIRECTORY DOCUMENT_HEX REPLICA...`, each with its own key.

A program of its own, because the blocking client runs a reactor, and the tests have one already.
"""

import sys
import time
from pathlib import Path

from ledger.configuration import parse_configuration
from pbft.client import Client
from pbft.client.account import Account
from pbft.core.client_session import Committed
from pbft.node.identity import read_operator_key, read_passphrase
from pbft.node.local_network import read_network


def vote(directory: Path, document: bytes, replica_ids: list[int]) -> int:
    """One vote of each operator, seen through: the height of the last. AssertionError where one is not committed."""
    height = 0
    network = read_network(directory)
    network_id = network.network_id
    epoch = parse_configuration(document, network_id).epoch
    with Client.open(directory) as client:
        for replica_id in replica_ids:
            replica = network.replica(replica_id)
            key = read_operator_key(replica.keys_path, passphrase=read_passphrase(replica.passphrase_path))
            signed = Account(key, network=network_id).sign(
                "governance",
                "vote",
                [document],
                nonce=epoch - 1,  # each operator's first vote in each epoch
                expiry_height=1_000,
                expiry_time=int(time.time()) + 3_600,
                gas_limit=1_000_000,
            )
            outcome = client.submit_signed(signed)
            assert isinstance(outcome, Committed), outcome
            height = outcome.reply.height
    return height


if __name__ == "__main__":
    print(vote(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), [int(argument) for argument in sys.argv[3:]]))
