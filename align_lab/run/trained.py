"""What a run has learned: its policy at a step that was kept, beside the policy it started from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.base.paths import cache_folder
from align_lab.base.settings import Sampling
from align_lab.base.task import Example
from align_lab.models.policy import Policy
from align_lab.record.folder import read_config
from align_lab.record.layout import RunLayout
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import uniforms
from align_lab.rollout.torch_sampler import sample
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.engines.engine import load_weights


@dataclass(frozen=True)
class Trained:
    """A run's policy after one of its steps, and the policy it started from."""

    step: int
    policy: Policy
    start: Policy
    sampling: Sampling

    def complete(self, prompt: str, *, temperature: float | None, seed: int) -> list[tuple[str, str]]:
        """(name, completion) of the start policy and of the trained one, with the same random numbers."""
        return [
            (name, complete(policy, prompt, self.sampling, temperature=temperature, seed=seed))
            for name, policy in (("start", self.start), ("trained", self.policy))
        ]


def load_trained(path: Path, checkpoint: str) -> Trained:
    """The policy of a run folder at its last, its best, or a given step. Raises ConfigError for a step that was not kept."""
    if not RunLayout(path).manifest.exists():
        raise ConfigError(f"{path} has not begun to train, so there is no policy to load. Run its command again")
    described = json.loads(RunLayout(path).manifest.read_text())
    values = read_config(path)
    registry.scan(tuple(values["plugins"]))
    checkpoints = Checkpoints(RunLayout(path).checkpoints)
    kept = checkpoints.steps()
    wanted = {"last": kept[-1] if kept else None, "best": checkpoints.best()}.get(
        checkpoint, int(checkpoint) if checkpoint.isdecimal() else None
    )
    if wanted not in kept:
        raise ConfigError(
            f"{path} has no checkpoint {checkpoint!r}: it kept {', '.join(['last', 'best', *map(str, kept)]) if kept else 'none'}"
        )
    model = registry.build("model", values["model"])
    start, policy = (model.load(cache_folder() / "artefacts" / described["artefacts"]["policy"]) for _ in range(2))
    load_weights(policy.model, checkpoints.load(wanted)["learner"]["policy"]["model"])
    return Trained(wanted, policy, start, registry.construct(Sampling, values["sampling"]))


def complete(policy: Policy, prompt: str, sampling: Sampling, *, temperature: float | None, seed: int) -> str:
    """One completion of one prompt, at the run's temperature unless another one is given (0: the likeliest token)."""
    prompts = Prompts.of(policy, [Example.of_text(prompt)], sampling)
    ids, _ = prompts.batch([0])
    numbers = uniforms(seed, 0, [0], 1, sampling.max_new_tokens)
    return prompts.completions(
        sample(
            policy.model,
            ids,
            None,
            uniforms=numbers,
            temperature=sampling.temperature if temperature is None else temperature,
            top_p=sampling.top_p,
            eos=policy.eos,
        )
    )[0]
