"""The standard contracts: sources loaded as text, never imported."""
