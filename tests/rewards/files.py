"""Reward files as users write them, and rows to score with them."""

import textwrap

from align_lab.base.task import Example, Failure, Message
from align_lab.rewards.python_file import PythonFile


def write(folder, source, name="my_reward.py"):
    path = folder / name
    path.write_text(textwrap.dedent(source).lstrip())
    return path


def scorer(folder, source, function="", **fields):
    """The scorer of a reward file with this source."""
    path = write(folder, source)
    return PythonFile(file=f"{path}:{function}" if function else str(path), **fields).load(None)


def score(one, *completions, **columns):
    """The outcomes of completions of one example with these columns; of a failure, its reason."""
    examples = [Example.of_text("a prompt", **columns) for _ in completions]
    totals = one.score(examples, completions).total
    return [total.reason if isinstance(total, Failure) else total for total in totals]


def chat(text):
    return Example(key="chat", prompt=(Message("system", "Be brief."), Message("user", text)))
