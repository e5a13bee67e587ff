"""Every command that README and docs show is one that the program takes; every study in yaml is one that it reads."""

import json
import re
import sys

import pytest

from align_lab import __main__
from align_lab.base import registry
from align_lab.base.errors import AlignLabError
from align_lab.cli import commands as verbs
from align_lab.config import study, study_file
from tests.docs.snippets import CHECKOUT, PAGES, commands, snippets
from tests.rewards.files import score, scorer

PLACEHOLDERS = re.compile(  # words that a reader replaces by their own
    r"the environment variable (OPENAI_API_KEY|SCORES) is not set"
    r"|path=FOLDER is neither an existing folder|path=OWNER/NAME is a model of the hub"
)
ROWS = [{"prompt": f"prompt {i}", "chosen": "a", "rejected": "b", "solution": "1", "answer": "1"} for i in range(40)]
RUNS = [
    (page, words) for page, words in commands() if words and words[0] not in verbs.VERBS and "..." not in str(words)
]
VERBS = [(page, words) for page, words in commands() if words and words[0] in verbs.VERBS]


def ids(cases):
    return [f"{page.stem}-{' '.join(words)[:60]}" for page, words in cases]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the commands name."""
    registry.scan()
    monkeypatch.setattr(registry, "_components", dict(registry._components))  # other tests do not see plug-ins
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = "".join(json.dumps(row) + "\n" for row in ROWS)
    for name in ("my.jsonl", "my_prompts.jsonl", "pairs.jsonl", "problems.jsonl", "unpaired.jsonl"):
        (tmp_path / name).write_text(rows)
    function = "def {}(**given):\n    return [1.0 for _ in given['completions']]\n"
    (tmp_path / "my_steps.py").write_text(function.format("reward"))
    for snippet in snippets():
        if (snippet.name or "").startswith("my_") or snippet.name == "conf/data/my_sums.yaml":
            (tmp_path / snippet.name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / snippet.name).write_text(snippet.text)
    with (tmp_path / "my_reward.py").open("a") as file:
        file.write("\n\n" + function.format("other_function"))
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "my_study.yaml").write_text("arms: {a: [algo=rloo], b: [algo=dpo]}\nseeds: [0, 1]\n")
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.nightly
@pytest.mark.parametrize(("page", "words"), RUNS, ids=ids(RUNS))
def test_a_command_that_trains_is_accepted(page, words, place):
    if "--help" in words:
        assert __main__.main(words) == 0
        return
    several = any(word.startswith("sweeps=") or word.endswith(".yaml") for word in words) or "-m" in words
    texts = study_file.expanded([word for word in words if word not in ("-m", "--cfg", "job")])
    try:
        assert study.read(texts, multirun=several).runs
    except AlignLabError as refused:
        assert PLACEHOLDERS.search(str(refused)), f"{page}: {' '.join(words)}\n{refused}"


@pytest.mark.parametrize(("page", "words"), VERBS, ids=ids(VERBS))
def test_the_options_of_a_command_are_those_of_its_help(page, words, capsys):
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    inner = [words[1]] if words[0] in ("data", "wandb") else []
    with pytest.raises(SystemExit) as left:
        verbs.run(words[0], [*inner, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in flags), f"{page}: {words}\n{shown}"


STUDIES = [
    one for one in snippets() if one.language == "yaml" and re.search(r"^(arms|tune|seeds):", one.text, re.MULTILINE)
]


@pytest.mark.parametrize("snippet", STUDIES, ids=[f"{one.page.stem}-{i}" for i, one in enumerate(STUDIES)])
def test_a_study_in_yaml_is_read(snippet, place):
    file = place / "shown.yaml"
    has_arms = re.search(r"^(arms|factors):", snippet.text, re.MULTILINE)
    arms = "" if has_arms else "arms: {ppo: [algo=ppo], rloo: [algo=rloo]}\n"
    file.write_text(arms + snippet.text)
    try:
        assert study.read(study_file.expanded([str(file)])).runs
    except AlignLabError as refused:
        assert PLACEHOLDERS.search(str(refused)), f"{snippet.page}\n{snippet.text}\n{refused}"


def test_a_module_that_two_pages_show_is_the_same():
    texts = {}
    for snippet in snippets():
        if (snippet.name or "").endswith(".py"):
            texts.setdefault(snippet.name, []).append(snippet.text.strip())
    assert any(len(shown) > 1 for shown in texts.values())
    assert [name for name, shown in texts.items() if len(set(shown)) > 1] == []


FUNCTIONS = [
    (page, found) for page in PAGES for found in re.findall(r"# +(def \w+\(.*)$", page.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("page", "function"), FUNCTIONS, ids=[page.stem for page, _ in FUNCTIONS])
def test_a_reward_that_a_comment_of_a_study_shows_scores(page, function, tmp_path):
    assert score(scorer(tmp_path, function + "\n"), "four", "a") == [4.0, 1.0]


def test_most_commands_are_tried():
    """The pages have not lost their commands."""
    assert {"README", "SKILL"} <= {page.stem for page, _ in FUNCTIONS}
    assert len(RUNS) > 60 and len(VERBS) > 50 and len(STUDIES) >= 4 and CHECKOUT.joinpath("mkdocs.yml").exists()
