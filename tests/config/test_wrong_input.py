"""Values and files that mean nothing are refused with the field, what was found and what to type."""

import pytest

from align_lab.__main__ import main
from align_lab.base.errors import ConfigError
from align_lab.config import study

HUGE = "9" * 400
HEAD = b"# @package _global_\n"
FINE = HEAD + b"study: fine\narms: {a: [algo=rloo], b: [algo=dpo]}\nseeds: [0]\n"


def refused(*texts, multirun=True):
    with pytest.raises(ConfigError) as error:
        study.read(texts, multirun=multirun)
    return str(error.value)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of one's own, with a study file that is right."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "fine.yaml").write_bytes(FINE)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.lr=${nothing}", "train.lr=${nothing}: Interpolation key 'nothing' not found"),
        ("train.lr=${study}", "train.lr=${study}: While dereferencing interpolation '${study}': Value 'quickstart'"),
        ("train.steps=${oc.env:NO_SUCH_VARIABLE}", "train.steps=${oc.env:NO_SUCH_VARIABLE}: KeyError"),
        ("sampling.temperature=${no_such:1}", "sampling.temperature=${no_such:1}: Unsupported interpolation type"),
        ("train.lr=${train.lr}", "train.lr=${train.lr}: "),
        ("train.lr=???", "train.lr=???: ??? stands for a value that is missing. Write one, for example train.lr="),
        ("evaluation.pass_at=['???']", "evaluation.pass_at"),
        (f"seed={HUGE}", "seed must be at most 9223372036854775807 (got a whole number of about 400 digits)"),
        (f"train.lr={HUGE}", "train.lr must be a number"),
        (f"train.steps={'9' * 5000}", "(5012 characters): not understood"),
        ("train.lr=inf", "train.lr must be a finite number (got inf)"),
        ("train.lr=1e400", "train.lr must be a finite number (got inf)"),
        ("train.lr=nan", "train.lr must be > 0 (got nan)"),
        ("algo.kl_coef=.inf", "algo.kl_coef must be a finite number"),
        ("evaluation.pass_at=[1,.inf]", "evaluation.pass_at"),
        ("model=[tiny]", "model=[tiny]: a run has one option, without brackets: model=tiny"),
        (
            "algo=[ppo,dpo]",
            "algo=[ppo,dpo]: a run has one option, without brackets. For several runs, type -m: algo=ppo,dpo",
        ),
        ("train={lr: 1}", "train={lr: 1}: train is the name of an option. Set its fields one by one: train.lr=1"),
        ("train=5", "train=5 is not known: allowed: default"),
        ("hydra.run.dir=x", "hydra.run.dir=x: Hydra's own fields change nothing here. A run is written to runs/STUDY/"),
        ("train.budget=100", "Set one of them, for example train.budget.episodes=..."),
    ],
)
def test_a_value_without_meaning_names_its_field(text, message):
    assert message in refused("algo=rloo", text, multirun=False)


def test_a_value_that_is_replaced_need_not_have_had_a_meaning():
    words = ["algo=rloo", "train.lr=${oc.env:NO_SUCH_VARIABLE}", "train.lr=0.001"]
    (run,) = study.read(words, multirun=False).runs
    assert run["train"]["lr"] == 0.001


