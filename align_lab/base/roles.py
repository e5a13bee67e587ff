"""The role of each config field in a comparison."""

from __future__ import annotations

from functools import cache
from typing import Literal

Role = Literal["setting", "recipe", "budget", "none"]

ROLES: tuple[tuple[str, Role], ...] = (  # the first matching prefix decides
    ("study", "none"),
    ("arm", "none"),
    ("hang_minutes", "none"),
    ("plugins", "none"),
    ("record", "none"),
    ("hardware.placement", "none"),
    ("hardware.vllm.tensor_parallel", "setting"),  # it changes the order of sums
    ("hardware.vllm.eager", "setting"),
    ("hardware.vllm", "none"),
    ("algo", "recipe"),
    ("preferences", "recipe"),  # only arms without samples of their own use it, and they pay for it
    ("train.steps", "budget"),
    ("train.budget", "budget"),
    ("train.micro_batch", "none"),  # memory only
    ("train.scoring_batch", "none"),
    ("train", "recipe"),
    ("", "setting"),
)

SERVICE = (  # fields of a reward that say how its service is reached, and not what it is asked
    "key_env",
    "connection.concurrency",
    "connection.timeout",
    "connection.retries",
    "connection.longest_wait",
    "connection.allow_http",
)


@cache
def role(key: str) -> Role:
    """setting: equal between arms; recipe: may differ and is listed; budget: is charged; none: changes no result."""
    if key.startswith(("reward.", "evaluation.judges.")) and key.endswith(tuple(f".{name}" for name in SERVICE)):
        return "none"
    return next(role for prefix, role in ROLES if not prefix or key == prefix or key.startswith(f"{prefix}."))
