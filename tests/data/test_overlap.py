"""No prompt is in two of training, development and evaluation: refused with both places, or left out where allowed."""

import itertools

import pytest

from tests.data import written
from tests.data.written import loaded, problems, questions, write

ROWS = questions(60)
LIMIT = "data.max_overlap=0 allows a share of 0"


def sets(tmp_path, **rows):
    """Files by name, and the fields that name them: train, and any of held and development."""
    paths = {name: write(tmp_path / f"{name}.jsonl", each) for name, each in rows.items()}
    evaluation = {name: str(path) for name, path in paths.items() if name != "train"}
    return paths, {"prompts": paths["train"], "evaluation": evaluation}


@pytest.mark.parametrize("order", [("held", "development"), ("development", "held")])
def test_a_development_prompt_that_is_evaluated_is_refused_with_both_places(tmp_path, order):
    rows = {"held": ROWS[20:40], "development": [*ROWS[40:50], ROWS[25], ROWS[22]]}
    paths, fields = sets(tmp_path, train=ROWS[:20], **{name: rows[name] for name in order})
    (message,) = problems(**fields)
    held, development = paths["held"], paths["development"]
    assert message.startswith(
        "2 development rows have a prompt of an evaluation set: "
        f"{development}, lines 11 (also in {held}, line 6), 12 (also in {held}, line 3)"
    )
    assert LIMIT in message and "data.max_overlap=0.04" in message  # 2 of 52 rows


def test_a_development_set_that_is_the_evaluation_set_is_refused_also_where_all_of_it_may_be_left_out(tmp_path):
    _, fields = sets(tmp_path, train=ROWS[:20], held=ROWS[20:40], development=ROWS[20:40])
    assert problems(**fields)[0].startswith("20 development rows have a prompt of an evaluation set: ")
    (message,) = problems(**fields, max_overlap=1.0)
    assert message == "development holds no example: its files have no prompts that can be used"


def test_a_training_prompt_of_the_development_set_is_refused(tmp_path):
    paths, fields = sets(tmp_path, train=ROWS[:20], held=ROWS[20:40], development=[ROWS[3], *ROWS[40:50]])
    message = problems(**fields)[0]
    assert message.startswith(f"1 training rows have a prompt of the development set: {paths['train']}, line 4 (also")


def test_a_row_that_is_held_out_for_development_by_its_hash_may_not_be_an_evaluation_prompt(tmp_path):
    """A fifth of the rows goes to development by hash: whichever row is also evaluated on is refused."""
    train = write(tmp_path / "train.jsonl", ROWS)
    for row in ROWS:
        held = write(tmp_path / "held.jsonl", [*questions(3, start=700), row])
        message = problems(prompts=train, evaluation=held, development_share=0.2)[0]
        assert f"(also in {held}, line 4)" in message
    development = written.component(prompts=train, evaluation=str(held), development_share=0.2, max_overlap=0.5)
    assert development.size("development") > 5


def test_a_development_file_beside_an_evaluation_by_hash(tmp_path):
    train = write(tmp_path / "train.jsonl", ROWS)
    development = write(tmp_path / "d.jsonl", [*questions(3, start=700), *ROWS[:30]])
    fields = {"prompts": train, "evaluation": {"development": str(development)}, "evaluation_share": 0.3}
    (message,) = problems(**fields)
    found = message.partition(". Nothing")[0].split("; ")
    kinds = {message.split(" rows have a prompt of ")[0].split()[1]: int(message.split()[0]) for message in found}
    assert set(kinds) == {"training", "evaluation"} and sum(kinds.values()) == 30
    assert all("the development set" in message for message in found)


@pytest.mark.parametrize("named", [True, False])
def test_what_may_overlap_is_left_out_and_no_two_sets_share_a_prompt(tmp_path, named):
    rows = {"development": [*ROWS[35:45]]} if named else {}
    paths, fields = sets(tmp_path, train=ROWS, held=ROWS[20:40], **rows)
    data_set = loaded(tmp_path / "built", **fields, max_overlap=0.9, development_share=0.2)
    prompts = {name: [one.prompt for one in data_set.examples(name)] for name in ("train", "held", "development")}
    assert all(prompts.values()) and prompts["held"] == [row["prompt"] for row in ROWS[20:40]]
    assert not any(set(a) & set(b) for a, b in itertools.combinations(prompts.values(), 2))
    notes = written.component(**fields, max_overlap=0.9, development_share=0.2).notes()
    assert any(note.startswith("left out: ") and f"(also in {paths['held']}, line" in note for note in notes)


def test_pairs_and_demonstrations_of_an_evaluation_prompt_are_left_out_as_well(tmp_path):
    rows = [{**row, "chosen": "yes", "rejected": "no"} for row in ROWS]
    held = write(tmp_path / "held.jsonl", [*questions(3, start=700), ROWS[9]])
    fields = {"preferences": write(tmp_path / "pairs.jsonl", rows), "evaluation": held, "evaluation_share": 0.3}
    assert problems(**fields)[0].startswith("1 training rows have a prompt of an evaluation set: ")
    data_set = loaded(tmp_path / "built", **fields, max_overlap=0.05)
    trained = {one.example.prompt for one in data_set.pairs("train")} | {
        one.prompt for one in data_set.examples("train")
    }
    assert ROWS[9]["prompt"] not in trained and ROWS[10]["prompt"] in trained


def test_a_question_in_a_conversation_of_one_turn_is_the_question(tmp_path):
    """A chat model is asked both in the same words, so they lie on one side of every split."""
    chats = [{"prompt": [{"role": "user", "content": row["prompt"]}]} for row in ROWS]
    held = write(tmp_path / "held.jsonl", [*questions(3, start=700), chats[9]])
    train = write(tmp_path / "train.jsonl", ROWS)
    assert f"{train}, line 10 (also in {held}, line 4)" in problems(prompts=train, evaluation=held)[0]
    both = loaded(tmp_path / "built", prompts=write(tmp_path / "both.jsonl", [*ROWS, *chats]), evaluation_share=0.3)
    texts = {name: {one.text for one in both.examples(name)} for name in ("train", "evaluation")}
    assert all(texts.values()) and not texts["train"] & texts["evaluation"]


def test_two_evaluation_sets_may_share_prompts_which_is_said(tmp_path):
    paths, fields = sets(tmp_path, train=ROWS[:20], held=ROWS[20:40], hard=ROWS[38:50])
    component = written.component(**fields)
    assert component.problems() == []
    note = f"2 prompts are in two evaluation sets: {paths['hard']}, lines 1 (also in {paths['held']}, line 19), 2 ("
    assert any(one.startswith(note) for one in component.notes())


def test_the_rows_of_pairs_count_once_in_a_share(tmp_path):
    """A preference gives a prompt and a pair, and is one row of the file."""
    rows = [{**row, "chosen": "yes", "rejected": "no"} for row in ROWS]
    path = write(tmp_path / "pairs.jsonl", [*rows, "{"])
    assert "1 of 61 rows cannot be used" in problems(preferences=path)[1]


@pytest.mark.parametrize(("count", "warned"), [(63, True), (64, False)])
def test_a_development_set_of_few_prompts_is_warned_of(tmp_path, count, warned):
    sizes = {"train": ROWS, "held": questions(70, start=100), "development": questions(count, start=200)}
    _, fields = sets(tmp_path, **sizes)
    notes = [note for note in written.component(**fields).notes() if note.startswith("development holds 63 prompts: ")]
    assert len(notes) == warned and all("data.development_share=0.2" in note for note in notes)
