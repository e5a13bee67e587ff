"""Random streams: a purpose and a key of integers name one stream, and no two names share a stream.

numpy's own keys are padded with zeros, so that the streams of [3, 7] and [3, 7, 0] are equal; here the name is hashed.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(purpose: str, *key: int) -> np.random.Generator:
    """The generator of this purpose and key. The same name always gives the same numbers."""
    name = ":".join([purpose, *map(str, key)])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16]))
