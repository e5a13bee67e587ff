"""Studies in which one thing differs in a random place: they must never be called comparable, whatever else is odd.

Everything goes through run folders and the real comparison.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from align_lab.compare import reading
from align_lab.compare.analysis import analyze
from tests.compare.folders import renamed, write_run

FIELDS = {  # settings beyond those of `folders.CONFIG`, of every type that a config holds
    "data.name": "movie_reviews",
    "data.size": 1,
    "data.shuffle": True,
    "data.filter": None,
    "data.splits": ["train", "test"],
    "sampling.stop": [],
    "hardware.numerics.dtype": "float32",
    "evaluation.judges.strict.name": "rules",
    "evaluation.judges.strict.inner.name": "lexicon",
    "evaluation.judges.strict.inner.weight": 1.0,
}
HASHES = {"data": "d1", "plugins": "p1", "device": "cpu", "judges": {"strict": {"model": "m1"}}}
HARMLESS = {  # recipe, budget and what cannot change a result
    "algo.clip": 0.2,
    "train.lr": 0.5,
    "train.steps": 7,
    "train.budget.tokens": 10,
    "train.micro_batch": 3,
    "record.samples": 9,
    "hardware.placement.partition": "gpu",
    "plugins": ["mine"],
    "study": "other",
}
WRITTEN = {
    "sampling.temperature": 0.7,
    "evaluation.prompts": 4,
    "evaluation.metric": "eval/gold_score",
}  # by `write_run`
REMOVED = "(this field is not recorded)"
ALIKE = [
    1,
    1.0,
    "1",
    True,
    None,
    0,
    0.0,
    False,
    "",
    "None",
    "null",
    "true",
    "not recorded",
    [],
    {},
    [1],
    {"a": 1},
    float("inf"),
]
EXAMPLES = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass
class Spec:
    """A run to be written: where, under which name, made of what."""

    study: str
    name: str
    algo: str
    seed: int
    arm: str
    config: dict[str, Any]
    hashes: dict[str, Any]


@st.composite
def studies(draw: Callable[..., Any]) -> list[Spec]:
    """Two to six comparable runs in one or two studies, with arms named alike and seeds that repeat."""
    arms = draw(
        st.lists(st.sampled_from(["", "a", "a (train.lr=0.5)", "rloo", "not recorded"]), min_size=2, max_size=6)
    )
    runs = []
    for i, arm in enumerate(arms):
        study, algo, seed = (
            draw(st.sampled_from(["one", "two"])),
            draw(st.sampled_from(["rloo", "ppo"])),
            draw(st.integers(0, 1)),
        )
        name = draw(st.sampled_from([f"run-{i}", f"{algo}-tiny{i}"]))
        harmless = draw(st.dictionaries(st.sampled_from(sorted(HARMLESS)), st.sampled_from(ALIKE), max_size=2))
        config = {**FIELDS, **HARMLESS, **harmless, "arm": arm}
        runs.append(Spec(study, name, algo, seed, arm, config, copy.deepcopy(HASHES)))
    return runs


def lookalikes(value: Any) -> list[Any]:
    """Values that read like this one, and are another."""
    numbers = [int(value), float(value), bool(value)] if isinstance(value, int | float) else []
    return [str(value), json.dumps(value), [value], {"value": value}, *numbers]


def changed(value: Any, other: Any) -> bool:
    """Would a reader of the record see another value?"""
    return json.dumps(value) != json.dumps(other)


@contextmanager
def written(runs: list[Spec]):
    """The folders of their studies."""
    with tempfile.TemporaryDirectory() as folder:
        for run in runs:
            path = Path(folder) / run.study
            made = write_run(path, run.algo, run.seed, name=run.name, config=run.config, hashes=run.hashes)
            drop(made, run)
            run.name = renamed(made).name
        yield sorted(path for path in Path(folder).iterdir())


def drop(path: Path, run: Spec) -> None:
    """Take fields out that are not to be recorded."""
    manifest = json.loads((path / "manifest.json").read_text())
    for kind, values in (("config", run.config), ("hashes", run.hashes)):
        manifest[kind] = {key: value for key, value in manifest[kind].items() if values.get(key) != REMOVED}
    (path / "manifest.json").write_text(json.dumps(manifest))


@st.composite
def tampered(draw: Callable[..., Any]) -> tuple[list[Spec], str]:
    """A study in which one run differs in one setting or hash, and the name of that field."""
    runs = draw(studies())
    victim = draw(st.sampled_from(runs))
    hashed = draw(st.booleans())
    known = (
        {**HASHES, "policy": "aaaa", "gold": "bbbb", "source": "cccc", "torch": "2.9"}
        if hashed
        else {**FIELDS, **WRITTEN}
    )
    field = draw(st.sampled_from(sorted(known)))
    near = [REMOVED, *(value for value in lookalikes(known[field]) if changed(value, known[field]))]
    far = [value for value in ALIKE if changed(value, known[field])]
    if field == "evaluation.metric":
        near = far = [REMOVED, "eval/score"]  # what decides must be a metric that the rows hold
    (victim.hashes if hashed else victim.config)[field] = draw(st.sampled_from(near) | st.sampled_from(far))
    return runs, field


def fields(document: Any) -> list[str]:
    return [one["field"] for one in document["comparability"]["differing"]]


@EXAMPLES
@given(tampered())
def test_one_difference_in_one_place_is_always_named(case):
    runs, field = case
    with written(runs) as folders:
        document = analyze(folders)
    assert fields(document) == [field]
    assert not document["comparability"]["fair"] and document["verdict"]["pairs"] == []
    assert document["verdict"]["sentence"] == f"Not comparable: the runs differ in {field}."


@EXAMPLES
@given(studies())
def test_differences_by_design_are_no_difference_and_no_run_is_lost(runs):
    with written(runs) as folders:
        document = analyze(folders)
    assert document["comparability"]["fair"], fields(document)
    used = [name for arm in document["arms"] for name in arm["runs"]]
    duplicates = [run for run in document["unfinished"] if run["state"] == "duplicate"]
    assert (
        len(used) + len(duplicates)
        == len({(run.study, run.name) for run in runs})
        == len(document["links"]) + len(duplicates)
    )
    assert all(run["used"] in used and run["used"] in run["why"] for run in duplicates)


@settings(EXAMPLES, max_examples=60)
@given(tampered())
def test_an_index_that_was_made_before_the_change_hides_nothing(case):
    runs, field = case
    clean = [copy.deepcopy(run) for run in runs]
    for run in clean:
        run.hashes = copy.deepcopy(HASHES)
        run.config |= FIELDS
        for name in WRITTEN:
            run.config.pop(name, None)
    with patch.object(reading, "INDEX_FROM", 1), written(clean) as folders:
        for file in [file for folder in folders for file in folder.glob("*/*")]:
            os.utime(file, (0, 0))  # an index trusts no file that has only just changed
        assert analyze(folders)["comparability"]["fair"]
        for run, before in zip(runs, clean, strict=True):
            manifest = next(path for path in folders if path.name == run.study) / before.name / "manifest.json"
            if json.dumps([run.config, run.hashes]) != json.dumps([before.config, before.hashes]):  # True is not 1
                content = json.loads(manifest.read_text())
                content["config"] |= run.config
                content["hashes"] |= run.hashes
                manifest.write_text(json.dumps(content))
                drop(manifest.parent, run)
        after = analyze(folders)
        in_config = json.dumps([run.config for run in runs]) != json.dumps([run.config for run in clean])
        altered = [run["name"] for run in after["unfinished"] if run["state"] == "altered"]
        assert len(altered) == in_config and (in_config or fields(after) == [field])


@settings(EXAMPLES, max_examples=60)
@given(tampered(), st.booleans())
def test_a_link_to_a_run_of_another_study_hides_nothing(case, twice):
    runs, field = case
    with written(runs) as folders:
        home = folders[0].parent / "home"
        home.mkdir()
        for i, run in enumerate(runs):
            (home / f"linked-{i}").symlink_to(folders[0].parent / run.study / run.name)
        assert fields(analyze([home])) == [field]
        assert fields(analyze([home, *folders] if twice else [*folders, home])) == [field]


@settings(EXAMPLES, max_examples=60)
@given(tampered())
def test_what_is_allowed_is_compared_apart_and_still_named(case):
    runs, field = case
    with written(runs) as folders:
        document = analyze(folders, allow=[field])
    assert document["comparability"]["fair"] and fields(document) == [field]
    assert any(f"{field} differs and was allowed to" in note for note in document["notes"])