def test_inf_is_a_value_where_the_field_says_what_it_means():
    assert study.read(["algo=grpo", "algo.clip=.inf", "train.max_grad_norm=inf"], multirun=False).runs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed=interval(0,1)", "a sweep needs values that can be listed. Write them: seed=A,B"),
        ("seed=glob(*)", "a sweep needs values that can be listed"),
        ("algo=glob(*)", "a sweep needs values that can be listed"),
        ("seed=range(3,0)", "this sweep has no value"),
        ("seed=range(0,1000000000)", "too many runs; one command starts at most 100,000"),
        (f"seed=range(0,{HUGE})", "too many runs"),
        ("seed=shuffle(range(0,1000000000))", "too many runs"),
        ("seed=range(0.0,inf)", "too many runs"),
        ("seeds={first: 4, most: 1000000000, smallest: 0.1}", "too many runs"),
        ("seeds=[]", "seeds=[]: it must be a list of seeds"),
        ("plugins=[a],[b]", "plug-ins are one list for all runs"),
        ("control=nothing", "control=nothing is none of the arms"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_it_is_made(text, message):
    assert message in refused("algo=rloo" if not text.startswith("algo") else "seed=1", text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "mine.yaml: it holds nothing"),
        (HEAD, "mine.yaml: it holds nothing"),
        (HEAD + b"- 1\n", "mine.yaml: it must hold fields"),
        (HEAD + b"arms: {a: [algo=rloo\n", "mine.yaml: line 3 is no yaml"),
        (HEAD + b"study: a\nstudy: b\n", "mine.yaml: line 3 is no yaml: found duplicate key study"),
        (HEAD + b"question: \xff\n", "mine.yaml: it is not a text in UTF-8 (byte 30)"),
        (b"\xef\xbb\xbf" + FINE, "mine.yaml: it begins with a byte order mark"),
        (HEAD + b"study: !!python/object/apply:os.getcwd []\n", "mine.yaml: line 2 is no yaml"),
        (HEAD + b"arms: &a {a: *a}\n", "mine.yaml: it is nested too deeply, or holds itself"),
        (b"study: mine\narms: {a: [algo=rloo]}\n", "Its first line must be '# @package _global_'"),
        (HEAD + b"trian: {lr: 1}\n", "mine.yaml: there is no trian. did you mean 'train'?"),
        (HEAD + b"train: {lr: abc}\n", "mine.yaml: train.lr: it must be a number"),
        (HEAD + b"train: {learning_rate: 1}\n", "mine.yaml: there is no train.learning_rate"),
        (HEAD + b"arms: {a: 3}\n", "mine.yaml: arms.a"),
        (HEAD + b"arms: {a: [algo=rloo, [x]]}\n", "mine.yaml: arms.a"),
        (HEAD + b"arms: {'a;b': [algo=rloo]}\nseeds: [0]\n", "arms.a;b: the name of an arm is letters"),
        (HEAD + b"parallel: ${nothing}\n", "parallel=${nothing}: Interpolation key 'nothing' not found"),
        (HEAD + b"hydra: {sweeper: {params: {seed: 'interval(0,1)'}}}\n", "a sweep needs values that can be listed"),
        (HEAD + b"defaults: [mine]\n", "nested too deeply, or holds itself"),
    ],
)
def test_a_study_file_that_is_wrong_names_itself_the_key_and_the_cure_and_spoils_no_other(
    here, capsys, content, message
):
    (here / "sweeps" / "mine.yaml").write_bytes(content)
    assert message in refused("sweeps=mine")
    assert len(study.read(["sweeps=fine"]).runs) == 2
    assert main(["list", "sweeps"]) == 0 and "mine" in capsys.readouterr().out


def test_an_option_that_is_no_text_spoils_no_other(here, capsys):
    (here / "conf" / "algo").mkdir(parents=True)
    (here / "conf" / "algo" / "mine.yaml").write_bytes(b"\xff\xfe")
    (here / "conf" / "algo" / "folder.yaml").mkdir()
    assert "mine.yaml: it is not a text in UTF-8" in refused("algo=mine", multirun=False)
    assert study.read(["algo=rloo"], multirun=False).runs and main(["list", "algo"]) == 0


@pytest.mark.parametrize("name", ["../x", ".x", "..", "x.", "/x", "a-b", "", " ", "x\ny"])
def test_a_plug_in_is_named_as_in_an_import(name):
    assert "not the name of a module. Write it as in an import" in refused(f"plugins=['{name}']", multirun=False)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\nsys.exit(0)\n", "importing it raised SystemExit: 0 ("),
        ("def f():\n    f()\nf()\n", "importing it raised RecursionError"),
        (None, "is a folder without __init__.py, and no module"),
    ],
)
def test_a_plug_in_that_is_no_module_is_refused(here, monkeypatch, code, message):
    monkeypatch.syspath_prepend(str(here))
    if code is None:
        (here / "ending").mkdir()
    else:
        (here / "ending.py").write_text(code)
    assert message in refused("plugins=[ending]", multirun=False)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--experimental-rerun", "x.pickle"], "it would execute what the file holds"),
        (["--exp=x.pickle"], "it would execute what the file holds"),
        (["--config-dir", "/"], "options of your own are files in ./conf/GROUP"),
        (["--config-name", "x"], "options of your own are files in ./conf/GROUP"),
        (["--cfg", "all", "--info", "all"], "--cfg and --info: each prints something else. Type one of them"),
        (["--resolve"], "--resolve belongs to --cfg"),
        (["--package", "algo"], "--package belongs to --cfg"),
        (["--shell-completion"], 'eval "$(align_lab -sc install=bash)"'),
        (["-sc", "install=nothing"], "allowed: bash, fish, zsh"),
        (["-m", "--run"], "--run and --multirun contradict each other"),
        (["--foo=bar"], "--foo is not a flag: did you mean '--info'?"),
        (["--dry-run"], "--dry-run is not a flag: fields are set without dashes. Type dry_run=..."),
        (["--learning-rate=1e-5"], "--learning-rate is not a flag: fields are set without dashes. Type train.lr=..."),
        (["--verison"], "--verison is not a flag: did you mean '--version'?"),
    ],
)
def test_a_flag_of_hydra_that_would_do_nothing_or_execute_is_refused(capsys, flags, message):
    assert main([*flags, "algo=rloo"] if "completion" not in message and "zsh" not in message else flags) == 2
    assert message in capsys.readouterr().err
