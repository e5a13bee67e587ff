"""The command line as a user sees it: verbs, help, exit statuses, one message and no traceback."""

import json
import os
import subprocess
import sys

import pytest

from align_lab import __version__
from align_lab.cli.commands import VERBS
from align_lab.config.groups import GROUPS
from tests import forked

ROOT = str(forked.ROOT)


def run(*args, **kwargs):
    return forked.run(args, **kwargs)


def test_help_names_every_group_and_verb():
    done = run("--help")
    assert done.returncode == 0
    for word in (*GROUPS, *VERBS, "reinforce_pp", "human_ratings", "ALIGN_LAB_CACHE"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_the_flag_info_may_stand_alone(tmp_path):
    done = run("algo=ppo", "--info", cwd=tmp_path)
    assert done.returncode == 0 and "Hydra" in done.stdout and "usage" not in done.stderr, done.stderr


@pytest.mark.nightly
@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"help"}))
def test_every_verb_has_a_help_of_its_own(verb):
    direct, by_help = run(verb, "--help"), run("help", verb)
    assert direct.returncode == by_help.returncode == 0, direct.stderr
    assert direct.stdout == by_help.stdout and f"usage: align_lab {verb}" in direct.stdout


@pytest.mark.parametrize(
    "args",
    [("--help",), ("list",), ("show", "algo=ppo_max"), ("--cfg", "job"), *((verb, "--help") for verb in sorted(VERBS))],
)
def test_it_answers_without_torch(args):
    code = (
        f"import sys; sys.argv = ['align_lab', *{list(args)!r}]\nfrom align_lab.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_installed_program_imports_plugins_of_the_working_folder_as_python_m_does(tmp_path):
    (tmp_path / "mine.py").write_text("raise RuntimeError('imported from the working folder')\n")
    code = "import sys; from align_lab.__main__ import script; sys.argv[1:] = 'show', 'algo=rloo', 'plugins=[mine]'; "
    for flags, shown in (([], "imported from the working folder"), (["-P"], "no module named 'mine'")):
        environment = {**os.environ, "PYTHONPATH": ROOT}
        words = [sys.executable, *flags, "-c", code + "sys.exit(script())"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 2 and shown in done.stderr, done.stderr


@pytest.mark.parametrize("args", [("--help",), ("compare", "--help"), ("help", "compare")])
def test_a_help_is_a_document_for_programs(args):
    done = run("--json", *args)
    assert done.returncode == 0 and json.loads(done.stdout)["help"] == run(*args).stdout
    assert json.loads(run("--version", "--json").stdout) == {"version": __version__}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "'train' is not a command. A run is started with overrides: align_lab algo=rloo"),
        (["report", "five"], "align_lab compare STUDY writes the page"),
        (["show", "RLOO"], "Did you mean align_lab show algo=rloo?"),
        (["list", "algos"], "'algos' is not known: did you mean 'algo'?"),
        (["data", "inpsect"], "did you mean 'inspect'?"),
    ],
)
def test_what_other_programs_call_it_leads_to_what_does_it_here(words, message):
    done = run(*words)
    assert done.returncode == 2 and message in done.stderr


@pytest.mark.parametrize("verb", ["chat", "export"])
def test_a_run_that_is_not_there_is_said_without_waiting_for_torch(tmp_path, verb):
    words = ["align_lab", verb, "nothing", *(["new"] if verb == "export" else [])]
    code = f"import sys; sys.argv = {words!r}\nfrom align_lab.__main__ import main\n"
    code += "assert main() == 2 and 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0 and "there is no run 'nothing', and none under" in done.stderr, done.stderr


def test_list_prints_the_options_of_one_group_with_their_headlines():
    lines = run("list", "algo").stdout.splitlines()
    assert lines[0] == "algo"
    assert any("rloo" in line and "leave-one-out" in line for line in lines)


@pytest.mark.parametrize("option", ["model=hf", "reward=judge", "reward=remote", "reward=hf_classifier"])
def test_show_prints_the_fields_of_an_option_that_cannot_run_with_its_defaults(option):
    done = run("show", option)
    assert done.returncode == 0 and f"{option.partition('=')[0]}." in done.stdout, done.stderr


