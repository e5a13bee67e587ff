"""Bad input is refused before anything is queued, with its file and lines and with what to type."""

import json

import pytest

from align_lab.data.settings import Columns
from tests.data import written
from tests.data.written import loaded, name, problems, questions, write

ROWS = questions(60)


def test_broken_json_names_its_line(tmp_path):
    path = write(tmp_path / "my.jsonl", [*ROWS, '{"prompt": "x"', *questions(3, start=90)])
    first, second = problems(prompts=path)
    assert first == f"{path}, line 61: it is not valid JSON (Expecting ',' delimiter)"
    assert second.startswith("1 of 64 rows cannot be used, and data.max_bad=0 allows a share of 0.")
    assert "data.max_bad=0.02" in second
    assert problems(prompts=path, max_bad=0.02) == []


@pytest.mark.parametrize(
    ("good", "expected"),
    [
        (True, ["holds 40 desirable completions and no undesirable one (unpaired preference in ",
                "rows with label false", "data.demonstrations=FILE"]),
        (False, ["holds 40 undesirable completions and no desirable one (unpaired preference in ", "with label true"]),
    ],
)  # fmt: skip
def test_completions_that_all_have_one_label_say_nothing_of_preferences(tmp_path, good, expected):
    rows = [{"prompt": f"{name(i)}?", "completion": f"word {i}", "label": good} for i in range(40)]
    (message,) = problems(preferences=write(tmp_path / "same.jsonl", rows))
    assert message.startswith("data.preferences holds") and all(text in message for text in expected)


def test_a_label_that_is_no_boolean_names_its_line_once_and_what_to_type(tmp_path):
    rows = [{"prompt": f"{name(i)}?", "completion": f"word {i}", "label": i % 2 == 0} for i in range(40)]
    path = write(tmp_path / "rows.jsonl", [*rows, {"prompt": "x?", "completion": "y", "label": 0.7}])
    message, _ = problems(preferences=path)
    assert message.startswith(f"{path}, line 41: its label is neither true nor false")
    assert "data.columns.label=NAME" in message


def test_a_row_without_an_answer_is_counted_once(tmp_path):
    rows = [{"prompt": f"{name(i)}?", "completion": f"word {i}", "label": i % 2 == 0} for i in range(40)]
    path = write(tmp_path / "rows.jsonl", [*rows, {"prompt": "x?", "completion": " ", "label": True}])
    component = written.component(prompts=str(path), evaluation_share=0.3)
    assert any(note.startswith("left out: 1 rows without an answer") for note in component.report.notes)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[1, 2]", "it is a JSON array"),
        ('"text"', "it is not a JSON object"),
        ('{"prompt": "\\ud800"}', "it holds half a surrogate pair"),
        ('{"prompt": 5}', "its prompt is no list of messages"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"promt": "x"}', "it has no column prompt (its columns: promt)"),
    ],
)
def test_a_line_that_is_no_row(tmp_path, line, expected):
    path = write(tmp_path / "my.jsonl", [*ROWS, line])
    message = problems(prompts=path)[0]
    assert message.startswith(f"{path}, line 61: ") and expected.replace("it is nested", "nested") in message


def test_a_line_in_another_encoding(tmp_path):
    path = write(tmp_path / "my.jsonl", ROWS)
    path.write_bytes(path.read_bytes() + '{"prompt": "ä"}'.encode("latin-1"))
    assert problems(prompts=path)[0] == f"{path}, line 61: it is not encoded as UTF-8"


def test_a_file_that_is_one_array_says_how_to_convert_it(tmp_path):
    path = tmp_path / "my.json"
    path.write_text(json.dumps(ROWS))
    assert "jq -c '.[]' FILE > FILE.jsonl" in problems(prompts=path)[0]


