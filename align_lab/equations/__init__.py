"""The mathematics, as pure functions of tensors.

A lazy package: torch is loaded at the first use of a function, so an algorithm's schema can be read without it.

    from align_lab import equations as eq
    eq.leave_one_out(score)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from align_lab.equations.baselines import *  # noqa: F403
    from align_lab.equations.diagnostics import *  # noqa: F403
    from align_lab.equations.divergences import *  # noqa: F403
    from align_lab.equations.masks import *  # noqa: F403
    from align_lab.equations.moments import *  # noqa: F403
    from align_lab.equations.preference_losses import *  # noqa: F403
    from align_lab.equations.returns import *  # noqa: F403
    from align_lab.equations.reward_shaping import *  # noqa: F403
    from align_lab.equations.surrogates import *  # noqa: F403

MODULES = (
    "masks",
    "baselines",
    "returns",
    "divergences",
    "moments",
    "reward_shaping",
    "surrogates",
    "preference_losses",
    "diagnostics",
)


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name in MODULES:  # Python's own questions, and the modules themselves
        raise AttributeError(name)
    known = {}
    for module_name in MODULES:
        module = importlib.import_module(f"{__name__}.{module_name}")
        own = (thing for thing in vars(module).values() if getattr(thing, "__module__", "") == module.__name__)
        known |= {thing.__name__: thing for thing in own}
    if name not in known:
        raise AttributeError(f"align_lab.equations has no {name!r}; it has {', '.join(sorted(known))}")
    globals().update(known)
    return known[name]
