"""A study in one file: what it stands for, what the command line changes, and what is said of a file that is wrong."""

import re
import sys

import pytest

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.config import study, study_file

MINE = """\
question: Does RLOO do better?
model: {name: tiny, width: 64}
train: {lr: 1e-3, steps: 3}
evaluation: {prompts: 20, judges: {second: {name: vader}}}
arms: {rloo: [algo=rloo], dpo: [algo=dpo, algo.beta=0.2]}
seeds: [0, 1]
budget: {episodes: 128}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def asked(*words):
    return study.read(study_file.expanded(words))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_file_declares_the_whole_study(tmp_path):
    found = asked(write(tmp_path / "elsewhere" / "mine.yaml", MINE))
    assert found.name == "mine" and found.settings.question == "Does RLOO do better?"
    assert [(run["arm"], run.seed) for run in found.runs] == [("rloo", 0), ("rloo", 1), ("dpo", 0), ("dpo", 1)]
    first, last = found.runs[0], found.runs[-1]
    assert (first["model"]["width"], first["train"]["lr"], first["train"]["budget"]["episodes"]) == (64, 1e-3, 128)
    assert first["evaluation"]["judges"]["second"]["name"] == "vader" and last["algo"]["beta"] == 0.2


def test_the_command_line_wins_wherever_it_stands(tmp_path):
    file = write(tmp_path / "mine.yaml", MINE)
    for words in ((file, "train.lr=2e-3", "study=other"), ("train.lr=2e-3", "study=other", file)):
        found = asked(*words)
        assert found.name == "other" and {run["train"]["lr"] for run in found.runs} == {2e-3}


@pytest.mark.parametrize("name", ["plain", "packaged"])
def test_a_sweep_file_needs_no_package_line(tmp_path, name):
    header = {"plain": "", "packaged": "# @package _global_\nstudy: packaged\n"}[name]
    fields = MINE.replace("model: {name: tiny, width: 64}", "model: {width: 64}")
    write(tmp_path / "sweeps" / f"{name}.yaml", header + fields)
    found = asked(f"sweeps={name}")
    assert found.name == name and len(found.runs) == 4 and found.runs[0]["model"]["width"] == 64


def test_options_are_chosen_by_name_or_by_a_defaults_list(tmp_path):
    for text in (
        "algo: raft\n",
        "algo: {name: raft}\n",
        "defaults: [override /algo: raft]\n",
        "defaults: [/algo: raft]\n",
    ):
        assert asked(write(tmp_path / "one.yaml", text)).runs[0].choices["algo"] == "raft"


def test_plugins_of_the_file_are_imported_before_it_is_checked(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.scan()
    monkeypatch.setattr(registry, "_components", dict(registry._components))
    monkeypatch.delitem(sys.modules, "file_plugin", raising=False)
    (tmp_path / "file_plugin.py").write_text(
        "from dataclasses import dataclass\nfrom align_lab.base.registry import register\n"
        "from align_lab.algos.rloo import RLOO\n\n\n@register('algo', 'of_a_file')\n"
        "@dataclass(frozen=True, kw_only=True)\nclass OfAFile(RLOO):\n    'Another name.'\n"
    )
    found = asked(write(tmp_path / "mine.yaml", "plugins: [file_plugin]\nalgo: of_a_file\n"))
    assert found.runs[0].choices["algo"] == "of_a_file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"arms: {a: [algo=rloo]\nseeds: 3", "mine.yaml: line 2 is no yaml"),
        (b"seeds: [0]\nseeds: [1]\n", "mine.yaml: line 2 is no yaml: found duplicate key seeds"),
        (b"", "mine.yaml: it holds nothing. A study file holds fields"),
        (b"- rloo\n", "mine.yaml: it must hold fields, .*and holds a list. A study file holds"),
        (b"question: \xff\n", "mine.yaml: it is not a text in UTF-8.*Save it as UTF-8"),
        (b"trian: {lr: 1}\n", "did you mean train.lr?"),
        (b"train: {learning_rate: 1}\n", "did you mean train.lr?"),
        (b"model: hf2\n", "did you mean 'hf'?"),
        (b"parallel: ${nothing}\n", "'nothing' not found"),
        (b"hydra: {sweeper: {params: {seed: 1}}}\n", "Write the values to be swept as arms"),
        (b"defaults: [rloo]\n", "Write the option itself"),
        (b"arms: {a: [algo=rlo]}\n", "did you mean 'rloo'?"),
    ],
)
def test_a_wrong_file_is_refused_with_what_to_type(tmp_path, text, said):
    (tmp_path / "mine.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=said.replace("?", r"\?") if said.endswith("?") else said):
        asked("mine.yaml")


def test_a_file_that_is_not_there_is_refused_with_the_one_that_is(tmp_path):
    write(tmp_path / "mine.yaml", MINE)
    with pytest.raises(ConfigError, match=r"there is no file mien.yaml. did you mean 'mine.yaml'"):
        asked("mien.yaml")


@pytest.mark.parametrize("text", ["it's", "a, b", "{x}", 'a "quoted" \\ word', "yes", "1e-3", "", "ü: [z]", "a'b\\"])
def test_a_text_is_the_same_after_the_grammar_of_overrides(text):
    from align_lab.config import overrides

    (parsed,) = overrides.parse(list(study_file.overrides({"question": text}, "here")))
    assert parsed.value() == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("arms: [rloo, dpo]", "an arm is a name with a list of overrides. Write arms: {rloo: [algo=rloo]"),
        ("arms: {rloo: algo=rloo}", "an arm is a name with a list of overrides"),
        ("arms: {}", "an arm is a name with a list of overrides"),
        ("arms: {größe: [algo=rloo]}", "arms.größe: the name of an arm is letters of ASCII"),
        ("arms: {a: [algo=rloo], b: [algo=rloo]}", "the arms a and b are one and the same run"),
        ("arms: {a: [algo=rloo], b: [algo=dpo]}\nseeds: 3", "seeds=3: the seed 3 alone, or 3 seeds? Type seeds=[3]"),
        ("arms: {a: [algo=rloo], b: [algo=dpo]}\nseeds: [0, 0]", "a seed is named twice"),
        ("arms: {a: [algo=rloo], b: [algo=dpo]}\nseeds: {first: 4, most: 8}", "Type seeds.smallest=0.1"),
    ],
)
def test_what_arms_and_seeds_cannot_be_is_said_with_what_to_write(tmp_path, text, says):
    file = tmp_path / "asked.yaml"
    file.write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(says)):
        study.read(study_file.expanded([str(file)]))
