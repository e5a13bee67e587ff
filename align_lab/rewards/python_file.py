"""A reward that is a Python function of a user's file, with TRL's signature, run in a process that can be killed."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base.content import content_hash
from align_lab.base.contracts import Data, Reward
from align_lab.base.errors import ConfigError, RewardError, near
from align_lab.base.paths import submitted
from align_lab.base.registry import param, register
from align_lab.base.task import Example, Score
from align_lab.rewards import python_source
from align_lab.rewards.child import CallFailed, Child
from align_lab.rewards.child_scorer import ChildScorer, Row
from align_lab.rewards.python_source import RewardFunction

RESERVED = ("prompt", "completion", "completion_ids", *python_source.GIVEN)  # TRL passes no columns of these names


@register("reward", "python")
@dataclass(frozen=True, kw_only=True)
class PythonFile(Reward):
    """`def reward(prompts, completions, **columns) -> list[float | None]`, sync or async."""

    file: str = param(
        "",
        "the file, with the function if it has several: my_reward.py or my_reward.py:FUNCTION",
        trust="this file is executed",
    )
    seconds: float = param(60.0, "limit of one call; a call that takes longer is ended, and counted as failed", above=0)
    memory_gib: float = param(4.0, "limit of the function's memory, in GiB", above=0)
    batch: int = param(64, "completions of one call, at most", low=1)

    used_later: ClassVar = (*Reward.used_later, "seconds", "memory_gib", "batch")
    on_gpu: ClassVar = False

    @property
    def path(self) -> Path:
        """The file, without the function's name; in a queued job, the copy that it was submitted with."""
        return submitted(Path(self._split()[0]))

    def _split(self) -> tuple[str, str]:
        path, colon, function = self.file.rpartition(":")
        return (path, function) if colon else (self.file, "")

    def function(self) -> RewardFunction:
        """The function that scores. Raises ConfigError that says what is wrong with the file."""
        _, wanted = self._split()
        return python_source.choose(self.path, wanted)

    def problems(self) -> list[str]:
        """A file that is missing or has an error, and a function that is missing or cannot be called."""
        if not self.file:
            return ["reward=python needs a file. Type, for example, reward.file=my_reward.py or my_reward.py:FUNCTION"]
        if not self.path.is_file():
            others = sorted(str(one) for one in self.path.parent.glob("*.py"))[:50] if self.path.parent.is_dir() else []
            folder = self.path.parent.resolve()
            return [
                f"reward.file={self.file}: there is no file {self.path.name} in {folder}. {near(self.file, others)}"
            ]
        try:
            self.function()
        except ConfigError as error:
            return [f"reward.file={self.file}: {error}"]
        return []

    def data_problem(self, data: Data) -> str:
        """A parameter that is no column of the data."""
        columns = data.column_names()
        if columns is None or self.problems():
            return ""
        function = self.function()
        missing = [name for name in function.required if name not in (*columns, *python_source.GIVEN)]
        if not missing:
            return ""
        return f"reward.file={self.file}: {_unknown_column(function.name, missing[0], columns)}"

    def files(self) -> Sequence[Path]:
        """The file, and the modules beside it that it imports."""
        return python_source.with_local_modules(self.path) if self.file else ()

    def code(self) -> Sequence[Path]:
        """All of its files."""
        return self.files()

    def load(self, folder: Path | None) -> PythonScorer:
        """Start the child process and import the file. Raises RewardError if that fails."""
        return PythonScorer(self)


class PythonScorer:
    """Scores with the function, from its own child process."""

    def __init__(self, reward: PythonFile) -> None:
        if problems := reward.problems():
            raise ConfigError(problems[0])
        self.reward, self.function = reward, reward.function()
        self.content = content_hash(reward.files())
        settings = {"file": str(reward.path.resolve()), "function": self.function.name}
        self.child = Child(
            "align_lab.rewards.user_function:load",
            settings,
            name=reward.path.name,
            memory_gib=reward.memory_gib,
            before_start=self._check_unchanged,
        )
        self._start()
        self.scorer = ChildScorer(
            child=self.child, arguments=self._arguments, seconds=reward.seconds, batch=reward.batch, advice=self._advice
        )

    def score(self, examples: Sequence[Example], completions: Sequence[str]) -> Score:
        """One outcome for each completion. Raises RewardError if the function needs a column that there is not."""
        self._start()
        return self.scorer.score(examples, completions)

    def _start(self) -> None:
        """Start the child process, unless it runs. Raises RewardError if the file cannot be imported."""
        try:
            self.child.start()
        except CallFailed as failure:
            raise RewardError(
                f"reward.file={self.reward.file} cannot be loaded: {failure.reason}\nRepair the file and run the same "
                "command again"
            ) from None

    def _check_unchanged(self) -> None:
        """A process that is started in the middle of a run must load what the first one loaded."""
        if content_hash(self.reward.files()) != self.content:
            raise RewardError(
                f"{self.reward.file} changed while the run was using it, and its process has to be started again. "
                "Run the same command again: it continues with the file as it is now, and the manifest names the change"
            )

    def _arguments(self, rows: Sequence[Row]) -> dict[str, Any]:
        examples = [example for example, _ in rows]
        return {
            "prompts": [_prompt(example) for example in examples],
            "completions": [_completion(example, text) for example, text in rows],
            "columns": {name: [_column(one, name) for one in examples] for name in self._columns(examples)},
        }

    def _columns(self, examples: Sequence[Example]) -> list[str]:
        """The columns to pass: all that an example has. Raises RewardError where the function needs another one."""
        names = [name for name in dict.fromkeys(n for one in examples for n in one.columns) if name not in RESERVED]
        for name in self.function.required:
            if name in (*names, *python_source.GIVEN):
                continue
            try:
                examples[0].columns[name]
            except KeyError as error:
                if type(error) is not KeyError:
                    raise  # the mapping has an explanation of its own
                raise RewardError(
                    f"reward.file={self.reward.file}: {_unknown_column(self.function.name, name, names)}"
                ) from None
        return names

    def _advice(self, failure: CallFailed) -> str:
        fields = {"slow": "seconds", "memory": "memory_gib"}
        if failure.kind not in fields:
            return ""
        field = fields[failure.kind]
        return f"\nIf it needs more, raise reward.{field} (now {getattr(self.reward, field):g})"


def _unknown_column(function: str, name: str, columns: Sequence[str]) -> str:
    return (
        f"{function} needs a column {name!r}, which the data lacks: {near(name, columns)}. Give the parameter another "
        f"name, or a default: {name}=None"
    )


def _prompt(example: Example) -> Any:
    if isinstance(example.prompt, str):
        return example.prompt
    return [{"role": message.role, "content": message.content} for message in example.prompt]


def _completion(example: Example, text: str) -> Any:
    return text if isinstance(example.prompt, str) else [{"role": "assistant", "content": text}]


def _column(example: Example, name: str) -> Any:
    try:
        return _plain(example.columns.get(name))
    except TypeError as error:
        raise RewardError(f"the column {name!r} of the example {example.key} {error}") from None


def _plain(value: Any) -> Any:
    """As JSON holds it: tuples become lists, dates texts. Raises TypeError for what cannot be passed on."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if callable(convert := getattr(value, "tolist", None)):  # a scalar or an array of numpy
        return _plain(convert())
    raise TypeError(f"holds a {type(value).__name__}, which cannot be passed to the child process")
