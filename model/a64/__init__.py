"""The reference interpreter for A64 machine code, and the reference PE, on plain Python ints."""


class A64Error(Exception):
    """A word that cannot be executed as the manual defines it. The text says why and where."""
