"""The in-order A64 core around the step unit, cut by what an instruction meets on its way."""
