"""The bench of guest debugging: guests, hosts, and what user space does with them."""
