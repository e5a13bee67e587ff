"""What every package may use: records and contracts, the registry, errors, paths, files, leases, signals."""
