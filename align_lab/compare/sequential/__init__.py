"""Studies that take their seeds in steps: the bounds of each look, and what the looks have decided."""
