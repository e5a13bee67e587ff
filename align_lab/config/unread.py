"""Fields that were typed and that no run of a command reads: whoever typed them expects something else to happen."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig


def refuse(runs: Sequence[RunConfig], typed: Collection[str]) -> None:
    """Raises ConfigError for a learning rate of a critic where no run has one. `typed`: the fields of the command."""
    if "train.critic_lr" not in typed:
        return
    algorithms = {str(run["algo"]): run for run in runs}
    if any(run.algo.needs.critic is not None for run in algorithms.values()):
        return
    first = runs[0]
    raise ConfigError(
        f"train.critic_lr={first['train']['critic_lr']}: algo={first['algo']['name']} has no critic that could learn "
        "with it. Leave it out (train.lr is the learning rate of the policy), or choose an algorithm with a critic, "
        "for example algo=ppo"
    )
