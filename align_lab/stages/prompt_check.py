"""Prompts that are too long for a run's model are found before the run is queued, as far as its tokenizer is here.

Nothing is tokenized, and no library for it imported, where the longest prompt has fewer bytes than the model's context
has tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from align_lab.base import vary
from align_lab.base.errors import ConfigError
from align_lab.base.run_config import RunConfig
from align_lab.base.task import TRAIN, PlacedPrompt, bytes_of
from align_lab.rollout.long_prompts import Room
from align_lab.rollout.prompt_lengths import find, harmless
from align_lab.stages.dependencies import data_stage, load_data
from align_lab.stages.store import shared
from align_lab.stages.texts import existing_text

SMALLEST = 1024  # tokens of context that a model whose shape is not known yet has at least
ACTIONS = {"drop": "they are left out", "truncate": "they are truncated from the left"}


def check(runs: Sequence[RunConfig]) -> list[str]:
    """Lines for the user about long prompts of these runs. Raises ConfigError where a run would refuse its prompts."""
    different = {json.dumps([_rooms(run), run["data"], run["model"]], default=vars): run for run in runs}
    checked = [_of_run(run) for run in different.values()]
    if refused := [text for errors, _ in checked for text in errors]:
        raise ConfigError("\n".join(dict.fromkeys(refused)))
    return list(dict.fromkeys(line for _, lines in checked for line in lines))


def _rooms(run: RunConfig) -> dict[str, Room]:
    """The tokens that a prompt of each used set may have, by the name of the set."""
    shape = run.model.shape()
    context = SMALLEST if shape is None else shape.context
    training, evaluation = run.sampling.max_new_tokens, run.evaluation.max_new_tokens
    own = {} if evaluation is None else {"field": "evaluation.max_new_tokens"}
    rooms = {TRAIN: Room(context=context, new=training, split=TRAIN)}
    for name in run.evaluated_sets:
        rooms[name] = Room(context=context, new=evaluation or training, split=name, **own)
    return rooms


def _of_run(run: RunConfig) -> tuple[list[str], list[str]]:
    """What is refused, and what the user should know."""
    rooms, data, form = _rooms(run), run.data, run.data.prompt_form
    least = min(room.limit for room in rooms.values())
    if not any(True for _ in _longer_prompts(run, harmless(least, form))):
        return [], []
    text = None if run.model.shape() is None else existing_text(vary.moved(run.values)["model"], run["data"])
    if text is None:
        return [], _unknown(run, least)
    found, whole = find(_longer_prompts(run, harmless(least, form, text)), text, rooms, form)
    errors, lines = list[str](), list[str]()
    for long in found:
        size = data.size(long.room.split)
        words = long.in_words(size=size, whole=whole)
        if form.too_long == "error" or long.room.limit < 1:
            errors.append(f"{words}. {long.advice()}")
        elif form.too_long == "drop" and long.count == size:
            errors.append(f"{words}, so data.too_long=drop leaves none. Set {long.room.field} smaller")
        else:
            lines.append(f"{words}: {ACTIONS[form.too_long]} (data.too_long={form.too_long})")
    return errors, lines


def _longer_prompts(run: RunConfig, least: int) -> Iterable[PlacedPrompt]:
    """The prompts with more than `least` bytes; where the settings do not say, those of the data set if it is built."""
    known = run.data.longer_prompts(least)
    return _of_built(run, least) if known is None else known


def _of_built(run: RunConfig, least: int) -> Iterator[PlacedPrompt]:
    stage, store = data_stage(run["data"]), shared()
    if not store.has(stage.name):
        return
    data_set = load_data(stage, store.open(stage.name).path)
    for split in run.data.all_splits():
        for number, example in enumerate(data_set.examples(split), 1):
            if bytes_of(example.prompt) > least:
                yield PlacedPrompt(split=split, place=f"example {number}", example=example)


def _unknown(run: RunConfig, least: int) -> list[str]:
    if not any(True for _ in _longer_prompts(run, least)):
        return []
    return [
        f"some prompts have more than {least:,} bytes, and model={run['model']['name']} with its tokenizer is not on "
        "this machine yet: whether they fit into its context is checked when a run starts"
    ]
