"""Config: its schema, its composition and validation, and the runs that one command asks for."""