def test_a_row_of_csv_with_too_many_fields(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text('prompt,answer\n"a, b",1\n"c\nd",2\ne,3,4\nf,5\n')
    assert problems(prompts=path)[0].startswith(f"{path}, row 3: it cannot be read on")


@pytest.mark.parametrize("ending", ["parquet", "jsonl.gz"])
def test_a_file_that_is_not_what_its_name_says(tmp_path, ending):
    path = tmp_path / f"my.{ending}"
    path.write_bytes(b"nothing of the kind")
    assert problems(prompts=path)[0].startswith(
        f"{path}, {'row' if ending == 'parquet' else 'line'} 1: it cannot be read"
    )


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_an_empty_file(tmp_path, ending):
    path = tmp_path / f"my.{ending}"
    path.write_text("")
    assert problems(prompts=path) == [f"there is no row in {path}"]


def test_paths_and_formats_that_are_not_there(tmp_path):
    (message,) = problems(prompts=tmp_path / "nowhere.jsonl")
    assert "nowhere.jsonl: there is no such file or folder" in message
    (tmp_path / "my.xlsx").write_text("x")
    assert "is not one of the formats .jsonl" in problems(prompts=tmp_path / "my.xlsx")[0]
    assert "is a folder without files of the formats" in problems(prompts=tmp_path)[0]
    assert "set data.prompts=FILE" in problems()[0]


def test_columns_that_no_layout_knows_are_listed(tmp_path):
    path = write(tmp_path / "my.jsonl", [{"frage": "Warum?", "note": 1}])
    (message,) = [text for text in problems(prompts=path) if "layout" in text]
    assert "its columns (frage, note)" in message and "data.columns.prompt=frage" in message


def test_a_mapped_column_that_no_file_has(tmp_path):
    path = write(tmp_path / "my.jsonl", [{"question": f"{name(i)}?"} for i in range(30)])
    (message,) = problems(prompts=path, columns=Columns(prompt="quesion"), evaluation_share=0.3)
    assert message == (
        "data.columns.prompt=quesion: no file has such a column. did you mean 'question'? allowed: question"
    )


def test_a_template_with_a_column_that_is_not_there(tmp_path):
    path = write(tmp_path / "my.jsonl", ROWS)
    assert "it has no column wrod, which data.template names" in problems(prompts=path, template="{prompt} {wrod}")[0]


def test_empty_prompts_are_refused_with_their_lines(tmp_path):
    path = write(tmp_path / "my.jsonl", [*ROWS, {"prompt": " \n"}, {"prompt": None}, *ROWS[:1]])
    assert problems(prompts=path) == [f"{path}, lines 61, 62: the prompt is empty. Remove these rows"]


def pairs(equal, different):
    same = [{"prompt": f"{name(i)}?", "chosen": "same", "rejected": "same"} for i in range(equal)]
    return same + [{"prompt": f"{name(i)}!", "chosen": "yes", "rejected": "no"} for i in range(different)]


def test_equal_pairs_are_refused_beyond_the_limit_and_left_out_below_it(tmp_path):
    path = write(tmp_path / "pairs.jsonl", pairs(12, 88))
    (message,) = problems(preferences=path)
    assert message.startswith(
        f"chosen equals rejected in 12 of 100 pairs (12%): {path}, lines 1, 2, 3, 4, 5, ... (12 rows)"
    )
    assert "data.max_equal=0.05 allows a share of 0.05" in message and "data.max_equal=0.13" in message
    component = written.component(preferences=str(path), max_equal=0.13)
    assert any("left out: 12 pairs whose answers are equal" in note for note in component.report.notes)
    data_set = loaded(tmp_path / "built", preferences=path, max_equal=0.13)
    assert len(data_set.pairs("train")) + len(data_set.pairs("evaluation")) == 88


def test_pairs_in_both_orders_are_counted(tmp_path):
    rows = pairs(0, 60)
    twisted = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows[:7]]
    component = written.component(preferences=str(write(tmp_path / "pairs.jsonl", [*rows, *twisted, *rows[:5]])))
    assert component.problems() == []
    assert "7 pairs occur in both orders: their labels contradict each other" in component.report.notes


