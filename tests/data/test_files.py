"""`data=files`: what is read from which field and format, and on which side of the split it lies."""

import gzip
import json

import polars as pl
import pytest

from align_lab.base import registry
from align_lab.base.task import Message
from align_lab.data.settings import Columns
from align_lab.testing import assert_contract
from tests.data import written
from tests.data.written import loaded, name, problems, questions, write

ROWS = questions(60)


def prompts(data_set, split):
    return [example.prompt for example in data_set.examples(split)]


@pytest.mark.parametrize("ending", ["jsonl", "json", "jsonl.gz", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_prompts_in_the_order_of_the_file(tmp_path, ending):
    path, frame = tmp_path / f"rows.{ending}", pl.DataFrame(ROWS)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    {
        "jsonl": lambda: path.write_text(lines),
        "json": lambda: path.write_text("\ufeff" + lines),
        "jsonl.gz": lambda: path.write_bytes(gzip.compress(lines.encode())),
        "csv": lambda: frame.write_csv(path),
        "tsv": lambda: frame.write_csv(path, separator="\t"),
        "parquet": lambda: frame.write_parquet(path),
    }[ending]()
    data_set = loaded(tmp_path / "built", prompts=path, evaluation_share=0.3)
    train, held_out = prompts(data_set, "train"), prompts(data_set, "evaluation")
    assert train == [row["prompt"] for row in ROWS if row["prompt"] in train]
    assert sorted(train + held_out) == sorted(row["prompt"] for row in ROWS) and 6 <= len(held_out) <= 30
    answer = data_set.examples("train")[0].columns["answer"]
    first = next(row["answer"] for row in ROWS if row["prompt"] == train[0])
    assert answer == (str(first) if ending in ("csv", "tsv") else first)


def test_an_example_stays_on_its_side_when_rows_are_added_or_reordered(tmp_path):
    few = loaded(tmp_path / "few", prompts=write(tmp_path / "few.jsonl", ROWS), evaluation_share=0.3)
    more = [*questions(60, start=500), *reversed(ROWS)]
    many = loaded(tmp_path / "many", prompts=write(tmp_path / "many.jsonl", more), evaluation_share=0.3)
    for split in ("train", "evaluation"):
        assert set(prompts(few, split)) <= set(prompts(many, split))
        keys = {example.prompt: example.key for example in many.examples(split)}
        assert all(keys[example.prompt] == example.key for example in few.examples(split))


def test_folders_say_by_the_names_of_their_files_what_is_held_out(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train-0.jsonl", ROWS[:10])
    write(folder / "train-1.jsonl", ROWS[10:20])
    write(folder / "test.jsonl", ROWS[20:25])
    (folder / "README.md").write_text("about")
    component = written.component(prompts=str(folder))
    assert component.splits() == ("train", "test")
    assert (component.size("train"), component.size("test")) == (20, 5)
    elsewhere = written.component(prompts=str(write(tmp_path / "my.jsonl", ROWS[30:])), evaluation=str(folder))
    assert (elsewhere.size("train"), elsewhere.size("evaluation")) == (30, 5)  # its training files hold out nothing


def test_several_named_evaluation_sets(tmp_path):
    sets = {
        "same": str(write(tmp_path / "a.jsonl", ROWS[20:25])),
        "harder": str(write(tmp_path / "b.jsonl", ROWS[25:32])),
    }
    component = written.component(prompts=str(write(tmp_path / "train.jsonl", ROWS[:20])), evaluation=sets)
    assert component.problems() == [] and component.splits() == ("train", "same", "harder")
    assert [component.size(split) for split in component.splits()] == [20, 5, 7]


def test_columns_are_mapped_and_the_others_go_with_the_example(tmp_path):
    rows = [{"q": f"{name(i)}?", "gold": i, "n": [i]} for i in range(30)]
    path = write(tmp_path / "rows.jsonl", rows)
    columns = Columns(prompt="q", answer="gold", key="n")
    data_set = loaded(tmp_path / "built", prompts=path, columns=columns, evaluation_share=0.3)
    example = data_set.examples("train")[0]
    number = example.columns["answer"]
    assert example.prompt == f"{name(number)}?" and example.key == f"[{number}]"
    assert set(example.columns) == {"answer", "key"}


def test_system_and_template(tmp_path):
    rows = [{"question": f"{name(i)}?", "hint": "h{x}"} for i in range(30)]
    path = write(tmp_path / "rows.jsonl", rows)
    fields = {"system": "Be brief.", "template": "Q: {question} ({hint})\nA:", "evaluation_share": 0.3}
    example = loaded(tmp_path / "built", prompts=path, **fields).examples("train")[0]
    assert example.prompt == (Message("system", "Be brief."), Message("user", example.prompt[1].content))
    assert example.prompt[1].content == f"Q: {example.columns['question']} (h{{x}})\nA:"


def test_pairs_and_their_prompts(tmp_path):
    rows = [{"prompt": f"{name(i)}?", "chosen": "yes", "rejected": "no", "margin": i} for i in range(40)]
    component = written.component(preferences=str(write(tmp_path / "pairs.jsonl", rows)), evaluation_share=0.3)
    (tmp_path / "built").mkdir()
    component.build(tmp_path / "built")
    data_set = component.load(tmp_path / "built")
    assert component.has_pairs() and not component.has_demonstrations()
    for split in component.splits():
        pairs = data_set.pairs(split)
        assert [pair.example.prompt for pair in pairs] == prompts(data_set, split)
        assert {(pair.chosen, pair.rejected) for pair in pairs} == {("yes", "no")}
        assert pairs[0].example.columns == {"margin": pairs[0].example.columns["margin"]}


def test_pairs_of_their_own_are_held_out_by_hash_where_the_evaluation_file_has_none(tmp_path):
    rows = [{"prompt": f"{name(i)}?", "chosen": "yes", "rejected": "no"} for i in range(40)]
    pairs, held_out = write(tmp_path / "pairs.jsonl", rows), write(tmp_path / "held_out.jsonl", questions(5, start=900))
    data_set = loaded(tmp_path / "built", preferences=pairs, evaluation=held_out, evaluation_share=0.3)
    assert len(data_set.examples("train")) == 40 and len(data_set.examples("evaluation")) == 5
    assert 4 <= len(data_set.pairs("evaluation")) <= 20
    assert len(data_set.pairs("train")) + len(data_set.pairs("evaluation")) == 40


def test_demonstrations_come_from_their_own_field_else_from_the_prompts(tmp_path):
    solved = [{"question": f"{name(i)}?", "answer": f"So {i}.\n#### {i}"} for i in range(30)]
    gsm = loaded(tmp_path / "a", prompts=write(tmp_path / "gsm.jsonl", solved), evaluation_share=0.3)
    demonstrations = gsm.demonstrations("train")
    assert [one.prompt for one in demonstrations] == prompts(gsm, "train")
    assert demonstrations[0].completion.endswith(f"#### {gsm.examples('train')[0].columns['answer']}")
    pairs = [{"prompt": f"{name(i)}?", "chosen": "yes", "rejected": "no"} for i in range(30)]
    fields = {"demonstrations": write(tmp_path / "pairs.jsonl", pairs), "evaluation_share": 0.3}
    both = loaded(tmp_path / "b", prompts=write(tmp_path / "only.jsonl", ROWS), **fields)
    assert {one.completion for one in both.demonstrations("train")} == {"yes"} and not both.pairs("train")
    texts = [{"text": f"{name(i)} was here."} for i in range(30)]
    told = loaded(tmp_path / "c", prompts=tmp_path / "only.jsonl", demonstrations=write(tmp_path / "t.jsonl", texts))
    assert told.demonstrations("train")[0].prompt == "" and len(told.examples("train")) > 40


def test_unpaired_preferences_are_paired_by_their_prompt(tmp_path):
    rows = [
        {"prompt": f"{name(i // 3)}?", "completion": f"{'good' if good else 'bad'} {i}", "label": good}
        for i in range(60)
        for good in [i % 3 == 0]
    ]
    data_set = loaded(tmp_path / "built", preferences=write(tmp_path / "rows.jsonl", rows), evaluation_share=0.3)
    pairs = [*data_set.pairs("train"), *data_set.pairs("evaluation")]
    assert len(pairs) == 20 and all(one.chosen.startswith("good") and one.rejected.startswith("bad") for one in pairs)
    assert len({pair.example.prompt for pair in pairs}) == 20


def test_completions_with_a_label_are_kept_with_and_without_a_partner(tmp_path):
    rows = [{"prompt": f"{name(i // 3)}?", "completion": f"word {i}", "label": i % 3 == 0} for i in range(60)]
    component = written.component(preferences=str(write(tmp_path / "rows.jsonl", rows)), evaluation_share=0.3)
    (tmp_path / "built").mkdir()
    component.build(tmp_path / "built")
    data_set = component.load(tmp_path / "built")
    assert component.labels() == {True, False} and component.has_pairs()
    by_split = {split: data_set.labeled(split) for split in component.splits()}
    assert sorted(
        (one.example.prompt, one.completion, one.desirable) for all_ in by_split.values() for one in all_
    ) == (sorted((row["prompt"], row["completion"], row["label"]) for row in rows))
    prompts_of = [{one.example.prompt for one in all_} for all_ in by_split.values()]
    assert all(prompts_of) and not prompts_of[0] & prompts_of[1]
    (note,) = [note for note in component.notes() if "desirable" in note]
    assert note.startswith("20 completions are desirable and 40 are not: algo=kto learns from each")
    assert "20 pairs were made" in note


def test_completions_without_a_partner_are_no_pairs(tmp_path):
    rows = [{"prompt": f"{name(i)}?", "completion": f"word {i}", "label": i % 2} for i in range(40)]
    component = written.component(preferences=str(write(tmp_path / "rows.jsonl", rows)), evaluation_share=0.3)
    assert component.problems() == [] and not component.has_pairs() and component.labels() == {True, False}


def test_a_prompt_that_repeats_has_keys_of_its_own_in_training_and_counts_once_in_evaluation(tmp_path):
    rows = write(tmp_path / "rows.jsonl", ROWS[:20] * 2)
    data_set = loaded(tmp_path / "built", prompts=rows, evaluation=write(tmp_path / "e.jsonl", ROWS[30:35] * 2))
    keys = [example.key for example in data_set.examples("train")]
    assert len(keys) == len(set(keys)) == 40 and len(data_set.examples("evaluation")) == 5


def test_a_folder_that_datasets_saved(tmp_path):
    datasets = pytest.importorskip("datasets")
    saved = {"train": datasets.Dataset.from_list(ROWS[:20]), "test": datasets.Dataset.from_list(ROWS[20:25])}
    datasets.DatasetDict(saved).save_to_disk(str(tmp_path / "saved"))
    component = written.component(prompts=str(tmp_path / "saved"))
    assert component.problems() == [] and component.splits() == ("train", "test")
    assert (component.size("train"), component.size("test")) == (20, 5)
    saved["train"].save_to_disk(str(tmp_path / "one"))
    one = loaded(tmp_path / "built", prompts=tmp_path / "one", evaluation_share=0.3)
    assert sorted(prompts(one, "train") + prompts(one, "evaluation")) == sorted(row["prompt"] for row in ROWS[:20])


def test_the_hub_that_cannot_be_reached_is_asked_once_and_says_what_to_type(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    calls = []

    def unreachable(*args, **kwargs):  # the hub is not here: what its library raises without a network
        calls.append(args)
        raise ConnectionError("Couldn't reach the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    for _ in range(2):
        (message,) = problems(prompts="nobody/nothing")
        assert message.startswith("nobody/nothing could not be read from the Hugging Face hub: Couldn't reach the Hub.")
        assert "data.hub.config" in message
    assert len(calls) == 1


def test_the_contract_holds(tmp_path):
    registry.scan()
    write(tmp_path / "rows.jsonl", [{**row, "completion": "x y"} for row in ROWS])
    assert_contract("data", "files", prompts=str(tmp_path / "rows.jsonl"), evaluation_share=0.3)
