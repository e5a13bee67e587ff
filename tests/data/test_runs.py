"""A practitioner's run from own files with one command, and `data inspect`, in processes of their own."""

import json
import os

import pytest

from align_lab.__main__ import main
from tests import forked
from tests.data.written import questions, write
from tests.models.test_hf import folder

pytest.importorskip("transformers")
RUN = (
    *("algo=rloo", "data=files", "data.prompts=my.jsonl", "reward=vader", "model=hf", "model.path=model"),
    *("train.steps=1", "train.prompts_per_step=4", "train.group_size=2", "sampling.max_new_tokens=6"),
)
ATTACK = "Say <script>alert(1)</script> \x1b[31mred [bold]x[/bold] </s> \u202e"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with a file of prompts and a chat model of a few thousand weights."""
    place = tmp_path_factory.mktemp("practitioner")
    folder(place / "model", "llama")
    write(place / "my.jsonl", questions(40))
    write(place / "odd.jsonl", [{"prompt": ATTACK, "n": 1}, *questions(30), {"prompt": "x y " * 260_000}])
    return place


def command(lab, *args, expected=0):
    environment = {**os.environ, "ALIGN_LAB_CACHE": str(lab / "cache"), "COLUMNS": "120"}
    done = forked.run(args, cwd=lab, env=environment)
    assert done.returncode == expected, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def here(lab, monkeypatch, capsys):
    """Commands in this process: nothing is trained, and so they need no process of their own."""
    monkeypatch.chdir(lab)
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(lab / "cache"))
    monkeypatch.setenv("COLUMNS", "120")

    def call(*args, expected=0):
        assert main(args) == expected
        return capsys.readouterr()

    return call


def run_of(lab, study):
    (path,) = [path for path in (lab / "runs" / study).iterdir() if path.is_dir()]
    return path


def test_prompts_of_a_file_are_asked_in_the_chat_template_and_another_line_makes_another_run(lab):
    command(lab, *RUN, "study=mine", "evaluation.prompts=1000")
    samples = [json.loads(line) for line in (run_of(lab, "mine") / "samples.jsonl").read_text().splitlines()]
    asked = {row["prompt"] for row in questions(40)}
    assert {row["prompt"] for row in samples} <= asked  # the prompt itself, all held-out ones where fewer are asked for
    assert not any(row["completion"].startswith(row["prompt"][:8]) for row in samples)
    write(lab / "my.jsonl", [*questions(39), {"prompt": "Something else?", "answer": 0}])
    command(lab, *RUN, "study=mine", "seed=1")
    paths = sorted((lab / "runs" / "mine").glob("*/manifest.json"))
    first, second = (json.loads(path.read_text())["hashes"] for path in paths)
    assert {"files", "data"} <= {name for name in first if first[name] != second[name]}
    _, err = command(lab, "compare", "mine", expected=3)
    assert "files" in err and "data" in err


def test_a_prompt_that_is_too_long_is_refused_or_left_out_with_a_notice(lab):
    odd = [text.replace("my.jsonl", "odd.jsonl") for text in RUN]
    _, err = command(lab, *odd, "study=long", expected=2)
    assert "prompts of train have more than 250 tokens" in err and "odd.jsonl, line 32 (" in err
    assert "data.too_long=drop or truncate" in err and not list((lab / "runs").glob("long/*/status.json"))
    out, _ = command(lab, *odd, "study=short", "data.too_long=drop")
    assert "left out (data.too_long=drop)" in " ".join(out.split())


def test_inspect_shows_counts_tokens_and_prompts_as_the_model_sees_them_and_nothing_that_a_terminal_obeys(here):
    out, _ = here("data", "inspect", *RUN[1:6], RUN[-1], "data.prompts=odd.jsonl", "--examples", "40")
    assert "lengths of prompts in tokens of model" in out and "odd.jsonl: prompt" in out
    assert "prompts hold control tokens" in out and "> 250" in out
    assert r"<|user|>Say <script>alert(1)</script> \x1b[31mred [bold]x[/bold] </s> \u202e</s><|assistant|>" in out
    assert "\x1b" not in out and "\u202e" not in out
    assert "characters ...]" in out and max(map(len, out.splitlines())) < 3000


def test_the_table_of_inspect_fits_into_80_columns_and_is_whole_in_a_pipe(lab, here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name = "a_set_whose_name_is_too_long_for_a_table_of_eighty_columns_and_more"
    rows = [{**row, "completion": "yes"} for row in questions(30)]
    write(lab / "all.jsonl", rows)
    write(lab / "held.jsonl", [{**row, "prompt": f"What of {n}?"} for n, row in enumerate(rows)])
    files = ["data=files", "data.prompts=all.jsonl", *RUN[4:6], RUN[-1]]
    out, _ = here("data", "inspect", *files, "data.evaluation=held.jsonl", "--examples", "0")
    heading, train, held_out, development = table_of(out)
    assert heading.split() == ["split", "prompts", "answers", "median", "95", "%", "longest", ">", "250"]
    assert train.split()[:3] == ["train", "29", "29"] and held_out.split()[0] == "evaluation"
    assert development.split()[:3] == ["development", "1", "1"]
    assert max(map(len, (heading, train, held_out))) <= 80
    out, _ = here("data", "inspect", *files, f"data.evaluation={{{name}: held.jsonl}}", "--examples", "0")
    heading, _, held_out, *_ = table_of(out)
    assert held_out.split()[:3] == [name, "30", "30"] and len(heading.rstrip()) > 80
    out, _ = here("data", "inspect", "data=files", "data.prompts=my.jsonl", "--examples", "0")
    assert table_of(out)[0].split() == ["split", "prompts", "median", "95", "%", "longest"]


def table_of(out):
    """The heading and the rows of the three splits."""
    lines = out.splitlines()
    (start,) = [place for place, line in enumerate(lines) if line.startswith("split ")]
    return lines[start : start + 4]


def test_inspect_counts_words_where_no_model_is_named_and_refuses_what_a_run_refuses(here):
    out, _ = here("data", "inspect", "data=files", "data.prompts=odd.jsonl", "--examples", "1")
    assert "lengths of prompts in words" in out and "example 2" not in out
    _, err = here("data", "inspect", "data=files", "data.prompts=nowhere.jsonl", expected=2)
    assert "data.prompts=nowhere.jsonl: there is no such file" in err
    _, err = here("data", "inspect", "data=files", "data.promts=my.jsonl", expected=2)
    assert "did you mean 'data.prompts'" in err


def single(rows, *, label=lambda i: i % 2 == 0):
    """Completions of different prompts, each with a label."""
    return [{"prompt": row["prompt"], "completion": f"It is {i}.", "label": label(i)} for i, row in enumerate(rows)]


KTO = (
    *("data=files", "data.preferences=single.jsonl", "preferences.source=data", "reward=vader", "model=hf"),
    *("model.path=model", "train.steps=2", "train.prompts_per_step=4", "train.group_size=2"),
)


def test_kto_learns_from_single_completions_of_a_file(lab):
    write(lab / "single.jsonl", single(questions(40)))
    out, _ = command(lab, "algo=kto", *KTO, "study=kto")
    shown = " ".join(out.split())
    assert "completions with a label of the data are used" in shown and "of them are desirable" in shown
    rows = [json.loads(line) for line in (run_of(lab, "kto") / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["episode"], row["budget/labels"]) for row in rows] == [(0, 0, 0), (1, 8, 8), (2, 16, 16)]
    assert "rewards/reference_point" in rows[-1]


def test_single_completions_are_refused_where_pairs_are_needed_or_one_label_is_missing(lab, here):
    write(lab / "single.jsonl", single(questions(40)))
    _, err = here("algo=dpo", *KTO, "study=refused", expected=2)
    assert "algo=dpo learns from preference pairs, and the completions of the data with a label have no partner" in err
    assert "Set algo=kto" in err
    write(lab / "single.jsonl", single(questions(40), label=lambda i: True))
    _, err = here("algo=kto", *KTO, "study=refused", expected=2)
    assert "no undesirable one" in err and "Add rows with label false" in err
    prompts = tuple(text.replace("data.preferences", "data.prompts") for text in KTO)
    _, err = here("algo=kto", *prompts, "study=refused", expected=2)
    assert "algo=kto learns from desirable and undesirable completions" in err and "are desirable" in err
    assert "Add undesirable ones (label false)" in err
    assert not (lab / "runs" / "refused").exists()


def test_an_algorithm_that_samples_says_that_it_does_not_read_preferences(lab):
    write(lab / "single.jsonl", single(questions(40)))
    out, _ = command(lab, "algo=rloo", *KTO, "study=sampled", "train.steps=1")
    assert "preferences.source=data has no effect: algo=rloo learns from the reward" in " ".join(out.split())


def test_a_run_of_broken_files_writes_nothing(lab, here):
    write(lab / "broken.jsonl", [*questions(20), '{"prompt": '])
    broken = [text.replace("my.jsonl", "broken.jsonl") for text in RUN]
    _, err = here(*broken, "study=broken", expected=2)
    assert "broken.jsonl, line 21: it is not valid JSON" in err and not (lab / "runs" / "broken").exists()
