"""`doctor`: a line for each component and each part of the machine, and an exit status for scripts."""

import json
import os

import pytest

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.base.registry import register
from align_lab.cli import machine
from tests import forked

REWARD = '''
from dataclasses import dataclass
from align_lab.base.contracts import Reward
from align_lab.base.registry import param, register
from align_lab.base.task import Score

@register("reward", "mine")
@dataclass(frozen=True, kw_only=True)
class Mine(Reward):
    """Letters."""
    weight: float = param(1.0, "factor", above=0)

    def load(self, folder):
        return self

    def score(self, examples, completions):
        return Score(total=[self.weight * RULE for text in completions])
'''
SOUND, BROKEN = REWARD.replace("RULE", "len(text)"), REWARD.replace("RULE", "1 / len(text)")
NO_CONTRACT = REWARD.replace("(Reward)", "").replace("RULE", "len(text)")
SECRET = "0123456789abcdef" * 2 + "01234567"  # the form of a key of W&B


def doctor(folder, *args, **environment):
    return forked.run(["doctor", *args], cwd=folder, env={**os.environ, **environment})


def plugin(folder, text, name="my_rewards"):
    (folder / f"{name}.py").write_text(text)
    return f"plugins=[{name}]"


def of_machine(name):
    """The lines of one part of this machine."""
    return [line for line in machine.lines() if line.name == name]


@pytest.mark.slow
def test_every_component_and_the_machine_get_a_line_and_nothing_is_downloaded(tmp_path):
    cache = tmp_path / "cache"
    done = doctor(tmp_path, ALIGN_LAB_CACHE=str(cache), WANDB_API_KEY=SECRET)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("ok       algo=rloo", "ok       model=tiny", "ok       reward=vader", "ok       hardware=machine"):
        assert line in done.stdout
    assert "skipped  model=hf: model=hf needs a model" in done.stdout
    assert "skipped  data=movie_reviews: it would download vaderSentiment==3.3.2" in done.stdout
    for name in ("python", "packages", "processor", "cache", "runs", "slurm", "cuda", "vllm", "deepspeed", "W&B key"):
        assert f"  {name}" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert not cache.exists() and not (tmp_path / "runs").exists()


def test_a_broken_reward_of_a_plugin_is_named_with_its_check_and_status_1(tmp_path):
    done = doctor(tmp_path, plugin(tmp_path, BROKEN), "reward=mine")
    assert done.returncode == 1
    assert "problem  reward=mine: unusual texts have a score: an empty completion: " in done.stdout
    assert "ZeroDivisionError" in done.stdout and "Traceback" not in done.stdout + done.stderr


def test_a_sound_reward_of_a_plugin_is_ok_and_the_document_says_so(tmp_path):
    done = doctor(tmp_path, plugin(tmp_path, SOUND), "reward=mine", "reward.weight=2", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["ok"]) == (0, True)
    assert document["components"] == [{"component": "reward=mine", "problems": [], "skipped": []}]
    assert {"name", "state", "text"} == set(document["machine"][0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NO_CONTRACT, "Write: from align_lab.base.contracts import Reward, then class Mine(Reward)"),
        ("import align_lab\n1 / 0\n", "ZeroDivisionError: division by zero (my_rewards.py, line 2)"),
    ],
)
def test_a_plugin_that_cannot_be_registered_is_a_problem_with_status_1(tmp_path, text, message):
    done = doctor(tmp_path, plugin(tmp_path, text), "reward=vader")
    assert done.returncode == 1
    assert message in done.stdout and "plugins=[my_rewards]" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_reward_that_does_not_inherit_the_contract_is_refused_at_registration():
    registry.scan()
    with pytest.raises(
        ConfigError, match=r"does not inherit the contract .* import Reward, then class Alone\(Reward\)"
    ):

        @register("reward", "alone")
        class Alone:
            pass


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plugins=[no_such_module]"], "no module named 'no_such_module' can be imported"),
        (["reward=vadar"], "did you mean 'vader'?"),
        (["study=mine"], "doctor takes plugins=[MODULE], KIND=NAME and KIND.FIELD=VALUE"),
        (["algo.gamma=0.5"], "name the component as well, for example algo="),
        (["algo=ppo", "algo.gama=0.5"], "there is no algo.gama"),
        (["algo=ppo", "algo.gamma=high"], "algo.gamma must be a number"),
    ],
)
def test_a_wrong_command_gets_one_message_and_status_2(tmp_path, words, message):
    done = doctor(tmp_path, *words)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_value_outside_its_bounds_is_a_problem_of_the_component(tmp_path):
    done = doctor(tmp_path, "algo=ppo", "algo.gamma=2")
    assert done.returncode == 1
    assert "algo=ppo: it is built from its settings: it raised ConfigError: PPO: gamma must be" in done.stdout


