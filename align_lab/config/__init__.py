"""From overrides to checked runs: schema, composition, validation, signature, and the runs that one command asks for."""
