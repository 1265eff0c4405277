"""The release ledger: what was live together, what is known to be good, what changed."""
