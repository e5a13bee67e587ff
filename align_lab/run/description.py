"""The content of a run's manifest: everything that a comparison, or a reader in a year, needs to know."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch

from align_lab.base.metrics import of_task
from align_lab.base.run_config import RunConfig, leaves
from align_lab.models.lora import is_adapted
from align_lab.models.transformer import Transformer
from align_lab.preflight import Memory
from align_lab.record import differences, manifest
from align_lab.record.accelerator import accelerator
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.stages.judge_quality import of_stages
from align_lab.stages.store import Artefact
from align_lab.train.evaluate import Evaluator
from align_lab.train.loop import Loop

UNTIL = ".until_step_"  # in the name of the hash of something that was exchanged during the run


def describe(
    cfg: RunConfig,
    built: Mapping[str, Artefact],
    loop: Loop,
    memory: Memory,
    *,
    best_step: int | None,
    earlier: Mapping[str, str],
) -> dict[str, Any]:
    """The manifest of a run at its current step.

    `built`: its artefacts by the name of their stage; `earlier`: hashes of what earlier steps used (`earlier_hashes`).
    """
    progress = loop.progress
    return {
        "signature": cfg.signature,
        "seed": cfg.seed,
        "choices": dict(cfg.choices),
        "config": dict(leaves(cfg.values)),
        "metrics": _metrics(cfg, built),
        "hashes": content_hashes(cfg, built, loop) | dict(earlier),
        "artefacts": {name: f"{artefact.kind}-{artefact.key}" for name, artefact in built.items()},
        "code": manifest.code(),
        "versions": manifest.versions(),
        "machine": manifest.machine() | accelerator(),
        "spent": {
            "episodes": progress.episode,
            "tokens": progress.tokens,
            "labels": progress.labels,
            "preference_pairs": progress.labels if cfg.uses_data_pairs else 0,
            "device_seconds": round(progress.seconds, 3),
            "flops": progress.flops,
            "peak_memory_gib": manifest.peak_memory(),
            **({"scoring": loop.meter.totals} if loop.meter.totals else {}),
        },
        "memory": memory.record(manifest.peak_memory(), _batches(loop)),
        "best_step": best_step,
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _metrics(cfg: RunConfig, built: Mapping[str, Artefact]) -> dict[str, dict[str, Any]]:
    """What each metric of this task means, how good the trained judge is that gives it, and a doubt of that judge."""
    judges = of_stages({stage: at.path for stage, at in built.items()})
    words = {name: {"judge": one.words, "doubt": one.doubt} for name, one in judges.items()}
    unknown = {"judge": "", "doubt": ""}
    return {name: {**asdict(metric), **words.get(name, unknown)} for name, metric in of_task(cfg.values).items()}


def content_hashes(cfg: RunConfig, built: Mapping[str, Artefact], loop: Loop) -> dict[str, str]:
    """Hashes and names of what a run really uses and its config does not determine: artefacts, prompts, code, files."""
    return {name: artefact.content for name, artefact in built.items() if name != "pairs"} | {
        "evaluation_prompts": manifest.texts_hash(_evaluation_prompts(loop.evaluate)),
        **differences.current_hashes(cfg.values),
        "device": str(torch.get_default_device().type),
        "torch": torch.__version__,
        "sampler": loop.evaluate.sampler.name,
        **accelerator(),
        **_libraries(cfg, loop),
    }


def _batches(loop: Loop) -> dict[str, int | None]:
    """The sizes of the run's batches in completions, of which some are smaller after memory ran out."""
    sampler = loop.evaluate.sampler
    fewer = sampler.batches.rows if isinstance(sampler, TorchSampler) else None
    return {
        "micro_batch": loop.plan.micro_batch,
        "scoring_batch": loop.evaluate.scoring.rows,
        "evaluation_batch": loop.evaluate.rows,
        **({"sampling_batch": fewer} if fewer else {}),
    }


def _libraries(cfg: RunConfig, loop: Loop) -> dict[str, str]:
    """The versions of the libraries that the policy's numbers depend on, beside torch."""
    policy = loop.learner.policy
    used = {
        "transformers": isinstance(policy, Transformer),
        "peft": is_adapted(policy),
        "deepspeed": cfg.hardware.numerics.engine == "deepspeed",
    }
    return {name: importlib.metadata.version(name) for name, is_used in used.items() if is_used}


def earlier_hashes(previous: Mapping[str, str], current: Mapping[str, str], step: int) -> dict[str, str]:
    """`NAME.until_step_N` -> hash of files and plug-in code that the first steps used and that have changed since.

    `previous`: the hashes of the manifest before the run was continued after `step`. Such a run was not made under one
    setting, so a comparison with another names the difference.
    """
    known = {name: value for name, value in previous.items() if 0 <= _until(name) <= step}
    changed = {
        f"{name}{UNTIL}{step}": value
        for name, value in previous.items()
        if name.rpartition(".")[2] in ("files", "plugins") and current.get(name) != value
    }
    return known | changed


def _until(name: str) -> int:
    number = name.partition(UNTIL)[2]
    return int(number) if number.isdecimal() else -1


def _evaluation_prompts(evaluate: Evaluator) -> Iterator[str]:
    """The texts of the evaluated prompts, set by set."""
    for name, prompts in evaluate.sets.items():
        yield from (example.text for example in prompts.examples[: evaluate.prompt_count(name)])
