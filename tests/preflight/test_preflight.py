"""The memory estimate before a run: its terms, the largest micro-batch that fits, and the error with remedies."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from align_lab import preflight
from align_lab.base.errors import ConfigError
from align_lab.base.hardware import SHARED
from align_lab.base.run_config import RunConfig
from align_lab.config import composition
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.lora import adapt
from align_lab.models.lora_settings import Lora
from align_lab.models.row_batches import is_out_of_memory
from align_lab.models.shape import Shape, read_shape
from align_lab.preflight.available_memory import AvailableMemory, measured
from align_lab.preflight.fit import largest
from align_lab.preflight.workload import Workload
from align_lab.run import device
from align_lab.train.micro_batch import sizes

BILLION7 = Shape(  # Llama 2 7B (arXiv 2307.09288): 6,738,415,616 parameters
    layers=32, width=4096, heads=32, kv_heads=32, mlp=11008, vocab=32000, context=4096, tied=False
)
PLENTY = AvailableMemory(gib=1e6, device_gib=1e6, source="machine")


def workload(shape=BILLION7, **fields):
    values = {"rows": 64, "groups": 16, "group": 4, "micro_batch": None, "prompt": 64, "new": 64, "gpu": True}
    return Workload(shape=shape, **{**values, **fields})


def persistent(**fields):
    return preflight.estimate(workload(**fields)).persistent


def composed(*overrides):
    return composition.compose(overrides)


def available(gib):
    return AvailableMemory(gib=gib, device_gib=gib, source="machine")


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
def test_the_shape_is_read_from_a_folders_config(tmp_path, model_type, names):
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300}
    content = {"model_type": model_type, **sizes}
    for name, common_name in names.items():
        content[name] = content.pop(common_name)
    (tmp_path / "config.json").write_text(json.dumps(content))
    shape = read_shape(tmp_path)
    assert shape is not None and (shape.width, shape.layers, shape.heads, shape.mlp) == (64, 2, 4, 256)
    assert read_shape(tmp_path / "nothing") is None


def test_the_persistent_terms_are_those_of_the_literature():
    """Mixed precision with Adam takes 2 + 2 + 12 bytes per parameter (arXiv 1910.02054); here the gradient takes 4."""
    n = 6_738_415_616
    assert BILLION7.parameters == n
    gib = 2**30
    half, full = persistent(dtype="bfloat16"), persistent(dtype="float32")
    assert half["weights"] == pytest.approx(2 * n / gib) and full["weights"] == pytest.approx(4 * n / gib)
    assert half["gradients"] == pytest.approx(4 * n / gib) and half["optimizer state"] == pytest.approx(12 * n / gib)
    assert full["optimizer state"] == pytest.approx(8 * n / gib)
    assert persistent(dtype="bfloat16", critic=True, reference=True)["weights"] == pytest.approx(6 * n / gib)


def test_each_zero_stage_shards_its_terms():
    plain = persistent(dtype="bfloat16", processes=8)
    stages = [persistent(dtype="bfloat16", processes=8, zero_stage=stage) for stage in (1, 2, 3)]
    for stage, sharded in enumerate(stages, start=1):
        assert sharded["optimizer state"] == pytest.approx(plain["optimizer state"] / 8)
        bucket = 2 * 500_000_000 / 2**30 if stage == 3 else 0  # that DeepSpeed keeps
        assert sharded["gradients"] == pytest.approx(plain["gradients"] / (8 if stage >= 2 else 1) + bucket)
        assert sharded["weights"] == pytest.approx(plain["weights"] / (8 if stage >= 3 else 1))
    assert persistent(processes=8, zero_stage=2, offload=True)["optimizer state"] == 0


def test_fsdp_shards_all_that_zero_3_shards_and_is_what_a_torch_run_is_told_to_set():
    cfg = composed("algo=rloo", "algo.kl_coef=0", "model=smollm2_135m", "hardware=gpu_8_fsdp")  # without a reference
    sharded = preflight.planned(cfg)
    zero_3 = preflight.planned(with_numerics(cfg, engine="deepspeed", zero_stage=3))
    whole = preflight.planned(with_numerics(cfg, engine="torch"))
    assert sharded and zero_3 and whole
    n = SMOLLM2.parameters
    of_fsdp, of_zero, of_torch = (
        {name: one[1].persistent[name] * 2**30 / n for name in ("weights", "gradients", "optimizer state")}
        for one in (sharded, zero_3, whole)
    )
    assert of_torch == pytest.approx({"weights": 2, "gradients": 4, "optimizer state": 12})
    collected = {"gradients": 2}  # DeepSpeed's buffer of them
    assert of_zero == pytest.approx({name: value / 8 + collected.get(name, 0) for name, value in of_torch.items()})
    assert of_fsdp == pytest.approx({"weights": 4 / 8, "gradients": 4 / 8, "optimizer state": 8 / 8})
    with pytest.raises(ConfigError) as error:
        preflight.fit(with_numerics(cfg, engine="torch"), gpu=True, processes=8, available=available(0.9))
    assert "hardware.numerics.engine=fsdp (" in str(error.value)


def with_numerics(cfg, **fields):
    """The config with these fields of hardware.numerics."""
    hardware = {**cfg.values["hardware"], "numerics": {**cfg.values["hardware"]["numerics"], **fields}}
    return RunConfig({**cfg.values, "hardware": hardware}, cfg.choices)


def test_with_adapters_the_reference_needs_no_copy_and_frozen_weights_no_optimizer_state():
    full, lora = persistent(reference=True), persistent(shape=replace(BILLION7, lora_rank=16), reference=True)
    assert lora["weights"] == pytest.approx(full["weights"] / 2, rel=0.01)
    assert lora["optimizer state"] < full["optimizer state"] / 100


QWEN7 = Shape(  # Qwen2.5 7B (arXiv 2412.15115), without the biases
    layers=28, width=3584, heads=28, kv_heads=4, mlp=18944, vocab=152064, context=32768, tied=False
)
SMOLLM2 = Shape(layers=30, width=576, heads=9, kv_heads=3, mlp=1536, vocab=49152, context=8192, plain=True)
LONG = {"dtype": "bfloat16", "prompt": 256, "new": 768, "checkpointing": True, "micro_batch": 4}


def test_the_targets_fit():
    """GiB of one process; before scoring and evaluation took some rows at a time, the first two were 92.6 and 63."""
    zero3 = workload(QWEN7, reference=True, processes=8, zero_stage=3, **LONG)
    adapters = workload(replace(QWEN7, lora_rank=16), reference=True, **LONG)
    small = workload(SMOLLM2, prompt=64, new=256, dtype="bfloat16", critic=True, reference=True)
    assert preflight.estimate(zero3).total < 60
    assert preflight.estimate(adapters).total < 45
    assert preflight.estimate(largest(small, available(16 * 0.96))).total < 16


def test_passes_without_gradient_take_as_many_rows_as_need_no_more_than_training():
    x = workload(QWEN7, reference=True, **LONG)
    need = preflight.estimate(x)
    assert need.phase in ("update", "sampling") and 1 <= need.scoring_batch < 64 and need.evaluation_batch < 128
    small = preflight.estimate(workload(SMOLLM2, prompt=8, new=16, reference=True, gpu=False))
    assert small.scoring_batch >= 64 and small.evaluation_batch == 128
    fixed = preflight.estimate(replace(x, scoring_batch=64, evaluation_batch=128))
    assert fixed.total > need.total + 10 and fixed.phase in ("evaluation", "scoring")


def test_the_start_policy_is_counted_once():
    once, twice = (preflight.estimate(workload(QWEN7, reference=held, **LONG)) for held in (True, False))
    assert "start policy" not in once.phases["evaluation"]
    assert twice.persistent["weights"] == pytest.approx(once.persistent["weights"] / 2)


@pytest.mark.parametrize("fields", [{}, {"fsdp": True}])
def test_a_whole_7b_policy_and_vllm_fit_on_the_same_gpus(fields):
    """What only updates need is away while vLLM is awake: before that, this was 80.4 GiB."""
    vllm = {"gpus": 0, "memory": 0.4, "cpu_cache_gib": 1.0}
    x = workload(QWEN7, reference=True, processes=8, zero_stage=3, vllm=vllm, **LONG, **fields)
    need = preflight.estimate(x, device_gib=80)
    assert need.total < 0.96 * 80
    assert not {"gradients", "optimizer state"} & {*need.persistent, *need.phases["sampling"], *need.phases["scoring"]}
    own = preflight.estimate(replace(x, vllm={**vllm, "gpus": 2}), device_gib=80)
    assert {"gradients", "optimizer state"} <= own.persistent.keys()
    moments = need.phases["update"]["optimizer state"]
    assert moments == pytest.approx((8 if fields else 12) * QWEN7.parameters / 8 / 2**30)


def test_merged_adapters_that_vllm_is_sent_are_counted():
    """Those of a model, and 12.2 GiB of the 7B one: 28 blocks of 233 million numbers in bfloat16."""
    fields = {"vocab": 64, "width": 32, "layers": 3, "heads": 4, "kv_heads": 2, "mlp": 48, "context": 16}
    model = adapt(Llama(LlamaConfig(**fields)), Lora(rank=2))
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sent = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in model.hf_state().values()}
    counted = sum(size for place, size in sent.items() if place not in own)
    vllm = {"gpus": 1, "memory": 0.4, "cpu_cache_gib": 1.0}
    x = workload(Shape(**fields, lora_rank=2), prompt=1, new=1, rows=1, groups=1, group=1, dtype="float32", vllm=vllm)
    assert preflight.estimate(x).phases["sampling"]["merged adapters"] == counted / 2**30 > 0
    large = preflight.estimate(workload(replace(QWEN7, lora_rank=16), vllm=vllm, **LONG))
    assert large.phases["sampling"]["merged adapters"] * 2**30 == 28 * 2 * 233_046_016
    assert "merged adapters" not in preflight.estimate(workload(QWEN7, vllm=vllm, **LONG)).phases["sampling"]


def test_fsdp_and_zero_3_share_the_reference_too():
    fields = {"processes": 8, "zero_stage": 3, **LONG}
    held, not_held = (preflight.estimate(workload(QWEN7, reference=one, fsdp=True, **fields)) for one in (True, False))
    part = 2 * QWEN7.parameters / 8 / 2**30
    assert held.persistent["weights"] == pytest.approx((2 + 1) * part)  # the policy's are float32
    assert not_held.persistent["start policy"] == pytest.approx(part)
    assert "start policy" not in not_held.phases["evaluation"] and "start policy" not in held.persistent
    of_zero = preflight.estimate(workload(QWEN7, reference=True, **fields))
    assert of_zero.persistent["weights"] == pytest.approx((1 + 1) * part)
    alone = preflight.estimate(workload(QWEN7, reference=True, fsdp=True, zero_stage=3, **LONG))
    assert alone.persistent["weights"] == pytest.approx((2 + 1) * 8 * part)


def test_main_memory_beside_a_gpu_is_counted_and_too_little_is_refused():
    n, gib = QWEN7.parameters, 2**30
    sharded = {"processes": 8, "per_node": 8, "zero_stage": 3}
    vllm = {"gpus": 0, "memory": 0.4, "cpu_cache_gib": 1.0}

    def main(**fields):
        sizes = dict(preflight.estimate(workload(QWEN7, **{**LONG, **fields}), device_gib=80).main)
        assert sizes.pop("libraries and data") > 0
        return {name: size * gib / n for name, size in sizes.items()}

    assert preflight.estimate(workload(QWEN7, gpu=False, **LONG)).main == {}
    assert main() == pytest.approx({"start policy": 2})
    assert main(reference=True) == {}
    assert main(reference=True, background=True) == pytest.approx({"checkpoint": 12})
    for engine in ({}, {"fsdp": True}):
        assert main(**sharded, **engine) == pytest.approx({"weights that are read": 2 / 8})
        assert main(**sharded, **engine, critic=True) == pytest.approx({"weights that are read": 4 / 8})
        assert main(**sharded, **engine, background=True) == pytest.approx({"checkpoint": 12 / 8})
    assert main(**sharded, reference=True, vllm=vllm, background=True) == pytest.approx(
        {"optimizer state": 12 / 8, "checkpoint": 12 / 8}
    )
    offload = {"reference": True, "zero_stage": 2, "processes": 8, "offload": True}
    assert main(**offload) == pytest.approx({"optimizer state": 12 / 8, "gradients": 4 / 8})
    cfg = composed("algo=dapo", "hardware=gpu_8_zero3", "model=smollm2_135m")
    fitting = preflight.fit(cfg, gpu=True, processes=8, available=available(80), main=available(2))
    assert fitting.background
    little = preflight.fit(cfg, gpu=True, processes=8, available=available(80), main=available(0.5))
    assert not little.background
    with pytest.raises(ConfigError, match=r"needs about 0.5 GiB of main memory \(libraries and data 0.4, weights"):
        preflight.fit(cfg, gpu=True, processes=8, available=available(80), main=available(0.3))


def test_a_processor_waits_for_its_checkpoints():
    """So a kill costs there no more than `record.checkpoint_every` steps."""
    assert not preflight.fit(composed("algo=rloo", "model=smollm2_135m"), gpu=False, available=PLENTY).background


def test_vllm_its_check_and_gathered_weights_are_held_together():
    vllm = {"gpus": 0, "memory": 0.4, "cpu_cache_gib": 1.0}
    x = workload(QWEN7, reference=True, processes=8, zero_stage=3, vllm=vllm, **LONG)
    parts = preflight.estimate(x, device_gib=80).phases["sampling"]
    assert parts["vLLM"] == pytest.approx(32) and parts["gathered weights"] == pytest.approx(14.2, abs=0.1)
    assert parts["check of the log-probabilities"] > 0
    own = preflight.estimate(replace(x, vllm={**vllm, "gpus": 2}), device_gib=80)
    assert "vLLM" not in own.phases["sampling"]
    here = preflight.estimate(replace(x, gpu=False), device_gib=80)
    assert "vLLM" in here.persistent and "vLLM" not in here.phases["sampling"]


@given(st.integers(1, 300))
def test_micro_batches_are_of_equal_size(groups):
    candidates = sizes(groups)
    assert candidates[0] == groups and candidates[-1] == 1
    assert candidates == sorted(set(candidates), reverse=True)
    for size in candidates:
        parts = math.ceil(groups / size)
        assert groups - (parts - 1) * size >= 1 and size == math.ceil(groups / parts)


@given(gib=st.floats(0.5, 60), groups=st.integers(1, 40))
def test_the_largest_micro_batch_that_fits_is_taken(gib, groups):
    shape = Shape(layers=30, width=576, heads=9, kv_heads=3, mlp=1536, vocab=49152, context=8192)
    x = workload(shape=shape, groups=groups)
    chosen = largest(x, available(gib))
    assert chosen.micro_rows % x.group == 0
    need = preflight.estimate(chosen).total
    larger = [size for size in sizes(groups) if size * x.group > chosen.micro_rows]
    for size in larger:
        more = preflight.estimate(replace(x, micro_batch=size * x.group)).total
        assert more > 0.85 * gib or need > 0.85 * gib


def test_a_resumed_run_keeps_its_micro_batch():
    cfg, configured = composed("algo=rloo"), composed("algo=rloo", "train.micro_batch=8")
    assert preflight.fit(cfg, gpu=False, available=PLENTY).micro_batch == 64
    assert preflight.fit(cfg, gpu=False, available=PLENTY, previous={"micro_batch": 12}).micro_batch == 12
    assert preflight.fit(configured, gpu=False, available=PLENTY, previous={"micro_batch": 12}).micro_batch == 8


def test_with_less_memory_the_micro_batch_is_smaller_and_the_signature_is_the_same():
    memory = preflight.fit(composed("algo=ppo"), gpu=False, available=available(0.85))
    assert memory.micro_batch is not None and memory.micro_batch < 64 and memory.micro_batch % 4 == 0
    assert memory.estimate is not None and memory.estimate.total <= 0.85
    assert memory.apply_to(composed("algo=ppo")).signature == composed("algo=ppo").signature


@pytest.mark.parametrize("algo", ["ppo", "dpo", "rloo"])
@pytest.mark.parametrize(
    "extra", [(), ("train.group_size=16", "train.prompts_per_step=64", "sampling.max_new_tokens=512")]
)
def test_every_remedy_that_the_error_names_makes_the_run_fit(algo, extra):
    overrides = [f"algo={algo}", "model=smollm2_135m", *extra]
    cfg = composed(*overrides)
    least = preflight.estimate(largest(preflight.workload_of(cfg, gpu=True), available(0.001))).total
    small = available(0.8 * least)
    with pytest.raises(ConfigError, match=r"The largest term is \w+") as error:
        preflight.fit(cfg, gpu=True, available=small)
    assert error.value.status == 2
    advice = re.search(r"Set one of: (.*)$", str(error.value))
    assert advice, error.value
    changes = re.findall(r"((?:\S+=\S+ )+)\([\d.]+ GiB\)", advice[1])
    assert changes and (extra or any("model.lora.rank=16" in change for change in changes))
    for change in changes:
        preflight.fit(composed(*overrides, *change.split()), gpu=True, available=small)


def test_if_no_single_remedy_is_enough_the_error_names_a_combination_that_is():
    overrides = ["algo=ppo", "model=smollm2_135m"]
    with pytest.raises(ConfigError, match="Set all of") as error:
        preflight.fit(composed(*overrides), gpu=True, available=available(1.2))
    advice = re.search(r"Set all of: (.*) \([\d.]+ GiB\)$", str(error.value))
    assert advice and len(advice[1].split()) > 1
    preflight.fit(composed(*overrides, *advice[1].split()), gpu=True, available=available(1.2))
    with pytest.raises(ConfigError, match="A smaller model or a larger machine is needed"):
        preflight.fit(composed(*overrides), gpu=True, available=available(0.1))


def test_validation_rejects_a_job_that_requests_too_little_memory():
    with pytest.raises(ConfigError, match=re.escape("hardware.placement.gpu_memory_gib")):
        composed("model=smollm2_135m", "hardware=slurm_gpu", "hardware.placement.gpu_memory_gib=1")
    with pytest.raises(ConfigError, match=re.escape("hardware.placement.mem_gb")):
        composed("model=smollm2_135m", "hardware=slurm_cpu", "hardware.placement.mem_gb=1")
    composed("model=smollm2_135m", "hardware=slurm_gpu", "hardware.placement.gpu_memory_gib=16")
    composed("model=smollm2_135m", "hardware=slurm_gpu", "hardware.placement.mem_gb=1")  # the GPU's memory is unknown


def test_processes_and_runs_of_a_machine_share_its_available_memory(monkeypatch):
    placement = {"tasks_per_node": 1, "mem_gb": None}
    single = measured(placement, gpu=False)
    assert 0 < single.gib <= 1.01 * single.device_gib
    assert measured({**placement, "tasks_per_node": 2}, gpu=False).gib == pytest.approx(single.gib / 2, rel=0.2)
    monkeypatch.setenv(SHARED, "4")
    assert measured(placement, gpu=False).gib == pytest.approx(single.gib / 4, rel=0.2)
    assert measured({**placement, "mem_gb": 0.5}, gpu=False).gib == pytest.approx(0.125)


def test_an_out_of_memory_error_of_torch_is_recognized():
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 50)
    assert is_out_of_memory(error.value) and not is_out_of_memory(RuntimeError("shapes differ"))
    of_cublas = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    assert is_out_of_memory(RuntimeError(of_cublas)) and is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"))


def run(*command):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done


MIDDLE = {"layers": 6, "width": 256, "heads": 8, "kv_heads": 4, "mlp": 704, "vocab": 8192, "prompt": 8, "new": 32}
LARGE = {"layers": 30, "width": 576, "heads": 9, "kv_heads": 3, "mlp": 1536, "vocab": 49152, "prompt": 8, "new": 16}
CASES = {
    "6M": {"algo": "rloo", "rows": 32, **MIDDLE},
    "6M with a critic, 4 micro-batches": {"algo": "ppo", "rows": 32, "micro_batch": 8, **MIDDLE},
    "6M, gradient checkpointing": {"algo": "rloo", "rows": 64, "checkpointing": True, **MIDDLE},
    "6M with adapters": {"algo": "rloo", "rows": 64, "lora_rank": 16, **MIDDLE},
    "135M": {"algo": "rloo", "fields": {"kl_coef": 0}, "rows": 4, **LARGE},
}


@pytest.mark.nightly
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_estimate_is_the_peak_within_bounds(case):
    """The peak of a complete step is at most 1/7 above the estimate and at least 3/4 of it.

    Where the allocator leaves its holes is chance, up to a fifth of the peak: the median of three fresh processes is
    within the bounds if two are.
    """
    results = []
    while len(results) < 3 and within(results) < 2:
        results.append(json.loads(run("-m", "tests.preflight.measured_memory", json.dumps(case)).stdout))
    assert within(results) == 2, results


def within(results):
    return sum(0.87 < result["estimate_mib"] / result["peak_mib"] < 1.33 for result in results)


def test_large_tensors_are_aligned_to_pages():
    use = "from align_lab.base.hardware import Numerics; from align_lab.run import device; device.use(Numerics())"
    code = f"{use}; import torch; print([torch.empty(1 << 20).data_ptr() % 4096 for _ in range(9)])"
    assert json.loads(run("-c", code).stdout) == [0] * 9


def test_concurrent_runs_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert device.cores() == 12
    monkeypatch.setenv(SHARED, "3")
    assert device.cores() == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert device.cores() == 2
    monkeypatch.setenv(SHARED, "99")
    assert device.cores() == 1