def test_evaluation_prompts_that_are_trained_on_are_refused_with_both_places(tmp_path):
    train = write(tmp_path / "train.jsonl", ROWS)
    test = write(tmp_path / "test.jsonl", [*questions(3, start=700), ROWS[9], ROWS[11]])
    (message,) = problems(prompts=train, evaluation=test)
    assert message.startswith("2 training rows have a prompt of an evaluation set: ")
    assert f"{train}, lines 10 (also in {test}, line 4), 12 (also in {test}, line 5)" in message
    pairs_ = write(tmp_path / "pairs.jsonl", [{**ROWS[9], "chosen": "a", "rejected": "b"}])
    (again,) = problems(prompts=write(tmp_path / "new.jsonl", ROWS[20:]), preferences=pairs_, evaluation=test)
    assert f"{pairs_}, line 1 (also in {test}, line 4)" in again


def test_near_duplicates_between_training_and_evaluation_are_counted(tmp_path):
    words = [name(i) for i in range(40)]
    near = {"prompt": " ".join(words)}
    test = write(tmp_path / "test.jsonl", [{"prompt": " ".join([*words[:-1], "other"]) + "!"}])
    component = written.component(prompts=str(write(tmp_path / "train.jsonl", [*ROWS, near])), evaluation=str(test))
    assert component.problems() == []
    note = (
        f"1 training prompts are nearly evaluation prompts: {tmp_path / 'train.jsonl'}, line 61 (like {test}, line 1)"
    )
    assert note in component.report.notes


def test_three_examples_say_what_to_do(tmp_path):
    (message,) = problems(prompts=write(tmp_path / "three.jsonl", [{"prompt": word} for word in ("ab", "ac", "ad")]))
    assert message.startswith("3 examples and data.evaluation_share=0.1 leave none held out")
    assert "data.evaluation=FILE" in message and "data.evaluation_share=0.5" in message


def test_fields_that_hold_nothing_of_their_kind(tmp_path):
    path = write(tmp_path / "my.jsonl", ROWS)
    assert problems(preferences=path)[0].startswith("data.preferences holds no preferences (what was found: prompt in ")
    assert problems(prompts=path, demonstrations=path)[0].startswith("data.demonstrations holds no demonstrations")
    texts = write(tmp_path / "texts.jsonl", [{"text": "Once."}])
    assert "the files hold no prompt (what was found: text in " in problems(prompts=texts)[0]


def test_demonstrations_need_some_that_are_held_out(tmp_path):
    few = write(tmp_path / "few.jsonl", [{"prompt": "ab", "completion": "x"}])
    fields = {"prompts": write(tmp_path / "my.jsonl", ROWS), "demonstrations": few}
    (message,) = problems(**fields)
    assert message.startswith("none of 1 demonstrations is held out in evaluation")


def test_evaluation_sets_need_names(tmp_path):
    path = str(write(tmp_path / "my.jsonl", ROWS))
    assert "data.evaluation names the set 'train'" in problems(prompts=path, evaluation={"train": path})[0]
    assert "data.evaluation=7 is neither" in problems(prompts=path, evaluation=7)[0]


def test_control_tokens_in_prompts_are_counted(tmp_path):
    path = write(tmp_path / "my.jsonl", [*ROWS, {"prompt": "Hi <|im_start|>system"}])
    notes = written.component(prompts=str(path)).report.notes
    assert f"1 prompts hold control tokens, which are encoded as text ({path}, line 61)" in notes


def test_a_file_that_was_checked_is_not_read_again_and_a_changed_line_is(tmp_path, monkeypatch):
    from align_lab.data import check

    path, scans, scan = write(tmp_path / "my.jsonl", ROWS), [], check.scan
    monkeypatch.setattr(check, "scan", lambda reading: (scans.append(reading), scan(reading))[1])
    for _ in range(3):
        assert problems(prompts=path) == []
    assert len(scans) == 1
    write(path, [*ROWS[:-1], {"prompt": ""}])
    assert len(problems(prompts=path)) == 1 and len(scans) == 2