def test_show_prints_equations_papers_needs_and_fields():
    text = run("show", "algo=rloo").stdout
    parts = ("arXiv 2402.14740", "Σ", "the reference: a frozen copy", "(at least 2)", "algo.kl_coef", "tuned over")
    for part in (*parts, "tests/golden/test_golden.py", "docs/studies/five_algorithms.md"):
        assert part in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["algo=reinforce_p"], "did you mean 'reinforce_pp'?"),
        (["-m", "algo=rloo,ppoo"], "algo=ppoo is not known"),
        (["-m", "algo=rloo,ppo", "algo.clip=0.1"], "there is no algo.clip"),
        (["lst"], "did you mean 'list'?"),
        (["show", "algo=rlo"], "did you mean 'rloo'?"),
        (["show", "reward=mine", "plugins=[no_such_module]"], "no module named 'no_such_module'"),
        (["list", "plugins=[no_such_module]"], "no module named 'no_such_module'"),
        (["show", "nothing"], "show takes one GROUP=OPTION"),
        (["compare", "no_such_study"], "there is no study 'no_such_study'"),
        (["status", "/"], "there is no study '/'"),
        (["cancel", "/"], "there is no study '/'"),
        (["export", "no_such_run", "x"], "there is no run 'no_such_run'"),
        (["--cfg", "job", "algo.clip=-1"], "algo.clip must be > 0"),
        (["hardware=tpu", "study=never"], "hardware=tpu is not known"),
        (["sweeps=five_algorithms", "algo.gamma=0.9"], "there is no algo.gamma"),
        (["sweeps=five_algorithm"], "did you mean 'five_algorithms'?"),
        (["gc", "--older-than=", "--prune"], "--older-than= is not understood"),
        (["logs"], "logs needs a RUN, and align_lab status STUDY lists those of a study"),
        (["help", "nothing"], "'nothing' is not a command"),
        (["status", "--wach", "mine"], "did you mean '--watch'?"),
    ],
)
def test_a_wrong_command_gets_one_message_no_traceback_and_status_2(args, message, tmp_path):
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_hydras_own_flags_work_and_create_no_folders(tmp_path):
    done = run("--cfg", "job", "algo=dpo", "seed=7", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "beta: 0.1" in done.stdout and "seed: 7" in done.stdout
    assert not list(tmp_path.iterdir())


def test_one_module_and_one_yaml_of_a_user_add_an_algorithm(tmp_path):
    (tmp_path / "conf" / "algo").mkdir(parents=True)
    (tmp_path / "conf" / "algo" / "bare.yaml").write_text(
        "# REINFORCE without a baseline: align_lab plugins=[bare] algo=bare\n"
        "defaults:\n  - /schema/algo/bare@_here_\n  - _self_\n"
    )
    (tmp_path / "bare.py").write_text('''
from dataclasses import dataclass
from align_lab import equations as eq
from align_lab.base.registry import param, register
from align_lab.base.contracts import Algorithm
from align_lab.base.types import Advantage, LossOutput, Needs

@register("algo", "bare")
@dataclass(frozen=True, kw_only=True)
class Bare(Algorithm):
    """No baseline."""
    scale: float = param(1.0, "factor on the score", above=0)

    @property
    def needs(self):
        return Needs()

    def advantages(self, x, state):
        return Advantage(advantage=eq.spread(self.scale * x.score, x.mask)), state

    def loss(self, now, x):
        return LossOutput(loss=eq.masked_mean(-x.advantage * now.logp, x.mask, over=x.sequences))
''')
    done = run("--cfg", "job", "plugins=[bare]", "algo=bare", "algo.scale=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "scale: 2.0" in done.stdout
    wrong = run("plugins=[bare]", "algo=bare", "algo.scale=-1", cwd=tmp_path)
    assert wrong.returncode == 2 and "algo.scale must be > 0" in wrong.stderr


def test_the_entry_point_of_an_installed_package_adds_components(tmp_path):
    """No yaml is needed: the component is an option by itself, with its docstring as headline."""
    site = tmp_path / "site"
    (site / "other_lab-1.0.dist-info").mkdir(parents=True)
    (site / "other_lab-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other_lab\nVersion: 1.0\n")
    (site / "other_lab-1.0.dist-info" / "entry_points.txt").write_text("[align_lab.components]\nshouting = other_lab\n")
    (site / "other_lab.py").write_text('''
from dataclasses import dataclass
from align_lab.base.registry import param, register
from align_lab.base.contracts import Reward
from align_lab.base.task import Score

@register("reward", "shouting")
@dataclass(frozen=True, kw_only=True)
class Shouting(Reward):
    """Counts exclamation marks."""
    weight: float = param(1.0, "score of one exclamation mark", above=0)

    def load(self, folder):
        return self

    def score(self, examples, completions):
        return Score(total=[self.weight * text.count("!") for text in completions])
''')
    env = {**os.environ, "PYTHONPATH": str(site)}
    assert "Counts exclamation marks." in run("list", "reward", cwd=tmp_path, env=env).stdout
    done = run("--cfg", "job", "reward=shouting", "reward.weight=3", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "name: shouting" in done.stdout and "weight: 3.0" in done.stdout


PLUGIN = '''
from dataclasses import dataclass
from align_lab.base.contracts import Reward
from align_lab.base.registry import param, register
from align_lab.base.task import Score

@register("reward", "mine")
@dataclass(frozen=True, kw_only=True)
class Mine(Reward):
    """Counts question marks."""
    weight: float = param(1.5, "score of one question mark", above=0)

    def load(self, folder):
        return self

    def score(self, examples, completions):
        return Score(total=[self.weight * text.count("?") for text in completions])
'''


def test_list_and_show_import_plugins_as_a_run_does(tmp_path):
    (tmp_path / "my_pkg.py").write_text(PLUGIN)
    assert "mine" not in run("list", "reward", cwd=tmp_path).stdout
    for args in (
        ("list", "plugins=[my_pkg]"),
        ("list", "reward", "plugins=[my_pkg]"),
        ("list", "plugins=my_pkg", "reward"),
    ):
        assert "  mine                  Counts question marks.\n" in run(*args, cwd=tmp_path).stdout, args
    card = run("show", "reward=mine", "plugins=[my_pkg]", cwd=tmp_path).stdout
    assert "Counts question marks." in card and "reward.weight      1.5         score of one question mark" in card
    unknown = run("show", "reward=mine", cwd=tmp_path)
    assert unknown.returncode == 2 and "reward=mine is not known" in unknown.stderr


def test_the_installed_wheel_contains_its_configs_and_the_index_of_papers(tmp_path):
    """Build the wheel, unpack it somewhere else, compose and show a card from there."""
    from pathlib import Path

    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(root)],
        check=True,
        capture_output=True,
        timeout=600,
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(tmp_path / "site"),
            *map(str, tmp_path.glob("*.whl")),
        ],
        check=True,
        capture_output=True,
        timeout=600,
    )
    work = tmp_path / "work"
    work.mkdir()
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from align_lab.__main__ import main; import align_lab; "
        "print(align_lab.__file__); main()"
    )
    for words, expected in (
        (["--cfg", "job", "algo=ppo_max_moss_script"], "score_norm: scale"),
        (["show", "algo=kto"], "Tests that pin it\n  tests/golden/test_golden.py"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "site"), *words],
            cwd=work,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        assert str(tmp_path / "site") in done.stdout and expected in done.stdout


@pytest.mark.parametrize(
    ("field", "why"), [("x: int = 'text'", "could not be converted"), ("x: int", "has no default")]
)
def test_a_plug_in_whose_fields_cannot_be_in_a_config_is_refused_also_where_options_are_listed(tmp_path, field, why):
    text = PLUG_IN_REWARD.replace("FIELD", field)
    (tmp_path / "odd.py").write_text(text)
    done = run("list", "reward", "plugins=[odd]", cwd=tmp_path)
    assert done.returncode == 2 and "reward=odd (odd.Odd): a field cannot be a part of a config" in done.stderr
    assert why in done.stderr


PLUG_IN_REWARD = """
from dataclasses import dataclass
from align_lab.base.contracts import Reward
from align_lab.base.registry import register

@register("reward", "odd")
@dataclass(frozen=True, kw_only=True)
class Odd(Reward):
    FIELD
"""
