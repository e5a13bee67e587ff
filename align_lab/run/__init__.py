"""One run from config to record: assembly, processes, device, journal."""
