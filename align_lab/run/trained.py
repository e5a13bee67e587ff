"""The trained policy of a run, loaded from a checkpoint, and its start policy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from align_lab.base import registry
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.settings import Sampling
from align_lab.base.task import TRAIN, DataSet, Example, Message, PromptForm
from align_lab.config import recorded, trust
from align_lab.models.policy import Policy
from align_lab.record import records
from align_lab.record.folder import read_config
from align_lab.record.layout import RunLayout
from align_lab.rollout.prompts import Prompts
from align_lab.rollout.sampler import uniforms
from align_lab.rollout.torch_sampler import sample
from align_lab.stages.store import shared
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.engines.engine import load_weights


@dataclass(frozen=True)
class Trained:
    """A run's policy after `step`, and its start policy."""

    step: int
    policy: Policy
    start: Policy
    sampling: Sampling
    form: PromptForm  # of the data's prompts
    opening: tuple[Message, ...] | None  # turns before the user's, if prompts are conversations; None: they are texts

    @property
    def converses(self) -> bool:
        """Does it answer, instead of continuing the text?"""
        return self.opening is not None or (self.form.chat == "answer" and self.policy.text.template is not None)

    def complete(self, prompt: str, *, temperature: float | None, seed: int) -> list[tuple[str, str]]:
        """(name, completion) of the start policy and of the trained policy, sampled with the same random numbers.

        `temperature`: None is that of the run, 0 is greedy decoding.
        """
        conversation = prompt if self.opening is None else (*self.opening, Message("user", prompt))
        example = Example(key="", prompt=conversation)
        return [
            (name, self._complete(policy, example, temperature, seed))
            for name, policy in (("start", self.start), ("trained", self.policy))
        ]

    def _complete(self, policy: Policy, example: Example, temperature: float | None, seed: int) -> str:
        prompts = Prompts.of(policy, [example], self.sampling, form=self.form)
        ids, _ = prompts.batch([0])
        random_numbers = uniforms(seed, 0, [0], 1, self.sampling.max_new_tokens)
        samples = sample(
            policy.model,
            ids,
            None,
            uniforms=random_numbers,
            temperature=self.sampling.temperature if temperature is None else temperature,
            top_p=self.sampling.top_p,
            eos=policy.eos,
        )
        return prompts.completions(samples)[0]


def begun(path: Path) -> dict[str, Any]:
    """The manifest of a run. Raises ConfigError if it has not started to train, DataError if it is damaged."""
    layout = RunLayout(path)
    if not layout.manifest.exists():
        raise ConfigError(f"{path} has not started to train, so there is no policy to load. Run its command again")
    return records.manifest(path)


def checkpoint_step(path: Path, checkpoint: str) -> int:
    """The step of a run's checkpoint: `last`, `best` or a number. Raises ConfigError if there is none of that step."""
    checkpoints = Checkpoints(RunLayout(path).checkpoints)
    steps = checkpoints.steps()
    by_name = {"last": steps[-1] if steps else None, "best": checkpoints.best()}
    step = by_name.get(checkpoint, int(checkpoint) if checkpoint.isdecimal() else None)
    if step is None or step not in steps:
        allowed = ", ".join(["last", "best", *map(str, steps)]) if steps else "none, the run has saved no checkpoint"
        raise ConfigError(f"{path} has no checkpoint {checkpoint!r}; allowed: {allowed}")
    return step


def load_trained(path: Path, checkpoint: str, *, trusted: bool = False) -> Trained:
    """The policy of a run folder at its `last` step, its `best` step or a given one.

    Raises ConfigError when there is no checkpoint of that step, and for a config of somebody else that would execute
    something and is not `trusted`; DataError for stages that are not the run's.
    """
    values = config_of(path, trusted=trusted)
    checkpoints = Checkpoints(RunLayout(path).checkpoints)
    step = checkpoint_step(path, checkpoint)
    artefacts = _stages(path)
    model, data = registry.build("model", values["model"]), registry.build("data", values["data"])
    start, policy = (model.load(artefacts["policy"]) for _ in range(2))
    load_weights(policy.model, checkpoints.load(step)["learner"]["policy"]["model"])
    return Trained(
        step,
        policy,
        start,
        sampling=registry.construct(Sampling, values["sampling"]),
        form=data.prompt_form,
        opening=_opening(data.load(artefacts["data"])),
    )


def config_of(path: Path, *, trusted: bool) -> dict[str, Any]:
    """The config of a run, whose components are registered now. Raises ConfigError for what is not to be trusted."""
    values = read_config(path)
    registry.scan()
    trust.require(values, str(path), trusted=trusted)
    return recorded.complete(values, str(path))


def _stages(path: Path) -> dict[str, Path]:
    """The folders of data and start policy. Raises DataError where they are not what the run was trained with."""
    manifest = begun(path)
    folders: dict[str, Path] = {}
    for name in ("data", "policy"):
        stage, content = str(manifest.get("artefacts", {}).get(name)), manifest["hashes"].get(name)
        if not re.fullmatch(r"\w+-[0-9a-f]+", stage) or not shared().has(stage):
            raise DataError(f"{path}: its {name} {stage!r} is not in the cache. Run its command again to build it")
        built = shared().open(stage)
        if built.content != content:
            raise DataError(f"{path}: its {name} {stage} is {content}, and the one in the cache is {built.content}")
        folders[name] = built.path
    return folders


def _opening(data: DataSet) -> tuple[Message, ...] | None:
    """The turns before the user's first one in the first example (a system message); None if prompts are texts."""
    prompt = data.examples(TRAIN)[0].prompt
    if isinstance(prompt, str):
        return None
    return tuple(takewhile(lambda message: message.role != "user", prompt))
