"""An evaluation of a run's checkpoint without training: the same instrument, with the settings that are asked for."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from align_lab.base.errors import DataError
from align_lab.base.metrics import of_run
from align_lab.base.run_config import RunConfig
from align_lab.models.language_model import LanguageModel
from align_lab.record import evaluations, manifest
from align_lab.record.console import Screen
from align_lab.record.evaluations import StoredEvaluation
from align_lab.record.layout import RunLayout
from align_lab.rollout import vllm_install
from align_lab.run import assembly, device
from align_lab.run.trained import begun, checkpoint_step
from align_lab.stages.dependencies import JUDGE, stages
from align_lab.stages.store import Artefact, Stage, Store, shared
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.engines.engine import load_weights
from align_lab.train.evaluation_intervals import measured

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Untrained:
    """A policy whose weights do not change any more. `version` differs between policies of one evaluation."""

    policy: LanguageModel
    version: int
    sharded: bool = False

    @contextmanager
    def full_model(self) -> Generator[LanguageModel]:
        """The policy: nothing is sharded."""
        yield self.policy

    def release(self) -> None:
        """It is not updated."""


def evaluate(
    path: Path, cfg: RunConfig, screen: Screen, *, checkpoint: str = "last", name: str | None = None
) -> tuple[StoredEvaluation, bool]:
    """Evaluate a checkpoint of the run in `path`, and store the result. Returns it, and whether it is new.

    `cfg`: the run's config with the evaluation that is asked for. The same evaluation of the same checkpoint is not
    computed again. Raises ConfigError without such a checkpoint, DataError for one that is damaged, RewardError.
    """
    recorded, step = begun(path), checkpoint_step(path, checkpoint)
    cfg = _for_this_machine(cfg, screen)
    device_name = device.use(cfg.hardware.numerics, tiny=cfg.model.tiny)
    built = _artefacts(path, cfg, recorded, screen)
    key = _key(path, cfg, built, step)
    known = evaluations.stored(path, key, name)
    if known is not None:
        return known, False
    screen.notice(f"evaluating step {step} of {path} and its start policy, {device_name}{in_one_process(cfg)}")
    begin = time.perf_counter()
    rows, start = _rows(path, cfg, built, step)
    about = {
        "checkpoint": checkpoint,
        "sampling": asdict(cfg.evaluation.decoding(cfg.sampling)),
        "artefacts": {name: f"{one.kind}-{one.key}" for name, one in built.items()},
        "device": device_name,
        "sampler": cfg.hardware.numerics.sampler,
        "code": manifest.code(),
        "seconds": round(time.perf_counter() - begin, 3),
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    result = _result(cfg, rows, start, name=name or f"step-{step:06d}-{key[:8]}", key=key, step=step, about=about)
    evaluations.write(path, result, rows if step == 0 else [*start, *rows])
    return result, True


def in_one_process(cfg: RunConfig) -> str:
    """What to expect where training had several: the random numbers of a completion do not depend on its process."""
    place = cfg.hardware.placement
    if (count := place.nodes * place.tasks_per_node) == 1:
        return ""
    return f", in one process, where the training had {count}: about {count} times as long"


def _for_this_machine(cfg: RunConfig, screen: Screen) -> RunConfig:
    """The config with a device and a sampler that this machine has; another one changes the result by rounding."""
    numerics: dict[str, Any] = {**cfg.values["hardware"]["numerics"]}
    if numerics["device"] == "cuda" and not torch.cuda.is_available():
        screen.notice("torch finds no CUDA device on this machine: evaluating on the CPU")
        numerics["device"] = "cpu"
    if numerics["sampler"] == "vllm" and (reason := vllm_install.unavailable_reason()):
        screen.notice(f"sampling with torch: {reason}")
        numerics["sampler"] = "torch"
    hardware = {**cfg.values["hardware"], "numerics": numerics}
    return RunConfig({**cfg.values, "hardware": hardware}, cfg.choices)


def _artefacts(path: Path, cfg: RunConfig, recorded: Mapping[str, Any], screen: Screen) -> dict[str, Artefact]:
    """What the run was trained with and judged by; judges that are new or changed are built now."""
    store, folders = shared(screen), recorded["artefacts"]
    config: Mapping[str, Any] = recorded["config"]
    needed = {name: stage for name, stage in stages(cfg).items() if name != "pairs"}
    return {
        name: _opened(path, store, stage, None if _is_new(name, cfg, config) else folders.get(name))
        for name, stage in needed.items()
    }


def _is_new(name: str, cfg: RunConfig, config: Mapping[str, Any]) -> bool:
    """Is it the stage of a judge that the run did not have, or had with other fields?"""
    judge = name.removeprefix(JUDGE)
    if judge == name:
        return False
    before = {key: value for key, value in config.items() if key.startswith(f"evaluation.judges.{judge}.")}
    now = cfg.evaluation.judges[judge]
    return before != {f"evaluation.judges.{judge}.{field}": value for field, value in now.items()}


def _opened(path: Path, store: Store, stage: Stage, folder: str | None) -> Artefact:
    """The artefact in `folder`, which the run used; one that is removed is built again where that gives the same."""
    if folder is None or folder == stage.name:
        return store.get(stage)
    if not store.has(folder):
        raise DataError(
            f"{path} used the {stage.label} {folder}, which is no longer in {store.root}, and this version of the "
            f"code or the data would build another one ({stage.name}). Copy it back from where the run was trained"
        )
    return store.open(folder)


def _key(path: Path, cfg: RunConfig, built: Mapping[str, Artefact], step: int) -> str:
    """A hash of all that determines the result: the evaluation, the checkpoint, the artefacts, the code."""
    content = {
        "evaluation": cfg.values["evaluation"],
        "checkpoint": Checkpoints(RunLayout(path).checkpoints).identity(step),
        "artefacts": {name: one.content for name, one in built.items()},
        "source": manifest.source_hash(),
        "device": torch.get_default_device().type,
        "sampler": cfg.hardware.numerics.sampler,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _rows(path: Path, cfg: RunConfig, built: Mapping[str, Artefact], step: int) -> tuple[Rows, Rows]:
    """The rows of the policy after `step`, and those of the start policy."""
    state = Checkpoints(RunLayout(path).checkpoints).load(step)["learner"]["policy"]["model"]
    assembled = assembly.assemble_evaluation(cfg, built)
    with closing(assembled.evaluate.sampler):
        start = assembled.evaluate(Untrained(assembled.policy.model, 0), step=0)
        if step == 0:
            return start, start
        load_weights(assembled.policy.model, state)
        return assembled.evaluate(Untrained(assembled.policy.model, 1), step=step, start=start), start


def _result(
    cfg: RunConfig, rows: Rows, start: Rows, *, name: str, key: str, step: int, about: dict[str, Any]
) -> StoredEvaluation:
    plan = cfg.evaluation
    metrics: Any = measured(rows, start, judges=list(cfg.judges), decides=plan.decides, pass_at=plan.pass_at)
    shown = {*metrics, "eval/score", *(f"eval/{judge}" for judge in cfg.judges)}
    labels = {metric: asdict(one) for metric, one in of_run(cfg.values).items() if metric in shown}
    return {
        "name": name,
        "key": key,
        "step": step,
        "settings": dict(cfg.values["evaluation"]),
        "about": about,
        "metrics": metrics,
        "labels": labels,
    }
