"""The ledger of claims: what the papers say, and what records decide of it, by rules that stand in a file."""
