"""How a minibatch is cut into forward passes: whole groups, parts of equal size. It cannot change the mathematics.

Losses are normalised by the counts of the whole minibatch (`update.py`), so only memory and speed depend on it.
"""

from __future__ import annotations

import math


def sizes(groups: int) -> list[int]:
    """Groups of a forward pass that cut `groups` into 1, 2, 3, ... parts of equal size, the largest first."""
    return list(dict.fromkeys(math.ceil(groups / parts) for parts in range(1, groups + 1)))


def is_out_of_memory(error: BaseException) -> bool:
    """Did torch find no memory? On a processor it says so in words only."""
    from torch import OutOfMemoryError

    return isinstance(error, OutOfMemoryError) or "can't allocate memory" in str(error)
