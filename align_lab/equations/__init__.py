"""The mathematics as pure functions of tensors.

The package is lazy: torch is imported at the first use of a function, so an algorithm's schema can be read without it.

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
    from align_lab.equations.self_labeling import *  # noqa: F403
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
    "self_labeling",
    "diagnostics",
)


def __getattr__(name: str) -> Any:
    """Import every module at the first access of a function, and return that function."""
    if name.startswith("_") or name in MODULES:  # Python's import machinery asks for dunders and for the modules
        raise AttributeError(name)
    functions: dict[str, Any] = {}
    for module_name in MODULES:
        module = importlib.import_module(f"{__name__}.{module_name}")
        defined = (item for item in vars(module).values() if getattr(item, "__module__", "") == module.__name__)
        functions |= {item.__name__: item for item in defined}
    if name not in functions:
        raise AttributeError(f"align_lab.equations has no {name!r}; it has {', '.join(sorted(functions))}")
    globals().update(functions)
    return functions[name]
