"""Contracts to learn from: text for the contract engine, never imported, and deployed by nobody but their tests.

Each is one idea in one sitting, says what it promises as `@invariant`, and has its tests in `tests/contracts/examples`.
"""
