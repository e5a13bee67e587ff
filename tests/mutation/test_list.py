"""The changes that tests/mutation/by_hand.py lists are those of the code as it is now; samples and their shares."""

from itertools import chain

from tests.mutation.__main__ import ROOMS, Mutant, by_hand, digest, generated, modules, sampled, share, table
from tests.mutation.by_hand import MUTANTS
from tests.mutation.equivalent import EQUIVALENT


def test_every_change_of_the_list_is_in_its_file_once_and_gives_python():
    mutants = list(by_hand())  # raises ValueError with those that are not
    assert len({one.key for one in mutants}) == len(MUTANTS), "two changes of a file have the same words"


def test_a_sample_is_always_the_same_and_a_larger_one_holds_it():
    small, large = (sampled("stages", count) for count in (5, 12))
    assert len({one.key for one in large}) == 12 and [one.key for one in small] == [one.key for one in large][:5]


def test_the_share_that_falls_has_the_interval_of_clopper_and_pearson():
    assert share(9, 12) == "75.0 % (42.8 to 94.5)"  # R: binom.test(9, 12)$conf.int
    assert share(20, 20) == "100.0 % (83.2 to 100.0)"  # (α/2)^(1/20)


def test_every_mutant_that_computes_the_same_is_one_of_the_code_as_it_is():
    files = {key.partition(":")[0] for key in EQUIVALENT}
    assert not set(EQUIVALENT) - {one.key for one in (*by_hand(), *chain(*map(generated, files)))}


def of(file, what, text="changed = 1"):
    return Mutant(file, 1, what, text)


def result(one, killed="", **more):
    return {"room": one.room, "line": 1, "killed": killed, "text": digest(one), **more}


def test_the_table_counts_the_mutants_of_the_code_as_it_is_and_says_what_was_not_decided():
    """What was asked of another text of its function stands by itself, and a mutant that is gone is not counted."""
    fell, survived, late, never = (of("algos/a.py", what) for what in ("fell", "survived", "late", "never"))
    before, gone = of("algos/a.py", "before", "now = 1"), of("algos/b.py", "gone")
    results = {
        fell.key: result(fell, "tests/x.py"),
        survived.key: result(survived),
        late.key: result(late, undecided="the seconds ended"),
        before.key: result(of("algos/a.py", "before", "then = 1"), "tests/x.py"),
        gone.key: result(gone, "tests/x.py"),
    }
    written = table({"by hand": [fell, survived, late, never, before]}, results)
    head, _, *rows = written.split("\n")
    (row,) = [one for one in rows if one.startswith("| algos |")]
    cells = dict(zip(cells_of(head), cells_of(row), strict=True))
    assert cells["there are"] == "5" and cells["asked"] == "2" and cells["not decided"] == "1"
    assert cells["survived"] == "1" and cells["fell, of those asked"].startswith("50.0 % (")
    assert cells_of(row)[-2:] == ["1", "1"]  # asked of an earlier text, and fell then
    assert written.endswith("Survivors:\n\n* algos/a.py: survived")


def test_an_answer_is_good_as_long_as_the_changed_function_computes_the_same():
    text = 'X = 1\n\n\ndef other():\n    return 2\n\n\ndef changed(x):\n    """Says."""\n    return x - 1\n'

    def now(text):
        return digest(Mutant("algos/a.py", text[: text.index("return x")].count("\n") + 1, "minus", text))

    same = text.replace("2", "3").replace("Says.", "Says more.\n\n    At length.\n    ").replace("X = 1\n", "")
    assert now(same) == now(text) != now(text.replace("x - 1", "x - 2"))
    assert digest(Mutant("algos/a.py", 1, "X", text)) != digest(
        Mutant("algos/a.py", 1, "X", text.replace("= 1", "= 2"))
    )


def cells_of(row):
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_no_module_that_another_process_runs_is_mutated_and_every_other_is():
    files = set(chain(*map(modules, ROOMS)))
    assert {
        "rewards/process.py",
        "rewards/judge_prompts.py",
        "rollout/prefill.py",
        "rollout/prompt_lengths.py",
    } <= files
    assert {one for one in files if one.startswith("run/")} == {"run/assembly.py"}
    assert not {one for one in files if "vllm" in one or "rewards/child" in one}
