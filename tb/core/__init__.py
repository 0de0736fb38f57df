"""The bench of the core: memory around it, lockstep with the reference, failures in full."""
