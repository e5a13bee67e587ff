"""Other programs' configs, translated into our fields: what is equal, what differs, and what no config can say.

The tables of `programs/` are data: which of their fields is which of ours, with its source and its default by version.
"""
