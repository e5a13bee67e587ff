"""How a minibatch is split into micro-batches: whole groups, parts of equal size.

Losses are normalized by the counts of the whole minibatch (`update.py`), so only memory use and speed depend on it.
"""

from __future__ import annotations

import math


def sizes(groups: int) -> list[int]:
    """Groups per micro-batch that split `groups` into 1, 2, 3, ... parts of equal size, the largest first."""
    return list(dict.fromkeys(math.ceil(groups / parts) for parts in range(1, groups + 1)))
