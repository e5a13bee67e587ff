"""What is killed: commands of all algorithms, stages, engines and reward processes, with the smallest model."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from align_lab.base.paths import cache_folder
from align_lab.config.groups import options
from tests.kills.forks import Place
from tests.rewards.judge_server import KEY
from tests.run.test_runs import SMALL

ROOT = Path(__file__).parents[2]
ALGORITHMS, STAGES, PYTHON, JUDGE, STUDY = (
    "an algorithm",
    "data, start policy, reward model, judge and pairs are built",
    "a reward function in a process of its own",
    "a judge that a server answers",
    "a study of two runs at a time",
)
ENGINES = {
    "two processes, plain PyTorch": [],
    "two processes, FSDP2": ["hardware.numerics.engine=fsdp"],
    "two processes, DeepSpeed": ["hardware.numerics.engine=deepspeed", "hardware.numerics.zero_stage=3"],
}
KINDS = (ALGORITHMS, STAGES, PYTHON, JUDGE, *ENGINES, STUDY)
TURNS = (
    *[ALGORITHMS] * 3,
    STAGES,
    *[ALGORITHMS] * 2,
    PYTHON,
    *[ALGORITHMS] * 2,
    JUDGE,
    *[ALGORITHMS] * 2,
    *ENGINES,
    STUDY,
)
FEW = ("algo.critic_pretrain_steps=1",)  # of algorithms that would train a critic first
REWARD = """
def reward(prompts, completions, **columns):
    return [text.count("the") - 0.01 * len(text) for text in completions]
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command. `cold`: nothing but what was downloaded is in its cache."""

    kind: str
    label: str
    words: tuple[str, ...]
    cold: bool = False


def cases(kinds: Sequence[str], port: int) -> Iterator[Case]:
    """Commands of these kinds without end, all algorithms among them. `port`: of the server that judges."""
    return in_turn([kind for kind in TURNS if kind in kinds], port)


def in_turn(kinds: Sequence[str], port: int) -> Iterator[Case]:
    """Commands of one kind after the other, without end."""
    algorithms = itertools.cycle(options("algo"))
    for number, kind in enumerate(itertools.cycle(kinds)):
        yield _case(kind, next(algorithms) if kind == ALGORITHMS else "", number, port)


def _case(kind: str, algo: str, number: int, port: int) -> Case:
    plain = [field for field in SMALL if not field.startswith("reward.")]
    if kind == ALGORITHMS:
        words = [*SMALL, f"algo={algo}", *(FEW if algo == "ppo_max" else ())]
        words += ["train.group_size=2"] if algo in ("sail_pp", "sail_pr", "sail_released") else []
    elif kind == STAGES:
        words = [*SMALL, f"algo={('dpo', 'ppo', 'sail_dp', 'kto')[number % 4]}"]
    elif kind == PYTHON:
        words = [*plain, "algo=rloo", "reward=python", "reward.file=my_reward.py"]
    elif kind == JUDGE:
        asked = [f"reward.url=http://127.0.0.1:{port}/v1", "reward.model=small", "reward.key_env=MY_KEY"]
        words = [*plain, "algo=rloo", "reward=judge", *asked]
    elif kind == STUDY:
        words = ["-m", *SMALL, "algo=rloo,dpo", "parallel=2"]
    else:
        words = [*SMALL, "algo=rloo", "hardware=cpu_2proc", *ENGINES[kind]]
    return Case(kind=kind, label=algo or kind, words=("study=s", *words), cold=kind == STAGES)


def furnished(path: Path, cache: Path | None) -> Place:
    """A new folder to type a command in. `cache`: the artefacts that are built already."""
    place = Place(path=path)
    for folder in (place.temporary, place.cache):
        folder.mkdir()
    (path / "my_reward.py").write_text(REWARD)
    if (known := cache_folder() / "downloads").is_dir():
        (place.cache / "downloads").symlink_to(known)
    if cache is not None:
        shutil.copytree(cache / "artefacts", place.cache / "artefacts", copy_function=os.link)
    return place


@contextlib.contextmanager
def judge() -> Generator[int]:
    """The port of a server that judges; its key is in the environment."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.rewards.judge_server", str(port), "0", "-"]
    os.environ["MY_KEY"] = KEY
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield port
        finally:
            process.kill()
