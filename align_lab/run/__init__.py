"""One run, from its config to its record: assembly, processes, device, journal, watchdog."""
