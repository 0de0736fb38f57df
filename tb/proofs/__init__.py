"""Proofs: what holds for every input, not for many. `python -m tb.prove` runs them."""
