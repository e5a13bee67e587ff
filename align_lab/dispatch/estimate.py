"""What a plan takes, from what recorded runs and stages of the same kind took on a device of the same kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from statistics import mean
from typing import Any, TypedDict

from align_lab.base.files import read_json
from align_lab.base.hardware import Placement
from align_lab.base.paths import runs_folder
from align_lab.dispatch.plan import Plan, Task, artefacts
from align_lab.dispatch.status_table import count, duration
from align_lab.record.layout import MANIFEST, RunLayout
from align_lab.stages.store import CARD, shared

DEVICES = {"cpu": "processor", "cuda": "GPU"}  # as `hashes.device` of a manifest names them -> in words

Kind = tuple[str, str, str]  # of runs: algorithm, model, device


class Step(TypedDict):
    """What a step took, in the mean."""

    seconds: float
    episodes: float
    tokens: float


def estimate(todo: Plan) -> str:
    """Device time of the runs and of the stages that they need, and of what there is no record."""
    recorded = {kind: _mean(steps) for kind, steps in _recorded_steps().items()}
    known = [(task, recorded.get(_kind(task))) for task in todo.runs]
    seconds = [_seconds(task, step) * devices(task.placement) for task, step in known if step]
    unknown = _by_device([task for task, step in known if step is None])
    stages, without = _of_stages([task for task in todo.tasks if task.kind == "stage"])
    parts = [(seconds, "run"), (stages, "stage")]
    texts = [f"{duration(sum(each))} of device time for {count(each, noun)}" for each, noun in parts if each]
    sentences = [
        *([f"about {' and '.join(texts)}, as recorded ones took"] if texts else []),
        *(f"no run on a {device} is recorded to estimate {', '.join(algos)} from" for device, algos in unknown.items()),
        *([f"no stage is recorded to estimate {', '.join(without)} from"] if without else []),
    ]
    return "; ".join(sentences) or "nothing to do"


def devices(place: Placement) -> int:
    """GPUs of a job, or its processes where it has no GPUs."""
    return place.nodes * (place.gpus_per_node or place.tasks_per_node)


def _seconds(task: Task, step: Step) -> float:
    """Of a run, whose number of steps follows from what recorded ones were charged where its own plan does not say."""
    plan = task.cfg.train
    return step["seconds"] * (plan.planned_steps or plan.expected_steps(1, **step))


def _mean(steps: Sequence[Step]) -> Step:
    return Step(
        seconds=mean(step["seconds"] for step in steps),
        episodes=mean(step["episodes"] for step in steps),
        tokens=mean(step["tokens"] for step in steps),
    )


def _kind(task: Task) -> Kind:
    return task.cfg.choices["algo"], task.cfg.choices["model"], _device(task)


def _device(task: Task) -> str:
    """Where it is to compute; `auto` is the GPU where its job gets one."""
    device = task.cfg.hardware.numerics.device
    return ("cuda" if task.placement.gpus_per_node else "cpu") if device == "auto" else device


def _by_device(tasks: Sequence[Task]) -> dict[str, list[str]]:
    """Kind of device, in words -> the algorithms that are to compute on it."""
    pairs = sorted({(DEVICES[_device(task)], task.cfg.choices["algo"]) for task in tasks})
    return {device: [algo for other, algo in pairs if other == device] for device, _ in pairs}


def _of_stages(tasks: Sequence[Task]) -> tuple[list[float], list[str]]:
    """Seconds of each stage of which one of its kind was built here, and the kinds of the others."""
    recorded, seconds, unknown = _recorded_stages(), list[float](), set[str]()
    for task in tasks:
        stage = artefacts(task.cfg)[task.name]
        if same := recorded.get((stage.kind, stage.settings.get("name"))):
            seconds.append(mean(same))
        else:
            unknown.add(stage.kind)
    return seconds, sorted(unknown)


def _recorded_stages() -> dict[tuple[str, Any], list[float]]:
    """(kind, component) -> seconds of every artefact of this cache."""
    seconds: dict[tuple[str, Any], list[float]] = defaultdict(list)
    for path in shared().root.glob(f"*/{CARD}"):
        card = read_json(path)
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            took = float(card["seconds"])
            seconds[card["kind"], card["settings"].get("name")].append(took)
    return seconds


def _recorded_steps() -> dict[Kind, list[Step]]:
    """Kind of a run -> what a step of each recorded run took that has made one."""
    steps: dict[Kind, list[Step]] = defaultdict(list)
    for manifest, status in _records():
        with suppress(KeyError, TypeError, ArithmeticError):
            choices, device, spent = manifest["choices"], manifest["hashes"]["device"], manifest["spent"]
            made = status["step"]
            step = Step(
                seconds=spent["device_seconds"] / made, episodes=spent["episodes"] / made, tokens=spent["tokens"] / made
            )
            steps[choices["algo"], choices["model"], device].append(step)
    return steps


def _records() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for path in runs_folder().glob(f"*/*/{MANIFEST}"):
        yield read_json(path), read_json(RunLayout(path.parent).status)
