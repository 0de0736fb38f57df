"""What does happen: the software step unit in Amaranth, synthesizable.

Of the reference model only `model.arch` (the encodings) is imported here, so that the hardware
cannot borrow the reference's logic.
"""
