"""The core: programs on it, each row of the retire trace held against the reference."""
