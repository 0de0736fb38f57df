"""Holds the hardware against the reference model, and shows the cycle where they part."""
