"""Which algorithm is better: first whether the runs may be compared at all, then by how much."""
