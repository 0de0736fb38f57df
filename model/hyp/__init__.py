"""The hypervisor's side: what runs at EL2 just before a guest does, as source and machine code."""


class SequenceError(Exception):
    """A file that gives no usable sequence. The text is one line: which file, what, the mend."""
