"""What a field of the config means for a comparison."""

from __future__ import annotations

from typing import Literal

Role = Literal["setting", "recipe", "budget", "none"]

ROLES: tuple[tuple[str, Role], ...] = (  # the first prefix that fits decides
    ("study", "none"),
    ("arm", "none"),
    ("hang_minutes", "none"),
    ("plugins", "none"),
    ("record", "none"),
    ("hardware.placement", "none"),
    ("hardware.vllm.tensor_parallel", "setting"),  # the order of sums
    ("hardware.vllm.eager", "setting"),
    ("hardware.vllm", "none"),
    ("algo", "recipe"),
    ("preferences", "recipe"),  # only arms without samples of their own use it, and they pay for it
    ("train.steps", "budget"),
    ("train.budget", "budget"),
    ("train.micro_batch", "none"),  # memory only
    ("train", "recipe"),
    ("", "setting"),
)


def role(key: str) -> Role:
    """setting: must be equal between arms; recipe: may differ, is listed; budget: is charged; none: cannot change a result."""
    return next(role for prefix, role in ROLES if not prefix or key == prefix or key.startswith(f"{prefix}."))
