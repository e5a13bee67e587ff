"""What every package may import: data types, contracts, the registry, errors, paths, files, leases, signals."""
