"""What each process of a run on two pretended GPUs does. It is imported by its name."""

from __future__ import annotations

from align_lab.base import registry
from align_lab.base.run_config import RunConfig
from align_lab.run import experiment
from tests.cuda.pretended import pretended_cuda
from tests.wiring.parts import COMPONENTS


def train_on_one_of_two(cfg: RunConfig) -> int:
    """The life of one process."""
    registry.scan()
    registry._components.update(COMPONENTS)
    with pretended_cuda(gpus=2):
        return experiment.run(cfg)
