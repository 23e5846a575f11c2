"""The ledger room: vocabulary and data. Encoding, keys, transactions, blocks, world state, storage and proofs."""
