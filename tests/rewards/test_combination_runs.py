"""A whole run whose reward holds others, one of them trained, and whose judge holds the same trained one."""

import pytest

from tests.outside.conftest import SUMS, lab, own_cache, own_lab

__all__ = ["lab", "own_cache", "own_lab"]  # fixtures

PLUGIN = """
import json
from dataclasses import dataclass
from typing import ClassVar

from align_lab.base.contracts import Reward
from align_lab.base.registry import param, register
from align_lab.base.task import Score

@register("reward", "counted")
@dataclass(frozen=True, kw_only=True)
class Counted(Reward):
    share: float = param(0.5, "of the number of training examples")
    trained: ClassVar = True
    on_gpu: ClassVar = False

    def build(self, folder, given):
        (folder / "number.json").write_text(json.dumps(self.share * len(given.data.examples("train"))))

    def load(self, folder):
        number = json.loads((folder / "number.json").read_text())

        class Scorer:
            def score(self, examples, completions):
                return Score(total=[number for _ in completions])

        return Scorer()
"""
RUN = [field for field in SUMS if not field.startswith(("reward=", "plugins="))]
RUN += ["plugins=[small_tasks,counting]", "reward=weighted", "data.training=64", "model.sft.epochs=1"]
RUN += ["evaluation.sets=[same]", "evaluation.prompts=8", "train.steps=2", "algo=reinforce_pp"]


def test_a_trained_reward_inside_others_is_built_once_and_each_part_is_logged(own_lab):
    (own_lab.folder / "counting.py").write_text(PLUGIN)
    parts = [
        "reward.of.right={name:right_answer,weight:2}",
        "reward.of.counted=counted",
        "reward.of.steps={name:process,separator:' +',of:{name:length,count:characters,longest:1,margin:4}}",
        "evaluation.judges.noisy={name:noise,sd:0.1,of:counted}",
    ]
    own_lab(*RUN, *parts, "study=parts")
    artefacts = own_lab.manifest("parts")["artefacts"]
    assert artefacts["reward.counted"] == artefacts["judges.noisy.reward"] and "reward" not in artefacts
    last = own_lab.rows("parts")[-1]
    assert last["reward/counted"] == 32.0 and last["reward/steps"] <= 0.0
    assert last["objective/scores"] == pytest.approx(
        2 * last["reward/right"] + 32 + last["reward/steps"] - (1 - last["val/num_eos_tokens"] / 16), abs=1e-4
    )
    noise = [row["noisy"] - 32 for row in own_lab.samples("parts")]
    assert 0 < max(map(abs, noise)) < 1 and len(set(noise)) > 4
