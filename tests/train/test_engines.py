"""Validation rejects settings that processes and engines do not support, and says what to type instead."""

import importlib.metadata

import pytest

from align_lab.base.errors import ConfigError
from align_lab.config.composition import compose

DEEPSPEED, FSDP = ["hardware.numerics.engine=deepspeed"], ["hardware.numerics.engine=fsdp"]
TOGETHER = {"DeepSpeed": DEEPSPEED, "FSDP": FSDP}  # engines whose processes make each forward pass together
TWO = ["hardware=cpu_2proc"]
UNEQUAL = [
    (
        [*engine, *overrides],
        [*parts, f"equally, and {name} needs the same number of forward passes", "hardware.numerics.engine=torch"],
    )
    for name, engine in TOGETHER.items()
    for overrides, parts in [
        (
            ["hardware.placement.tasks_per_node=3", "train.prompts_per_step=32"],
            ["3 processes", "cannot share the 32 prompts of an update", "1, 2, 4, 8, 16, 32 can"],
        ),
        (
            [*TWO, "algo=dpo", "train.prompts_per_step=3", "train.group_size=2"],
            ["cannot share the 3 pairs of an update", "1, 3 can"],
        ),
    ]
]
WRONG = [
    *UNEQUAL,
    ([*FSDP, "hardware.numerics.compile=true"], ["compile=true has not been tried", "compile=false", "engine=torch"]),
    ([*FSDP, "hardware.numerics.zero_stage=3"], ["zero_stage=3 belongs to DeepSpeed", "engine=deepspeed", "drop it"]),
    ([*FSDP, "hardware.numerics.offload_optimizer=true"], ["offload_optimizer=true belongs to DeepSpeed"]),
    (["hardware=gpu_8_fsdp", "train.prompts_per_step=12"], ["8 processes", "1, 2, 3, 4, 6, 12 can"]),
    ([*TWO, "hardware.placement.tasks_per_node=17"], ["17 processes", "more than the 16 prompts of an update"]),
    ([*TWO, "train.minibatches=16"], ["more than the 1 prompts of an update", "train.minibatches"]),
    (["hardware.numerics.zero_stage=2"], ["zero_stage=2 belongs to DeepSpeed", "engine=deepspeed"]),
    (["hardware.numerics.offload_optimizer=true"], ["offload_optimizer=true belongs to DeepSpeed"]),
    ([*DEEPSPEED, "hardware.numerics.offload_optimizer=true"], ["needs ZeRO", "zero_stage to 1, 2 or 3"]),
    ([*DEEPSPEED, "hardware.numerics.dtype=float64"], ["float32 or bfloat16", "engine=torch"]),
    ([*DEEPSPEED, "hardware.numerics.dtype=bfloat16"], ["zero_stage=0 in bfloat16", "zero_stage=1"]),
    ([*DEEPSPEED, "hardware.numerics.zero_stage=4"], ["hardware.numerics.zero_stage must be >= 0 and <= 3"]),
    ([*DEEPSPEED, "hardware.numerics.zero_stage=3", "hardware.numerics.compile=true"], ["zero_stage=3", "compile"]),
    ([*DEEPSPEED, "hardware.numerics.zero_stage=3", "model.lora.rank=4"], ["adapted model", "zero_stage to 1 or 2"]),
    (["hardware.placement.nodes=2"], ["nodes=2 needs a cluster", "executor=slurm"]),
    ([*TWO, "hardware.placement.executor=debug"], ["executor=debug", "tasks_per_node=1"]),
    (["hardware=gpu_8_zero3", "train.prompts_per_step=12"], ["8 processes", "1, 2, 3, 4, 6, 12 can"]),
]


@pytest.fixture
def installed(monkeypatch):
    """Pretend that a version of DeepSpeed is installed; None: that it is not."""
    real = importlib.metadata.version

    def pretend(version):
        def version_of(name):
            if name != "deepspeed":
                return real(name)
            if version is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(importlib.metadata, "version", version_of)

    return pretend


@pytest.mark.parametrize(("overrides", "parts"), WRONG, ids=lambda value: " ".join(value)[-60:])
def test_an_unsupported_combination_is_rejected_with_what_to_type(installed, overrides, parts):
    installed("0.19.8")
    with pytest.raises(ConfigError) as error:
        compose(overrides)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("version", "part"), [(None, "which is not installed"), ("0.18.2", "needs DeepSpeed 0.19, and 0.18.2 is installed")]
)
def test_a_missing_or_unsupported_deepspeed_is_rejected(installed, version, part):
    installed(version)
    with pytest.raises(ConfigError) as error:
        compose(DEEPSPEED)
    assert part in str(error.value) and 'pip install "align_lab[deepspeed]"' in str(error.value)
    inside = ["hardware=slurm_cpu", "hardware.placement.container=image"]
    compose([*inside, *DEEPSPEED])  # the container may have another version


@pytest.mark.parametrize("profile", ["cpu_2proc", "gpu_8_fsdp", "gpu_8_zero3", "slurm_2x8_zero3"])
def test_the_profiles_compose(installed, profile):
    installed("0.19.8")
    compose([f"hardware={profile}"])


@pytest.mark.parametrize("fields", [["model.lora.rank=4"], ["hardware.numerics.dtype=float64"]])
def test_fsdp_allows_adapters_and_every_precision(fields):
    compose([*FSDP, *TWO, *fields])


def test_plain_torch_allows_unequal_shards_of_a_batch():
    compose([*TWO, "hardware.placement.tasks_per_node=3"])
