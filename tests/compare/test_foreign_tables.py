"""The tables of other programs are whole, and their defaults are those that the programs themselves wrote down."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from align_lab.base import registry
from align_lab.compare.foreign.settings import config_files, programs
from align_lab.compare.foreign.settings.command_lines import of_script
from align_lab.compare.foreign.settings.conversions import CONVERSIONS, share, whole
from align_lab.compare.foreign.settings.deciding import deciding
from align_lab.compare.foreign.settings.plain import plain, same, shown
from align_lab.compare.foreign.settings.programs import MISSING
from align_lab.compare.foreign.settings.versions import order, table_version
from tests import other_trainers

CONFIGS = Path(__file__).parent / "configs"
registry.scan()


@pytest.mark.parametrize("name", programs.names())
def test_a_table_has_a_source_and_a_known_conversion_for_every_rule(name):
    table = programs.named(name)
    for ours, rules in table.fields.items():
        for rule in rules:
            assert rule.source and rule.by in CONVERSIONS, ours
            assert rule.of or rule.value is not MISSING or rule.say, ours
            assert not rule.over or rule.by != "same", ours
            assert set(rule.trainers) <= set(table.trainers), ours


@pytest.mark.parametrize("name", programs.names())
def test_a_table_maps_to_fields_that_exist(name):
    decided = {one.field for one in deciding()}
    algorithms = {
        f"algo.{one.name}" for algo in registry.names("algo") for one in fields(registry.lookup("algo", algo))
    }
    assert set(programs.named(name).fields) <= decided | algorithms


@pytest.mark.parametrize("name", programs.names())
def test_every_default_belongs_to_a_field_that_a_rule_reads(name):
    table = programs.named(name)
    read = table.keys | {key.rpartition(".")[0] for key in table.keys}
    assert {key for of_trainer in table.defaults.values() for key in of_trainer} <= read
    assert list(table.versions) == sorted(table.versions, key=order)


def test_a_wrong_entry_of_a_table_is_named():
    with pytest.raises(programs.ConfigError, match="did you mean 'source'"):
        programs.check("x.yaml", {"sorce": ""}, programs.FieldRule)


SET_TRL = {  # by the script that made the file, or computed from what it set
    "learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "num_generations",
    "max_completion_length", "temperature", "beta", "loss_type", "max_steps", "bf16", "lr_scheduler_type",
    "warmup_steps", "generation_batch_size", "steps_per_generation",
}  # fmt: skip
SET_VERL = {
    "data.train_batch_size",
    "data.max_response_length",
    "trainer.total_training_steps",
    "algorithm.adv_estimator",
}
SET_VERL |= {
    f"actor_rollout_ref.{name}"
    for name in ("rollout.n", "actor.ppo_mini_batch_size", "actor.use_kl_loss", "actor.kl_loss_coef",
                 "actor.loss_agg_mode", "actor.optim.lr")
} | {"trainer.total_training_steps"}  # fmt: skip
SET_OPENRLHF = {
    "algo.advantage.estimator", "rollout.batch_size", "rollout.n_samples_per_prompt", "rollout.max_new_tokens",
    "actor.adam.lr", "actor.lr_scheduler", "actor.lr_warmup_ratio", "reward.remote_url",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "trainer", "version", "file", "set_there"),
    [
        ("trl", "grpo", "1.16", "trl_1_16/training_args.json", SET_TRL),
        ("verl", "", "0.7", "verl_0_7/config.yaml", SET_VERL),
        ("openrlhf", "", "0.10.0", "openrlhf/wandb_0_10.yaml", SET_OPENRLHF),
        ("openrlhf", "", "0.11.0", "openrlhf/wandb_0_11.yaml", SET_OPENRLHF),
    ],
)
def test_defaults_are_those_that_the_program_wrote(name, trainer, version, file, set_there):
    table = programs.named(name)
    written = {table.new_name(key): value for key, value in config_files.read(CONFIGS / file).items()}
    known = {key: table.default(key, trainer, version) for key in written if key not in set_there}
    checked = {key: default for key, default in known.items() if default is not MISSING}
    assert len(checked) > 15
    assert {key: written[key] for key in checked if not same(written[key], checked[key])} == {}


# Values, versions, conversions, command lines


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-6", 1e-6), ("5", 5), ("-1", -1), ("True", True), ("null", None), ("None", None), ("1.", 1.0), (".5", 0.5),
     ("Qwen/Qwen2", "Qwen/Qwen2"), ("1.2.3", "1.2.3"), ("inf", float("inf")), ("12ab", "12ab"), (["1", "x"], [1, "x"])],
)  # fmt: skip
def test_values_are_what_they_say(text, value):
    assert plain(text) == value and type(plain(text)) is type(value)


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [(1, 1.0, True), (1, True, False), (0.1 + 0.2, 0.3, True), (1e-9, 2e-9, False), (None, 0, False),
     (["x"], "x", True), ([1, 2], [1.0, 2], True), ("a", "A", False)],
)  # fmt: skip
def test_two_values_are_equal_where_a_reader_says_so(a, b, equal):
    assert same(a, b) is equal and same(b, a) is equal


def test_values_are_shown_short():
    assert [shown(one) for one in (None, True, 1e-6, 3, [0.9, 0.95])] == ["none", "true", "1e-06", "3", "0.9, 0.95"]


@pytest.mark.parametrize(
    ("given", "table", "exact"),
    [("1.16.0", "1.16", True), ("v1.16.2.dev0", "1.16", True), ("1.12", "1.9", False), ("2.0", "1.16", False),
     ("0.9.10", "0.9.10", True), ("0.9.11", "0.9.10", False), ("1.9.0rc1", "1.9", True)],
)  # fmt: skip
def test_a_version_has_its_table_or_the_nearest_below(given, table, exact):
    found = table_version(["0.9.9", "0.9.10", "1.9", "1.16"], given)
    assert (found.table, found.exact) == (table, exact)


@pytest.mark.parametrize("given", ["0.1", "", "main"])
def test_below_the_first_version_there_is_none(given):
    assert table_version(["0.9", "1.0"], given) is None


def test_conversions_refuse_what_is_no_number_and_what_is_not_whole():
    assert whole([128, 2], [8]) == 32 and share([0.03, 1000], []) == 30 and share([0.1, 5], []) == 1
    for of, over in (([7], [2]), (["x"], [1]), ([True], [1])):
        with pytest.raises(ValueError, match="no "):
            whole(of, over)


def test_a_script_with_variables_lists_and_quotation_marks():
    text = """
    # a comment with --lost 1
    LR=3e-4; NAME="my run"
    python -m verl.trainer.main_ppo data.seed=1 +trainer.x=[a,b] --lr=$LR --name "$NAME" \\
        --range -5 5 --flag --dotted-name.a-b 2 --unknown $NOWHERE > log.txt
    """
    expected = {"data.seed": "1", "trainer.x": ["a", "b"], "name": "my run", "range": ["-5", "5"], "flag": True,
                "dotted_name.a_b": "2"}  # fmt: skip
    found = of_script(text)
    assert {key: found.get(key) for key in expected} == expected
    assert not {"lost", "unknown"} & set(found)


def test_references_of_hydra_are_followed_and_never_read_from_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    file = tmp_path / "config.yaml"
    file.write_text(
        "a: {b: 3}\nc: ${a.b}\nd: ${oc.select:nowhere,512}\ne: ${oc.env:SECRET}\nf: ${g}\ng: ${f}\n"
        "h: ${oc.select:a.b,1}\n"
    )
    assert config_files.read(file) == {"a.b": 3, "c": 3, "d": 512, "h": 3}


def test_a_namespace_is_read_and_nothing_in_it_is_run(tmp_path):
    file = tmp_path / "config.json"
    text = "namespace(a=1, b=namespace(c='x', d=(0.9, 0.95)), e=inf, f=None)"
    file.write_text(json.dumps({"n": text, "bad": "namespace(a=__import__('os').getcwd())"}))
    values = config_files.read(file)
    assert values == {
        "n.a": 1, "n.b.c": "x", "n.b.d": [0.9, 0.95], "n.e": float("inf"), "n.f": None,
        "bad": "namespace(a=__import__('os').getcwd())",
    }  # fmt: skip


def test_the_page_has_the_tables_of_the_data():
    assert other_trainers.in_page().strip() == other_trainers.tables().strip(), "python -m tests.other_trainers --write"
