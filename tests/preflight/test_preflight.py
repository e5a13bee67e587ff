"""What a run will need is known before it starts: the terms, the micro-batch that fits, and the refusal."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from align_lab import preflight
from align_lab.base.errors import ConfigError
from align_lab.base.hardware import SHARED, Numerics
from align_lab.config import composition
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.lora import adapt
from align_lab.models.lora_settings import Lora
from align_lab.models.shape import Shape, read_shape
from align_lab.preflight.available_memory import Room, found
from align_lab.preflight.fit import largest
from align_lab.preflight.workload import Load
from align_lab.run import device
from align_lab.train.micro_batch import is_out_of_memory, sizes

BILLION7 = Shape(  # Llama 2 7B (arXiv 2307.09288): 6,738,415,616 parameters
    layers=32, width=4096, heads=32, kv_heads=32, mlp=11008, vocab=32000, context=4096, tied=False
)
PLENTY = Room(gib=1e6, whole=1e6, of="machine")


def load(shape=BILLION7, **fields):
    values = {"rows": 64, "groups": 16, "group": 4, "micro_batch": None, "prompt": 64, "new": 64, "gpu": True}
    return Load(shape=shape, **{**values, **fields})


def held(**fields):
    return preflight.estimate(load(**fields)).held


def composed(*overrides):
    return composition.compose(overrides)


def room(gib):
    return Room(gib=gib, whole=gib, of="machine")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_a_shape_counts_the_parameters_of_the_model(tied, kv_heads):
    fields = {"vocab": 320, "width": 32, "layers": 3, "heads": 4, "kv_heads": kv_heads, "mlp": 48, "context": 16}
    model, shape = Llama(LlamaConfig(**fields, tied=tied)), Shape(**fields, tied=tied)
    assert shape.parameters == shape.trainable == sum(p.numel() for p in model.parameters())


def test_with_adapters_only_they_have_gradients():
    fields = {"vocab": 320, "width": 32, "layers": 3, "heads": 4, "kv_heads": 2, "mlp": 48, "context": 16}
    model = adapt(Llama(LlamaConfig(**fields)), Lora(rank=4))
    shape = Shape(**fields, lora_rank=4)
    assert shape.trainable == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert shape.parameters + shape.trainable == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("model_type", "names"),
    [
        ("llama", {}),
        ("gpt2", {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"}),
    ],
)
def test_a_folders_config_tells_its_shape(tmp_path, model_type, names):
    known = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300}
    content = {"model_type": model_type, **known}
    for theirs, ours in names.items():
        content[theirs] = content.pop(ours)
    (tmp_path / "config.json").write_text(json.dumps(content))
    shape = read_shape(tmp_path)
    assert shape is not None and (shape.width, shape.layers, shape.heads, shape.mlp) == (64, 2, 4, 256)
    assert read_shape(tmp_path / "nothing") is None


def test_what_is_held_is_what_the_literature_says():
    """Mixed precision with Adam: 16 bytes a parameter and the float32 gradient in place of the 16-bit one: 2 + 4 + 12 (arXiv 1910.02054)."""
    n = 6_738_415_616
    assert BILLION7.parameters == n
    gib = 2**30
    half, full = held(dtype="bfloat16"), held(dtype="float32")
    assert half["weights"] == pytest.approx(2 * n / gib) and full["weights"] == pytest.approx(4 * n / gib)
    assert half["gradients"] == pytest.approx(4 * n / gib) and half["optimiser"] == pytest.approx(12 * n / gib)
    assert full["optimiser"] == pytest.approx(8 * n / gib)
    assert held(dtype="bfloat16", critic=True, reference=True)["weights"] == pytest.approx(6 * n / gib)


def test_zero_spreads_what_its_stage_says():
    plain = held(dtype="bfloat16", processes=8)
    stages = [held(dtype="bfloat16", processes=8, zero_stage=stage) for stage in (1, 2, 3)]
    for stage, spread in enumerate(stages, start=1):
        assert spread["optimiser"] == pytest.approx(plain["optimiser"] / 8)
        assert spread["gradients"] == pytest.approx(plain["gradients"] / (8 if stage >= 2 else 1))
        assert spread["weights"] == pytest.approx(plain["weights"] / (8 if stage >= 3 else 1))
    assert held(processes=8, zero_stage=2, offload=True)["optimiser"] == 0


def test_adapters_need_no_second_copy_as_reference_and_no_state_for_the_rest():
    whole, lora = held(reference=True), held(shape=replace(BILLION7, lora_rank=16), reference=True)
    assert lora["weights"] == pytest.approx(whole["weights"] / 2, rel=0.01)
    assert lora["optimiser"] < whole["optimiser"] / 100


@given(st.integers(1, 300))
def test_parts_are_of_equal_size(groups):
    found = sizes(groups)
    assert found[0] == groups and found[-1] == 1 and found == sorted(set(found), reverse=True)
    for size in found:
        parts = math.ceil(groups / size)
        assert groups - (parts - 1) * size >= 1 and size == math.ceil(groups / parts)


@given(gib=st.floats(0.5, 60), groups=st.integers(1, 40))
def test_the_largest_micro_batch_that_fits_is_taken(gib, groups):
    x = load(shape=Shape(layers=30, width=576, heads=9, kv_heads=3, mlp=1536, vocab=49152, context=8192), groups=groups)
    chosen = largest(x, room(gib))
    assert chosen.micro_rows % x.group == 0
    need = preflight.estimate(chosen).total
    larger = [size for size in sizes(groups) if size * x.group > chosen.micro_rows]
    for size in larger:
        more = preflight.estimate(replace(x, micro_batch=size * x.group)).total
        assert more > 0.85 * gib or need > 0.85 * gib


def test_a_run_that_goes_on_keeps_its_micro_batch():
    cfg = composed("algo=rloo")
    assert preflight.fit(cfg, gpu=False, room=PLENTY).micro_batch == 64
    assert preflight.fit(cfg, gpu=False, room=PLENTY, known=12).micro_batch == 12
    assert (
        preflight.fit(composed("algo=rloo", "train.micro_batch=8"), gpu=False, room=PLENTY, known=12).micro_batch == 8
    )


def test_less_room_takes_smaller_parts_of_the_same_minibatch():
    found = preflight.fit(composed("algo=ppo"), gpu=False, room=room(0.85))
    assert found.micro_batch is not None and found.micro_batch < 64 and found.micro_batch % 4 == 0
    assert found.estimate is not None and found.estimate.total <= 0.85
    assert found.used_by(composed("algo=ppo")).signature == composed("algo=ppo").signature


@pytest.mark.parametrize("algo", ["ppo", "dpo", "rloo"])
@pytest.mark.parametrize(
    "extra", [(), ("train.group_size=16", "train.prompts_per_step=64", "sampling.max_new_tokens=512")]
)
def test_what_a_refusal_says_to_type_makes_it_fit(algo, extra):
    overrides = [f"algo={algo}", "model=smollm2_135m", *extra]
    cfg = composed(*overrides)
    least = preflight.estimate(largest(preflight.load(cfg, gpu=True), room(0.001))).total
    small = room(0.8 * least)
    with pytest.raises(ConfigError, match=r"The largest term is \w+") as refused:
        preflight.fit(cfg, gpu=True, room=small)
    assert refused.value.status == 2
    told = re.search(r"Set one of: (.*)$", str(refused.value))
    assert told, refused.value
    changes = re.findall(r"((?:\S+=\S+ )+)\([\d.]+ GiB\)", told[1])
    assert changes and (extra or any("model.lora.rank=16" in change for change in changes))
    for change in changes:
        preflight.fit(composed(*overrides, *change.split()), gpu=True, room=small)


def test_where_nothing_alone_is_enough_changes_are_named_that_are_together():
    overrides = ["algo=ppo", "model=smollm2_135m"]
    with pytest.raises(ConfigError, match="Set all of") as refused:
        preflight.fit(composed(*overrides), gpu=True, room=room(1.2))
    told = re.search(r"Set all of: (.*) \([\d.]+ GiB\)$", str(refused.value))
    assert told and len(told[1].split()) > 1
    preflight.fit(composed(*overrides, *told[1].split()), gpu=True, room=room(1.2))
    with pytest.raises(ConfigError, match="A smaller model or a larger machine is needed"):
        preflight.fit(composed(*overrides), gpu=True, room=room(0.1))


def test_before_a_job_is_queued_the_memory_that_it_asks_for_is_compared():
    with pytest.raises(ConfigError, match=re.escape("hardware.placement.gpu_memory_gib")):
        composed("model=smollm2_135m", "hardware=slurm_gpu", "hardware.placement.gpu_memory_gib=1")
    with pytest.raises(ConfigError, match=re.escape("hardware.placement.mem_gb")):
        composed("model=smollm2_135m", "hardware=slurm_cpu", "hardware.placement.mem_gb=1")
    composed("model=smollm2_135m", "hardware=slurm_gpu", "hardware.placement.gpu_memory_gib=16")
    composed("model=smollm2_135m", "hardware=slurm_gpu", "hardware.placement.mem_gb=1")  # of which GPU is not known


def test_the_room_of_a_process_is_its_part_of_what_is_free(monkeypatch):
    place = {"tasks_per_node": 1, "mem_gb": None}
    alone = found(place, gpu=False)
    assert 0 < alone.gib <= 1.01 * alone.whole
    assert found({**place, "tasks_per_node": 2}, gpu=False).gib == pytest.approx(alone.gib / 2, rel=0.2)
    monkeypatch.setenv(SHARED, "4")
    assert found(place, gpu=False).gib == pytest.approx(alone.gib / 4, rel=0.2)
    assert found({**place, "mem_gb": 0.5}, gpu=False).gib == pytest.approx(0.125)


def test_torch_says_that_memory_ran_out_and_we_understand():
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 50)
    assert is_out_of_memory(error.value) and not is_out_of_memory(RuntimeError("shapes differ"))


def run(*command):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


MIDDLE = {"layers": 6, "width": 256, "heads": 8, "kv_heads": 4, "mlp": 704, "vocab": 8192, "prompt": 8, "new": 32}
LARGE = {"layers": 30, "width": 576, "heads": 9, "kv_heads": 3, "mlp": 1536, "vocab": 49152, "prompt": 8, "new": 16}
CASES = {
    "6M": {"algo": "rloo", "rows": 32, **MIDDLE},
    "6M with a critic, cut in four": {"algo": "ppo", "rows": 32, "micro_batch": 8, **MIDDLE},
    "6M, computed again": {"algo": "rloo", "rows": 64, "checkpointing": True, **MIDDLE},
    "6M with adapters": {"algo": "rloo", "rows": 64, "lora_rank": 16, **MIDDLE},
    "135M": {"algo": "rloo", "fields": {"kl_coef": 0}, "rows": 4, **LARGE},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_estimate_is_the_peak_within_bounds(case):
    """Whole steps in a fresh process: no run may need a seventh more than it was told, nor be refused for a third less."""
    measured = json.loads(run("-m", "tests.preflight.measured_memory", json.dumps(case)).stdout)
    assert 0.87 < measured["estimate_mib"] / measured["peak_mib"] < 1.33, measured


def test_large_tensors_begin_at_a_page():
    numerics = repr(asdict(Numerics()))
    code = f"from align_lab.run import device; device.use({numerics}); import torch; print([torch.empty(1 << 20).data_ptr() % 4096 for _ in range(9)])"
    assert json.loads(run("-c", code).stdout) == [0] * 9


def test_runs_that_go_side_by_side_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert device.cores() == 12
    monkeypatch.setenv(SHARED, "3")
    assert device.cores() == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert device.cores() == 2
    monkeypatch.setenv(SHARED, "99")
    assert device.cores() == 1
