"""What a run has learned: its policy at a step that was kept, beside the policy it started from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.base.paths import cache_folder
from align_lab.base.settings import Sampling
from align_lab.base.task import TRAIN, DataSet, Example, Message
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
    instruction: str  # of the data, for a chat model whose prompts are texts
    opening: tuple[Message, ...] | None  # turns before the user's, where prompts are conversations; None: texts

    @property
    def converses(self) -> bool:
        """Are its prompts conversations, rather than texts that it continues?"""
        return self.opening is not None

    def complete(self, prompt: str, *, temperature: float | None, seed: int) -> list[tuple[str, str]]:
        """(name, completion) of the start policy and of the trained one, with the same random numbers."""
        asked = prompt if self.opening is None else (*self.opening, Message("user", prompt))
        example = Example(key="", prompt=asked)
        return [
            (name, self._complete(policy, example, temperature, seed))
            for name, policy in (("start", self.start), ("trained", self.policy))
        ]

    def _complete(self, policy: Policy, example: Example, temperature: float | None, seed: int) -> str:
        """One completion, at the run's temperature unless another one is given (0: the likeliest token)."""
        prompts = Prompts.of(policy, [example], self.sampling, instruction=self.instruction)
        ids, _ = prompts.batch([0])
        numbers = uniforms(seed, 0, [0], 1, self.sampling.max_new_tokens)
        samples = sample(
            policy.model,
            ids,
            None,
            uniforms=numbers,
            temperature=self.sampling.temperature if temperature is None else temperature,
            top_p=self.sampling.top_p,
            eos=policy.eos,
        )
        return prompts.completions(samples)[0]


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
    artefacts = {name: cache_folder() / "artefacts" / folder for name, folder in described["artefacts"].items()}
    model, data = registry.build("model", values["model"]), registry.build("data", values["data"])
    start, policy = (model.load(artefacts["policy"]) for _ in range(2))
    load_weights(policy.model, checkpoints.load(wanted)["learner"]["policy"]["model"])
    return Trained(
        wanted,
        policy,
        start,
        sampling=registry.construct(Sampling, values["sampling"]),
        instruction=data.instruction,
        opening=_opening(data.load(artefacts["data"])),
    )


def _opening(data: DataSet) -> tuple[Message, ...] | None:
    """What comes before the user's first turn in the first example (a system message); None where prompts are texts."""
    prompt = data.examples(TRAIN)[0].prompt
    if isinstance(prompt, str):
        return None
    return tuple(takewhile(lambda message: message.role != "user", prompt))
