"""What must happen: the reference model of AArch64 software step. Plain Python and numpy."""
