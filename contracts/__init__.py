"""The contracts room: a deterministic, metered subset of Python, and what runs it."""
