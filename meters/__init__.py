"""The meters room: from a meter's bytes to a signed reading on the ledger."""
