"""`align_lab data inspect data=files ...`: what a data set holds, and how a model will see it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from align_lab.base import registry
from align_lab.base.contracts import Data, Model
from align_lab.base.errors import ConfigError
from align_lab.cli.arguments import Arguments
from align_lab.record.terminal import Terminal

ABOUT = """\
Read a data set as a run would, and print counts, lengths, splits, duplicates, and examples as the model will see them.

Nothing is trained. With model=... lengths are in tokens of its tokenizer, which is fetched if it is not here yet.
"""
EXAMPLES = """\
examples:
  align_lab data inspect data=files data.prompts=my.jsonl
  align_lab data inspect data=files data.preferences=pairs.jsonl model=hf model.path=FOLDER
  align_lab data inspect data=reasoning --examples 3
"""


def data(args: Sequence[str]) -> int:
    """Inspect a data set. Raises ConfigError or DataError that says what is wrong with it."""
    parser = Arguments(
        prog="align_lab data",
        usage="align_lab data inspect [data=OPTION] [data.FIELD=VALUE ...] [model=OPTION ...] [--examples N]",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=["inspect"], metavar="inspect")
    parser.add_argument("overrides", nargs="*", metavar="GROUP=OPTION | FIELD=VALUE", help="as for a run")
    parser.add_argument("--examples", type=int, default=10, metavar="N", help="examples to print (default 10)")
    chosen = parser.parse_intermixed_args(args)
    return _inspect(chosen.overrides, max(0, chosen.examples))


def _inspect(overrides: Sequence[str], examples: int) -> int:
    from align_lab.cli import data_report
    from align_lab.config import composition

    composition.load_components(composition.parse(overrides))
    values = composition.Composer().values(overrides)
    component = _component(values["data"])
    names_model = any(text.startswith(("model=", "model.")) for text in overrides)
    inspected = data_report.Inspected(
        name=values["data"]["name"],
        component=component,
        data_set=_loaded(values["data"], component),
        text=_text(values["model"], values["data"]) if names_model else None,
        model=str(values["model"].get("path") or values["model"]["name"]) if names_model else "",
        limit=_limit(values) if names_model else None,
    )
    data_report.show(inspected, Terminal(soft_wrap=True), examples=examples)
    return 0


def _component(values: Mapping[str, Any]) -> Data:
    """Raises ConfigError with everything that is wrong with the settings or the files."""
    cls = registry.lookup("data", values["name"])
    messages = registry.problems(cls, values, "data.") or registry.build("data", values).problems()
    if messages:
        raise ConfigError("\n".join(messages))
    return registry.build("data", values)


def _loaded(values: Mapping[str, Any], component: Data) -> Any:
    """The data set, from the artefact that runs share."""
    from align_lab.record.console import Screen
    from align_lab.stages.dependencies import data_stage
    from align_lab.stages.store import shared

    with Screen(live=False) as screen:
        return component.load(shared(screen).get(data_stage(values)).path)


def _text(model: Mapping[str, Any], data_values: Mapping[str, Any]) -> Any:
    """Tokenizer and chat template of a model; None where only training would make them.

    A model that is not on this machine yet is fetched as a run would fetch it.
    """
    from align_lab.record.console import Screen
    from align_lab.stages.dependencies import data_stage, policy_stage
    from align_lab.stages.store import shared
    from align_lab.stages.texts import existing_text

    component: Model = registry.build("model", model)
    if messages := component.problems():
        raise ConfigError("\n".join(messages))
    if text := existing_text(model, data_values):
        return text
    if component.fine_tuning() is not None:
        return None
    form = registry.build("data", data_values).prompt_form
    with Screen(live=False) as screen:
        folder = shared(screen).get(policy_stage(model, data_stage(data_values), form=form)).path
    return existing_text(model, data_values) or component.load(folder).text


def _limit(values: Mapping[str, Any]) -> int | None:
    """The most tokens of a prompt that leave room for a completion; None if the model's shape is not known yet."""
    shape = registry.build("model", values["model"]).shape()
    return None if shape is None else shape.context - int(values["sampling"]["max_new_tokens"])
