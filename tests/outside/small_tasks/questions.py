"""Questions: conversations of a local file, without a text to imitate; a reward that needs no training."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from align_lab.base.contracts import Data, Reward
from align_lab.base.errors import DataError
from align_lab.base.registry import param, register
from align_lab.base.task import DataSet, Example, Message, Score


class Questions(DataSet):
    """Conversations by split."""

    def __init__(self, rows):
        self.rows = rows

    def examples(self, split):
        return [
            Example(
                key=row["id"],
                prompt=(Message("system", "Answer briefly."), Message("user", row["question"])),
                columns={"words": row["words"]},
            )
            for row in self.rows
            if row["split"] == split
        ]


@register("data", "questions")
@dataclass(frozen=True, kw_only=True)
class QuestionsData(Data):
    """Questions of a JSON Lines file."""

    path: str = param("questions.jsonl", "one object a line: id, split, question, words")

    def files(self):
        return [Path(self.path)]

    def build(self, folder):
        lines = Path(self.path).read_text().splitlines()
        for number, line in enumerate(lines, start=1):
            if not json.loads(line).keys() >= {"id", "split", "question", "words"}:
                raise DataError(f"{self.path}, line {number}: id, split, question and words are needed")
        (folder / "questions.jsonl").write_text("\n".join(lines))

    def load(self, folder):
        return Questions([json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()])


@register("reward", "word_count")
@dataclass(frozen=True, kw_only=True)
class WordCount(Reward):
    """Minus the distance of the completion's words from those that its question asks for."""

    on_gpu = False

    def load(self, folder):
        return self

    def score(self, examples, completions):
        pairs = zip(examples, completions, strict=True)
        return Score(total=[-abs(len(re.findall(r"\w+", text)) - float(one.columns["words"])) for one, text in pairs])