def test_a_part_of_the_machine_that_cannot_be_asked_is_a_warning(monkeypatch):
    monkeypatch.setattr(machine.importlib.metadata, "requires", lambda name: ["torch"] * None)
    (line,) = of_machine("packages")
    assert line.state == "warning" and "TypeError" in line.text


def test_a_package_outside_its_bounds_is_a_warning_with_the_command_that_helps(monkeypatch):
    monkeypatch.setattr(machine.importlib.metadata, "requires", lambda name: ["torch>=99", "no-such-package>=1"])
    (line,) = of_machine("packages")
    assert line.state == "warning"
    assert "and >=99 is supported: pip install 'torch>=99'" in line.text
    assert "no-such-package is not installed: pip install 'no-such-package>=1'" in line.text


def test_a_cache_that_is_a_file_is_a_warning(monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    (line,) = of_machine("cache")
    assert line.state == "warning" and "is no folder" in line.text


def test_a_disk_that_is_full_is_a_warning(monkeypatch, tmp_path):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine, "_write_and_rename", full)
    assert [line.state for name in ("cache", "runs") for line in of_machine(name)] == ["warning", "warning"]
    assert "No space left on device" in of_machine("cache")[0].text


def command(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_a_cluster_that_answers_is_named_with_its_partitions(monkeypatch, tmp_path):
    for name in ("sbatch", "squeue", "srun", "scontrol", "sacct"):
        command(tmp_path / "bin", name, "exit 0")
    command(tmp_path / "bin", "sinfo", "echo 'cpu*|up|3'; echo 'gpu|down|2'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (line,) = of_machine("slurm")
    assert (line.state, line.text) == ("ok", "it answers; partitions: cpu* (up, nodes: 3), gpu (down, nodes: 2)")


def test_a_cluster_that_does_not_answer_in_time_is_a_warning(monkeypatch, tmp_path):
    for name in ("sbatch", "squeue", "srun", "scontrol", "sacct"):
        command(tmp_path / "bin", name, "exit 0")
    command(tmp_path / "bin", "sinfo", "exec /bin/sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(machine, "SECONDS", 0.2)
    (line,) = of_machine("slurm")
    assert line.state == "warning" and "sinfo did not answer within 0.2 seconds" in line.text


def test_without_slurm_and_without_a_gpu_nothing_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [line.state for name in ("slurm", "cuda") for line in of_machine(name)] == ["absent", "absent"]


def test_gpus_are_named_with_memory_and_driver(monkeypatch, tmp_path):
    command(tmp_path, "nvidia-smi", "echo 570.1; echo 570.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, answer in {
        "is_available": True,
        "device_count": 2,
        "mem_get_info": (30 * 2**30, 80 * 2**30),
        "get_device_name": "GPU of a test",
    }.items():
        monkeypatch.setattr(f"torch.cuda.{name}", lambda *args, answer=answer: answer)
    lines = [line for line in machine.lines() if line.name.startswith("cuda")]
    assert [line.name for line in lines] == ["cuda:0", "cuda:1"]
    assert lines[0].text.startswith("GPU of a test, 30.0 of 80.0 GiB free") and lines[0].text.endswith("driver 570.1")


def test_a_driver_without_a_device_that_torch_sees_is_a_warning(monkeypatch, tmp_path):
    command(tmp_path, "nvidia-smi", "echo 570.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (line,) = of_machine("cuda")
    assert line.state == "warning" and line.text.startswith("driver 570.1 is installed, and torch sees no device")
