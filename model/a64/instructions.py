"""The instruction set: A64's integer instructions, one row an encoding (manual C4, C6).

A row's build function takes the diagram's fields by name, works out all that the word alone
decides, and returns the operation on the state. To add an instruction, add its row in the module
of its group.

CONSTRAINED UNPREDICTABLE uses are Reserved; a word whose should-be-one bits are not all 1 is of no
row. Not here: Advanced SIMD and floating point, SVE, and what came after Armv8.0 (atomics, CRC32,
pointer authentication, tags).
"""

from model.a64 import branches, data_processing, loads_stores, system
from model.a64.decode import Row

#: No two rows match one word.
ROWS: tuple[Row, ...] = (
    *data_processing.ROWS,
    *branches.ROWS,
    *system.ROWS,
    *loads_stores.ROWS,
)
