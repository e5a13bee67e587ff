"""Generated reasoning problems of reasoning-gym, with answers that can be verified and written-out solutions.

No problem is in two parts: the evaluation sets are drawn first, then the development set, the demonstrations and the
training problems, and a question that has been drawn before is left out.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base.contracts import Data
from align_lab.base.errors import DataError
from align_lab.base.registry import installed, param, register
from align_lab.base.task import DEVELOPMENT, TRAIN, DataSet, Demonstration, Example, PlacedPrompt, bytes_of, content_key
from align_lab.data import gym
from align_lab.data.notes import noted
from align_lab.data.solutions import answer_alone, written_out

WRITTEN_OUT = ("basic_arithmetic", "chain_sum", "countdown", "products")  # their metadata has an `expression`
COLUMNS = ("answer", "task", "difficulty", "entry")
DEMONSTRATIONS = "demonstrations"
SETTINGS = {
    "chain_sum": {"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 1},
    "basic_arithmetic": {"min_terms": 3, "max_terms": 3, "max_digits": 1, "operators": ["+", "-"]}
    | {"allow_parentheses": False, "allow_negation": False},
    "countdown": {"min_numbers": 3, "max_numbers": 3, "max_value": 20, "min_target": 10, "max_target": 99},
}
HARDER = {
    "chain_sum": {"min_terms": 4, "max_terms": 4, "min_digits": 1, "max_digits": 1},
    "countdown": {"min_numbers": 4, "max_numbers": 4, "max_value": 20, "min_target": 10, "max_target": 99},
}
Part = tuple[str, str, Mapping[str, Any]]  # split, task, its settings


@dataclass(frozen=True, kw_only=True)
class Problems(DataSet):
    """The rows of `problems.jsonl`."""

    rows: tuple[Mapping[str, Any], ...]

    def examples(self, split: str) -> list[Example]:
        """The problems of a split; columns: answer, task, difficulty, and the whole problem as JSON (entry)."""
        return [
            Example(
                key=content_key(row["question"]),
                prompt=row["question"],
                columns={name: row[name] for name in COLUMNS},
            )
            for row in self.rows
            if row["split"] == split
        ]

    def demonstrations(self, split: str) -> list[Demonstration]:
        """Solutions of problems that are neither trained nor evaluated on; held out: of the problems of a set."""
        name = DEMONSTRATIONS if split == TRAIN else split
        rows = (row for row in self.rows if row["split"] == name and row["solution"])
        return [Demonstration(prompt=row["question"], completion=row["solution"]) for row in rows]


@register("data", "reasoning")
@dataclass(frozen=True, kw_only=True)
class Reasoning(Data):
    """Problems of the same difficulty, harder ones, and those of another task."""

    package: ClassVar = gym.PACKAGE

    tasks: list[str] = param(["chain_sum"], "tasks of reasoning-gym to train on, equally often; also of the set `same`")
    other: list[str] = param(["basic_arithmetic"], "tasks of the evaluation set `other`; empty: no such set")
    settings: dict[str, Any] = param(
        SETTINGS, "task -> its settings in reasoning-gym; a task without an entry: its own"
    )
    harder: dict[str, Any] = param(
        HARDER, "task -> what its settings are instead in the evaluation set `harder`; empty: no such set"
    )
    training: int = param(600, "problems to train on", low=1)
    demonstrations: int = param(2400, "solved problems for supervised fine-tuning", low=0)
    held_out: int = param(512, "problems of each evaluation set", low=1)
    development: int = param(128, "problems of the difficulty of `same`, for tuning and the best checkpoint", low=0)
    steps: float = param(
        0.5,
        f"share of the demonstrations with every step written out (for {', '.join(WRITTEN_OUT)}); "
        "the others show the answer alone",
        low=0,
        high=1,
    )
    seed: int = param(0, "decides which problems are drawn", low=0)
    instruction: str = param(
        "Solve the problem step by step. End with the final answer as <answer>ANSWER</answer>.\n{prompt}",
        "what a chat model is asked; {prompt} stands for the problem",
    )

    version: ClassVar = 2
    used_later: ClassVar = Data.used_later

    def problems(self) -> list[str]:
        """Unknown tasks and settings, demonstrations that cannot be written, a set `harder` that is not harder."""
        if not self.tasks:
            return ["data.tasks is empty. Name at least one task: data.tasks=[chain_sum]"]
        messages = [
            f"data.settings.{task}={dict(self.settings.get(task, {}))} and data.harder.{task} are the same: "
            f"the set `harder` is for problems of another difficulty. Change one of them"
            for task in self.tasks
            if task in self.harder and self.harder[task] == self.settings.get(task, {})
        ]
        if self.demonstrations and self.steps > 0:
            messages += [
                f"data.steps={self.steps:g}: the steps of {task} cannot be written out, only those of "
                f"{', '.join(WRITTEN_OUT)}. Set data.steps=0, or data.demonstrations=0 where a model needs none"
                for task in self.tasks
                if task not in WRITTEN_OUT
            ]
        if not installed(gym.PACKAGE):  # the missing package is reported elsewhere
            return messages
        return messages + self._task_problems()

    def _task_problems(self) -> list[str]:
        """What is wrong with names of tasks and with their settings, also of tasks that are not drawn."""
        given = [("tasks", task, {}) for task in self.tasks]
        given += [("settings", *one) for one in self.settings.items()] + [
            ("harder", *one) for one in self.harder.items()
        ]
        given += [("tasks", task, settings) for _, task, settings in self.parts()]  # settings that do not go together
        found: dict[str, str] = {}
        for field, task, settings in given:
            if problem := gym.task_problem(task, settings):
                found.setdefault(problem, field)
        return [f"data.{field}: {problem}" for problem, field in found.items()]

    def parts(self) -> list[Part]:
        """What is drawn, in this order."""
        of_tasks = [(task, self.settings.get(task, {})) for task in self.tasks]
        return [
            *(("same", task, settings) for task, settings in of_tasks),
            *(("harder", task, self.harder[task]) for task in self.tasks if task in self.harder),
            *(("other", task, self.settings.get(task, {})) for task in self.other),
            *((DEVELOPMENT, task, settings) for task, settings in of_tasks if self.development),
            *((DEMONSTRATIONS, task, settings) for task, settings in of_tasks if self.demonstrations),
            *((TRAIN, task, settings) for task, settings in of_tasks),
        ]

    def splits(self) -> tuple[str, ...]:
        """`train`, `same`, and `harder` and `other` where they have tasks."""
        drawn = {split for split, _, _ in self.parts()}
        return (TRAIN, *(split for split in ("same", "harder", "other") if split in drawn))

    def size(self, split: str) -> int:
        """Problems of a split."""
        sizes = {TRAIN: self.training, DEMONSTRATIONS: self.demonstrations, DEVELOPMENT: self.development}
        return sizes.get(split, self.held_out)

    def has_development(self) -> bool:
        """Unless it is set to 0."""
        return self.development > 0

    def has_demonstrations(self) -> bool:
        """Solved problems."""
        return self.demonstrations > 0

    def column_names(self) -> tuple[str, ...]:
        """The answer, and all that reasoning-gym knows of a problem."""
        return COLUMNS

    def longer_prompts(self, least: int) -> Iterator[PlacedPrompt]:
        """The problems with more than `least` bytes, which are drawn for it unless a note says that there are none."""

        def longest() -> dict[str, int]:
            return {"longest": max(bytes_of(row["question"]) for row in drawn(self))}

        if noted(["reasoning", repr(self), self.version], longest)["longest"] <= least:
            return
        for row in drawn(self):
            question = row["question"]
            if row["split"] != DEMONSTRATIONS and bytes_of(question) > least:
                yield PlacedPrompt(split=row["split"], place=repr(question[:60]), example=Example.of_text(question))

    def build(self, folder: Path) -> None:
        """Draw the problems and write `problems.jsonl`, one a line."""
        lines = (json.dumps(row, ensure_ascii=False) for row in drawn(self))
        (folder / "problems.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> Problems:
        """Read what `build` wrote. Raises DataError when it is not whole."""
        try:
            lines = (folder / "problems.jsonl").read_text(encoding="utf-8").splitlines()
            return Problems(rows=tuple(json.loads(line) for line in lines))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{folder} does not hold the problems ({error}). Remove it, it will be built again: rm -r {folder}"
            ) from error


def drawn(settings: Reasoning) -> Iterator[dict[str, Any]]:
    """The rows of all parts; the tasks of a split take turns."""
    seen: set[str] = set()
    parts = settings.parts()
    for split in dict.fromkeys(part[0] for part in parts):
        members = [part for part in parts if part[0] == split]
        size, count = settings.size(split), len(members)
        rows = [_of_part(part, settings, -(-(size - i) // count), seen) for i, part in enumerate(members)]
        yield from (rows[i % count][i // count] for i in range(size))


def _of_part(part: Part, settings: Reasoning, size: int, seen: set[str]) -> list[dict[str, Any]]:
    """`size` rows with questions that are not in `seen`, which grows by them. Raises DataError if there are fewer."""
    split, task, of_task = part
    rows: list[dict[str, Any]] = []
    seed = random.Random(f"{settings.seed} {split} {task}").getrandbits(30)
    for problem in gym.problems_of(task, of_task, seed=seed, draws=20 * size + 1000):
        question = str(problem["question"]).strip()
        if question not in seen:
            seen.add(question)
            steps = int(settings.steps * (len(rows) + 1)) > int(settings.steps * len(rows))
            rows.append(_row(part, problem, steps=steps))
        if len(rows) == size:
            return rows
    field = {TRAIN: "training"}.get(split, split if split in (DEMONSTRATIONS, DEVELOPMENT) else "held_out")
    raise DataError(
        f"the task {task} with the settings {dict(of_task)} has too few different problems: {size} are needed for the "
        f"part {split!r}, and {len(rows)} are left. Set data.{field}={len(rows) or 1} or less, or wider ranges in "
        f"data.settings.{task}"
    )


def _row(part: Part, problem: Mapping[str, Any], *, steps: bool) -> dict[str, Any]:
    """One line of `problems.jsonl`. Raises DataError for a problem without an answer, or that cannot be scored."""
    split, task, _ = part
    answer, entry = str(problem["answer"]), json.dumps(problem, ensure_ascii=False, default=str)
    if gym.score(entry, answer) < 1:
        raise DataError(
            f"reasoning-gym does not give its own answer to a problem of {task} the full score, so answers to it "
            f"cannot be verified: {str(problem['question'])[:80]!r}. Leave the task out of data.tasks and data.other"
        )
    return {
        "split": split,
        "task": task,
        "question": str(problem["question"]).strip(),
        "answer": answer,
        "difficulty": json.dumps(problem["metadata"].get("difficulty", {})),
        "solution": solution_of(task, problem, steps=steps),
        "entry": entry,
    }


def solution_of(task: str, problem: Mapping[str, Any], *, steps: bool) -> str:
    """The text of a demonstration: with its steps, where they are asked for and can be written out."""
    if steps and task in WRITTEN_OUT:
        return written_out(problem["metadata"]["expression"], problem["answer"])
    return answer_alone(problem["answer"])
