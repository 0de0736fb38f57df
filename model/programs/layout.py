"""Where programs are in RAM."""

from model.arch import RESET_VECTOR

BOOT_BASE = RESET_VECTOR
HYPERVISOR_BASE = 0x4008_0000  #: code, data, and the stack of EL2
GUEST_BASE = 0x4010_0000  #: from here on: guests, and a user's own program
