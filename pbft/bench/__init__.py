"""What a network costs on this machine, and how near that is to what its primitives cost: `gridquorum bench`.

    result = run_bench(BenchOptions(workload="transfer", seconds=10.0), say)

Everything that is measured is the product: replicas are processes of `gridquorum run` with their contract workers, TLS
on, every write synced, every client's signature checked at every replica, contracts metered, a state root per block.
There is no switch for any of it here, because there is none in the product. Modules: `options` (what can be asked),
`limit` (the primitives), `workload` (what is sent), `load` (who sends it), `gauge` (what it cost), `faults`, `run`.
"""
