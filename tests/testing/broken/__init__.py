"""Components that each break one clause of the contract of their kind, and sound ones. Importing them imports no torch.

They join the registry in the tests of this folder alone (`conftest.py`).
"""
