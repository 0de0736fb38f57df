"""Programs for the core: boot at EL3, the loop at EL2, guests, and the loader of a user's own."""


class ProgramError(Exception):
    """A program that cannot be built or loaded. The text is one line: which, what, the mend."""
