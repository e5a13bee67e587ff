"""The card of an option: what it computes, what it keeps in memory, its fields, its papers, tests and measured results.

Docstrings, fields and values are those of the component; papers, the sources of defaults, tests, studies and what came
out of them stand in `align_lab/algos/papers.toml`, as does the text of an option that gives a component other values.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from align_lab.base import registry
from align_lab.base.paths import PACKAGE
from align_lab.base.run_config import RunConfig
from align_lab.base.types import Needs
from align_lab.studies.search import declared

PAPERS = PACKAGE / "algos" / "papers.toml"
REPOSITORY = "../../"  # from docs/algorithms/
NOT_MEASURED = "not measured yet"


@dataclass(frozen=True, kw_only=True)
class FieldCard:
    """A field of the component, with the value of this option."""

    name: str
    value: str
    help: str
    source: str
    tune: str
    range_source: str


@dataclass(frozen=True, kw_only=True)
class PaperCard:
    """A paper, and what of it this option implements."""

    title: str
    arxiv: str
    part: str  # what of it is implemented; "": the method that the option is named after


@dataclass(frozen=True, kw_only=True)
class Card:
    """What `show` prints, and the page in docs/algorithms/."""

    option: str
    texts: Sequence[str]
    memory: Sequence[str]
    fields: Sequence[FieldCard]
    training: Sequence[FieldCard]  # of `train`, what its space holds beside its own fields
    papers: Sequence[PaperCard]
    tests: Sequence[str]
    studies: Mapping[str, str]  # page -> what was asked, and what came out


def card(group: str, name: str, plugins: Sequence[str] = ()) -> Card:
    """The card of GROUP=NAME. Raises ConfigError if there is none."""
    from align_lab.config import composition

    overrides = [f"{group}={name}", *plugins]
    composition.load_components(composition.parse(overrides))
    composed = composition.Composer().values(overrides)
    values = composed[group]
    component = registry.lookup(group, values["name"])
    content = index()
    entry = content["algos"].get(name, {}) if group == "algo" else {}
    papers = content["papers"]
    own = entry.get("text")
    docstrings = [own] if own else [sys.modules[component.__module__].__doc__, component.__doc__]
    return Card(
        option=f"{group}={name}",
        texts=[inspect.cleandoc(text) for text in docstrings if text],
        memory=list(memory(registry.build("algo", values).needs)) if group == "algo" else [],
        fields=list(_fields(component, values, f"{group}.", entry.get("defaults", {}), name)),
        training=list(_training(composed, name)) if group == "algo" else [],
        papers=[
            PaperCard(title=papers[key]["title"], arxiv=papers[key]["arxiv"], part=part)
            for key, part in entry.get("papers", {}).items()
        ],
        tests=entry.get("tests", []),
        studies={study: _asked(*content["studies"][study]) for study in entry.get("studies", [])},
    )


@cache
def index() -> Mapping[str, Any]:
    """`papers`: key -> title, authors, arxiv. `algos`: option -> its papers, the tests that pin it, its studies.
    `studies`: page -> what was asked, and what came out. `ranges`: where the ends of what a tuning tries come from."""
    return tomllib.loads(PAPERS.read_text(encoding="utf-8"))


def _asked(question: str, out: str) -> str:
    return f"{question} {out}" if question.endswith("?") else f"{question}: {out}"


def memory(needs: Needs) -> Iterator[str]:
    """What a run holds in memory and samples, in the words of a user."""
    yield "the policy, which is trained"
    if needs.reference and needs.resets_reference:
        yield "log-probabilities of the policy that the round begins with, as the reference; no second model"
    elif needs.reference and needs.samples:
        yield "the reference: a frozen copy of the start policy, or the policy itself without its adapters"
    elif needs.mismatched:
        yield "log-probabilities of the completions under the start policy, computed once"
        yield "the reference as well, for completions of other prompts: a frozen copy of the start policy"
    elif needs.reference:
        yield "log-probabilities of the pairs under the start policy, computed once; no second model"
    if needs.critic is not None:
        start = {"reward": "the reward model", "policy": "the policy"}[needs.critic.init]
        yield f"a critic of the policy's size, which is trained and starts from {start}"
    yield from _experience(needs)
    if needs.pretrain_batch:
        yield "a batch of human texts a step, for a pre-training loss"


def _experience(needs: Needs) -> Iterator[str]:
    """Where the completions of a step come from."""
    if not needs.samples:
        yield "preference pairs" if needs.paired else "completions that were liked or not, each by itself"
        return
    least, most = needs.min_group_size, needs.max_group_size
    size = f"{least}" if least == most else f"at least {least}" + (f", at most {most}" if most else "")
    yield f"train.group_size samples a prompt ({size})"
    if needs.pairs:
        yield f"preference pairs in {needs.pairs:.0%} of the groups"
    if needs.greedy:
        yield "one greedy completion a prompt, which is charged"
    if needs.refills:
        yield f"up to {needs.refills} further batches of prompts a step, in place of groups that it does not keep"
    if needs.rounds is not None:
        yield f"the experience of a round of {needs.rounds.steps} steps"


def _training(composed: Mapping[str, Any], option: str) -> Iterator[FieldCard]:
    """The fields of training that the declared space of an algorithm holds."""
    tuned = declared(RunConfig(composed, {}))
    train = registry.lookup("train", composed["train"]["name"])
    every = _fields(train, composed["train"], "train.", index()["train"]["defaults"], option)
    yield from (one for one in every if one.name in tuned)


def range_source(field: str, tried: str, option: str) -> str:
    """Where the ends of a range come from; empty where the index does not say."""
    named = [one for one in index()["ranges"] if (one["field"], one["range"]) == (field, tried)]
    of_option = [one["source"] for one in named if option in one.get("algos", [option])]
    return of_option[0] if of_option else ""


def _fields(
    component: type, values: Mapping[str, Any], prefix: str, sources: Mapping[str, str], option: str
) -> Iterator[FieldCard]:
    for spec in dataclasses.fields(component):
        value = values[spec.name]
        if isinstance(value, Mapping) and isinstance(spec.default_factory, type):
            yield from _fields(spec.default_factory, value, f"{prefix}{spec.name}.", sources, option)
            continue
        tune = "" if value == math.inf else str(spec.metadata.get("tune") or "")
        yield FieldCard(
            name=prefix + spec.name,
            value="null" if value is None else str(value),
            help=spec.metadata.get("help", ""),
            source=sources.get(spec.name, ""),
            tune=tune,
            range_source=range_source(spec.name, tune, option) if tune else "",
        )


def as_text(shown: Card) -> str:
    """For a terminal."""
    lines = [shown.option, ""]
    for text in shown.texts:
        lines += [text, ""]
    lines += _listed("Keeps in memory and samples", shown.memory)
    lines += ["Fields", *_shown(shown.fields)]
    if shown.training:
        lines += ["", "Fields of training that are tuned with it", *_shown(shown.training)]
    lines += ["", *_listed("Papers", [_paper(one) for one in shown.papers])] if shown.papers else []
    lines += _listed("Tests that pin it", shown.tests)
    if shown.tests:
        lines += _listed("Measured", [f"{study}: {out}" for study, out in shown.studies.items()] or [NOT_MEASURED])
    return "\n".join(lines).rstrip()


def _listed(title: str, entries: Sequence[str]) -> list[str]:
    return [title, *(f"  {entry}" for entry in entries), ""] if entries else []


def _shown(fields: Sequence[FieldCard]) -> Iterator[str]:
    """A field with its value; below it where the default comes from, and what a tuning tries and why."""
    width = max((len(one.name) for one in fields), default=0)
    for one in fields:
        yield f"  {one.name:<{width}}  {one.value:<10}  {one.help}".rstrip()
        tried = one.tune and f"tuned over {one.tune}{f' ({one.range_source})' if one.range_source else ''}"
        yield from (" " * (width + 16) + more for more in (one.source and f"default: {one.source}", tried) if more)


def _paper(one: PaperCard) -> str:
    return f"{one.title}, arXiv {one.arxiv}" + (f": {one.part}" if one.part else "")


def as_markdown(shown: Card) -> str:
    """A page of docs/algorithms/."""
    lines = [f"# {shown.option}", ""]
    for text in shown.texts:
        lines += ["```text", text, "```", ""]
    lines += _section("Memory and sampling", shown.memory)
    if shown.fields:
        lines += ["## Fields", "", *_table(shown.fields), ""]
    if shown.training:
        lines += ["## Fields of training that are tuned with it", "", *_table(shown.training), ""]
    links = [f"[{one.title}](https://arxiv.org/abs/{one.arxiv}){one.part and f': {one.part}'}" for one in shown.papers]
    lines += _section("Papers", links)
    lines += _section("Tests that pin it", [_link(test) for test in shown.tests])
    measured = [f"{_link(study)}: {out}" for study, out in shown.studies.items()]
    lines += _section("Measured", measured or [NOT_MEASURED])
    return "\n".join(lines).rstrip() + "\n"


def _table(fields: Sequence[FieldCard]) -> Iterator[str]:
    yield "| field | default | what it is | where the default comes from | tuned over | where the range comes from |"
    yield "|---|---|---|---|---|---|"
    for one in fields:
        texts = (one.help, one.source, one.tune or "not tuned", one.range_source)
        yield f"| `{one.name}` | {one.value} | {' | '.join(map(_cell, texts))} |"


def _section(title: str, entries: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"* {entry}" for entry in entries), ""] if entries else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _link(target: str) -> str:
    """A file of the repository, from docs/algorithms/; a test's name behind `::` stays text."""
    return f"[{target}]({REPOSITORY}{target.partition('::')[0]})"
