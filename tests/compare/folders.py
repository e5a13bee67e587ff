"""Run folders as training leaves them, written by hand and not sealed: no code of the package decides what they hold,
apart from their names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align_lab.base.run_config import signature
from align_lab.compare import reading

CONFIG = {
    "study": "s",
    "arm": "",
    "sampling.temperature": 0.7,
    "evaluation.prompts": 4,
    "evaluation.metric": "eval/gold_score",
    "evaluation.judges.gold_score.name": "gold",
    "evaluation.judges.vader.name": "vader",
    "algo.kl_coef": 0.05,
    "train.lr": 1e-3,
    "train.steps": 40,
    "train.budget.episodes": None,
}
HASHES = {"policy": "aaaa", "gold": "bbbb", "source": "cccc", "torch": "2.9"}
SD = "sd of human reviews"
LABELS = {
    "objective/scores": {"label": "proxy score", "meaning": "what the policy is trained on", "unit": SD,
    "better": "higher"},
    "eval/score": {"label": "proxy score", "meaning": "what the policy is trained on", "unit": SD, "better": "higher"},
    "eval/gold_score": {
        "label": "gold score", "meaning": "another model, other ratings, never optimized", "unit": SD,
        "better": "higher"
    },
    "eval/vader": {"label": "VADER", "meaning": "a lexicon", "unit": "-1 to 1", "better": "higher"},
    "eval/gold_score_se": {
        "label": "standard error of the gold score", "meaning": "over prompts", "unit": SD, "better": "neither"
    },
    "eval/win_rate": {
        "label": "win rate", "meaning": "share of prompts with a higher gold score than the start policy's",
        "unit": "share", "better": "higher"
    },
}  # fmt: skip
STEP = 20  # steps between evaluations
PER_STEP = {"episode": 8, "budget/tokens": 100, "budget/labels": 8, "time/elapsed": 0.5, "budget/flops": 1e9}


def write_study(study: Path, arms: Mapping[str, Sequence[float]]) -> None:
    """A run for every value: the final gold score of one seed of an arm."""
    for arm, values in arms.items():
        for seed, value in enumerate(values):
            write_run(study, arm, seed, (0.0, value / 2, value))


def rows(gold: Sequence[float], **metrics: Sequence[float]) -> list[dict[str, Any]]:
    """Evaluations at 0, STEP, ...; `metrics` replace by name what follows from the step: eval_kl, time_elapsed."""
    given = {name.replace("_", "/", 1): values for name, values in metrics.items()}
    usual = {"eval/score": lambda i: gold[i] + 0.1, "eval/kl": lambda i: float(i), "eval/length": lambda i: 20.0}
    lines = []
    for i, value in enumerate(gold):
        row = {"step": i * STEP, "eval/gold_score": value, "eval/gold_score_se": 0.01}
        row |= {name: i * STEP * size for name, size in PER_STEP.items() if i or name != "time/elapsed"}
        row |= {name: rule(i) for name, rule in usual.items()}
        lines.append(row | {name: values[i] for name, values in given.items()})
    return lines


def write_lines(path: Path, lines: Sequence[Any], *, torn: str = "") -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)


def write_samples(path: Path, step: int, scores: Sequence[float], *, text: str = "fine") -> None:
    """The last evaluation: prompt i was answered with this gold score."""
    early = [{"step": 0, "index": i, "prompt": f"p{i}", "completion": "old", "gold_score": 9.0} for i in range(2)]
    last = [
        {
            "step": step,
            "index": i,
            "prompt": f"p{i}",
            "completion": text,
            "ended": True,
            "score": 0.5,
            "gold_score": score,
        }
        for i, score in enumerate(scores)
    ]
    write_lines(path, early + last)


def write_run(  # noqa: PLR0913  every argument replaces one part of the folder
    study: Path,
    algo: str = "rloo",
    seed: int = 0,
    gold: Sequence[float] = (0.0, 0.5, 1.0),
    *,
    name: str | None = None,
    config: dict[str, Any] | None = None,
    hashes: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    samples: Sequence[float] = (),
    **metrics: Sequence[float],
) -> Path:
    values = {**CONFIG, "algo.name": algo, "seed": seed, **(config or {})}
    path = study / (f"{name or f'{algo}-tiny'}-s{values['seed']}-{signature(values)}")
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("study: s\n")
    evaluations = rows(gold, **metrics)
    step = evaluations[-1]["step"]
    manifest = {
        "signature": signature(values),
        "seed": seed,
        "choices": {"algo": algo, "model": "tiny"},
        "config": values,
        "hashes": HASHES | (hashes or {}),
        "metrics": LABELS,
        "machine": {"cpu": "one"},
        "spent": {"episodes": 8 * step, "tokens": 100 * step, "labels": 8 * step, "device_seconds": 0.5 * step},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    write_lines(path / "metrics.jsonl", evaluations)
    if samples:
        write_samples(path / "samples.jsonl", step, samples, text=f"by {algo}")
    (path / "status.json").write_text(json.dumps({"state": "done", "step": step} | (status or {})))
    return path


def name_of(algo: str, seed: int) -> str:
    """The name of a run that `write_run` writes with the usual config."""
    return f"{algo}-tiny-s{seed}-{signature({**CONFIG, 'algo.name': algo, 'seed': seed})}"


def renamed(path: Path) -> Path:
    """The run after a change of its config: its manifest and its folder have the signature that it has now."""
    manifest = json.loads((path / "manifest.json").read_text())
    edit(path / "manifest.json", signature=signature(manifest["config"]))
    start = path.name.rpartition("-")[0]
    return path.rename(path.with_name(f"{start}-{signature(manifest['config'])}"))


def edit(path: Path, **values: Any) -> None:
    """Set fields of a JSON file; a value of ... removes one."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def read_run(path):
    """One run's folder, as a comparison reads it."""
    return reading.all_of([str(path)])[0]
