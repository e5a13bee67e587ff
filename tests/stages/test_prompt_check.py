"""Long prompts are found before a run is queued, with their lines, by the tokenizer of the run's own model."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from align_lab.base import registry
from align_lab.base.contracts import Data
from align_lab.base.errors import ConfigError
from align_lab.base.task import DataSet, Example, PromptForm
from align_lab.config import composition
from align_lab.rollout.prompt_lengths import harmless
from align_lab.stages.dependencies import data_stage
from align_lab.stages.prompt_check import check
from align_lab.stages.store import shared
from align_lab.stages.texts import existing_text
from tests.data.written import questions, write
from tests.models.test_hf import folder

CONTEXT = 256  # of the folder's model
ROOM = CONTEXT - 40
NEW = "sampling.max_new_tokens=40"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("lab") / "model", "llama")


def run(*overrides):
    return composition.compose(["algo=rloo", "reward=length", "data=files", "data.prompts=my.jsonl", NEW, *overrides])


def of(model, *overrides):
    return run("model=hf", f"model.path={model}", *overrides)


def of_words(count):
    return {"prompt": " ".join(f"w{i}" for i in range(count))}


def test_a_long_prompt_is_refused_with_its_line_its_tokens_and_what_to_type(model, tmp_path):
    rows = [*questions(30), of_words(400), *questions(9, start=50), of_words(401)]
    write(tmp_path / "my.jsonl", rows)
    with pytest.raises(ConfigError) as error:
        check([of(model)])
    text = str(error.value)
    tokens = len(existing_text(of(model)["model"], of(model)["data"]).tokenizer.encode(rows[30]["prompt"]).ids)
    number = int(text.split("line 31 (")[1].split(" tokens")[0].replace(",", ""))
    assert 0 <= number - tokens < 30  # the template is around it
    assert "line 41 (" in text and f"have more than {ROOM} tokens" in text
    assert "sampling.max_new_tokens=40" in text and "data.too_long=drop or truncate" in text and error.value.status == 2


@pytest.mark.parametrize("action", ["drop", "truncate"])
def test_where_the_data_say_what_to_do_they_are_only_counted(model, tmp_path, action):
    write(tmp_path / "my.jsonl", [*questions(30), of_words(400)])
    (line,) = check([of(model, f"data.too_long={action}"), of(model, f"data.too_long={action}", "seed=3")])
    assert "1 of" in line and f"(data.too_long={action})" in line and "line 31" in line


@pytest.mark.parametrize("room", [1, 0])
def test_a_prompt_may_be_truncated_to_one_token_and_not_to_none(model, tmp_path, room):
    write(tmp_path / "my.jsonl", [*questions(30), of_words(400)])
    given = of(model, f"sampling.max_new_tokens={CONTEXT - room}", "data.too_long=truncate")
    if room:
        assert all("they are truncated" in line for line in check([given]))
    else:
        with pytest.raises(ConfigError):
            check([given])


def test_drop_that_leaves_no_prompt_is_refused(model, tmp_path):
    write(tmp_path / "my.jsonl", [{"prompt": f"{i} {of_words(300 + i)['prompt']}"} for i in range(40)])
    with pytest.raises(ConfigError, match="leaves none"):
        check([of(model, "data.too_long=drop")])


def test_prompts_that_fit_are_not_refused_and_those_of_evaluation_have_room_of_their_own(model, tmp_path):
    write(tmp_path / "my.jsonl", questions(40))
    write(tmp_path / "held_out.jsonl", [of_words(40)])
    held_out = "data.evaluation=held_out.jsonl"
    assert check([of(model, held_out)]) == []
    with pytest.raises(ConfigError, match=r"of evaluation have .* evaluation.max_new_tokens=200"):
        check([of(model, held_out, "evaluation.max_new_tokens=200")])


def test_where_evaluation_has_no_room_of_its_own_that_of_training_is_named(model, tmp_path):
    write(tmp_path / "my.jsonl", questions(40))
    write(tmp_path / "held_out.jsonl", [of_words(400)])
    with pytest.raises(ConfigError, match=rf"of evaluation have .* {NEW}") as error:
        check([of(model, "data.evaluation=held_out.jsonl")])
    assert "evaluation.max_new_tokens" not in str(error.value)


def test_a_tokenizer_that_a_run_trains_is_waited_for(tmp_path):
    write(tmp_path / "my.jsonl", [{**row, "completion": " Nothing."} for row in [*questions(60), of_words(200)]])
    (line,) = check([run("model=tiny")])
    assert "is checked when a run starts" in line and "model=tiny" in line
    assert check([run("model=tiny", "model.context=2000")]) == []


def test_generated_problems_are_checked_too(model):
    pytest.importorskip("reasoning_gym")
    small = [
        "data=reasoning",
        "data.training=8",
        "data.held_out=8",
        "data.demonstrations=8",
        "evaluation.prompts=8",
        NEW,
    ]
    parts = ["algo=grpo", "reward=verifier", "model=hf", f"model.path={model}", *small]
    assert check([composition.compose(parts)]) == []
    longer = {"min_terms": 99, "max_terms": 99, "min_digits": 3, "max_digits": 3}
    terms = ",".join(f"{name}:{value}" for name, value in longer.items())
    long = composition.compose([*parts, f"data.harder={{chain_sum:{{{terms}}}}}"])
    with pytest.raises(ConfigError, match="8 of 8 prompts of harder have more than"):
        check([long])


class Built(DataSet):
    def examples(self, split):
        return [Example.of_text(of_words(400 if split == "train" and i == 2 else 4)["prompt"]) for i in range(40)]


@dataclass(frozen=True, kw_only=True)
class Plugin(Data):
    """A task that does not know its prompts before it is built."""

    def build(self, folder):
        (folder / "rows.txt").write_text("40")

    def load(self, folder):
        return Built()


@pytest.fixture
def registered():
    registry.scan()
    registry.register("data", "prompt_check_plugin")(Plugin)
    yield
    del registry._components["data", "prompt_check_plugin"]


def test_a_plug_in_that_does_not_know_its_prompts_is_checked_where_its_data_set_is_built(model, registered):
    parts = ["algo=rloo", "reward=length", "data=prompt_check_plugin", "model=hf", f"model.path={model}", NEW]
    cfg = composition.compose([*parts, "evaluation.prompts=8", "evaluation.metric=eval/score"])
    assert check([cfg]) == []
    shared().get(data_stage(cfg["data"]))
    with pytest.raises(ConfigError, match=r"1 prompts? of train ha.* example 3 \("):
        check([cfg])


def test_where_every_prompt_fits_no_tokenizer_is_loaded(model, tmp_path):
    write(tmp_path / "my.jsonl", questions(40))
    code = (
        "import sys; from align_lab.config import composition; from align_lab.stages.prompt_check import check; "
        "assert check([composition.compose(sys.argv[1:])]) == []; "
        "print(sorted({'torch', 'tokenizers'} & {*sys.modules}))"
    )
    overrides = ["algo=rloo", "reward=length", "data=files", "data.prompts=my.jsonl", "model=smollm2_135m"]
    done = subprocess.run([sys.executable, "-c", code, *overrides], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_bytes_that_fit_in_any_case_leave_room_for_the_instruction_and_a_repeated_prompt():
    asked = harmless(8000, PromptForm(instruction="x" * 100 + "{prompt}"))
    assert asked == 8000 - 2 - 1024 - 108
    assert harmless(8000, PromptForm(chat="continuation", instruction="")) == (8000 - 2 - 1024) // 2
