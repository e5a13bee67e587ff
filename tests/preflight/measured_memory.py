"""The measured peak memory of a training step with two updates in a fresh process, and the estimate of it.

python -m tests.preflight.measured_memory '{"layers": 4, ...}'
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from align_lab import preflight
from align_lab.base import registry
from align_lab.base.hyperparameters import Train
from align_lab.base.types import Rollout
from align_lab.models.blocks import configure_blocks
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.lora import BaseModel, adapt
from align_lab.models.lora_settings import Lora
from align_lab.models.shape import Shape
from align_lab.preflight.workload import Workload
from align_lab.rollout.torch_sampler import TorchSampler
from align_lab.run.allocator import suit_tensors
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.experience import Experience, left_padding
from align_lab.train.learner import Critic, Learner
from align_lab.train.minibatch import StepContext
from align_lab.train.update import update

GROUP, CONTEXT = 4, 1024
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def status(name: str) -> float:
    """A memory field of /proc/self/status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def step(shape: Shape, x: Workload, algo: Any, folder: Path) -> None:
    """Sample, score, update twice and save, with a learner and the algorithm's own loss."""

    def build() -> Llama:
        fields = {name: getattr(shape, name) for name in LlamaConfig.__dataclass_fields__ if hasattr(shape, name)}
        model = adapt(Llama(LlamaConfig(**fields)).to(DTYPES[x.dtype]), Lora(rank=shape.lora_rank))
        configure_blocks(model, gradient_checkpointing=x.checkpointing, compiled=False)
        return model

    plan = Train(prompts_per_step=x.groups, group_size=GROUP, micro_batch=x.micro_rows)
    policy = build()
    reference = (BaseModel(policy) if shape.lora_rank else build()) if x.reference else None
    learner = Learner(plan, policy, critic=Critic(build()) if x.critic else None)
    ids = torch.randint(1, shape.vocab, (x.groups, x.prompt))
    pad = torch.arange(x.groups) % 3
    samples = TorchSampler()(learner, ids, left_padding(pad), uniforms=torch.rand(x.rows, x.new), eos=0)
    ids, pad = (each.repeat_interleave(GROUP, 0) for each in (ids, pad))
    whole = torch.cat([ids, samples.tokens], 1)
    mask = torch.ones_like(samples.mask)  # every completion has the maximum length

    def group(flat: torch.Tensor) -> torch.Tensor:
        return flat.view(x.groups, GROUP, *flat.shape[1:])

    with torch.no_grad():
        ref = reference(whole, left_padding(pad), mask) if reference is not None else None
        value = learner.critic(whole, left_padding(pad), x.new) if learner.critic else None
    rollout = Rollout(
        mask=group(mask),
        score=torch.randn(x.groups, GROUP),
        logp_old=group(samples.logp),
        logp_ref=None if ref is None else group(ref),
        value=None if value is None else group(value),
    )
    with torch.no_grad():
        advantage, _ = algo.advantages(rollout, algo.init_state())
    experience = Experience(ids=group(whole), pad=group(pad), rollout=rollout)
    for number in range(2):  # the first update allocates the optimizer state
        update(learner, algo, experience, advantage, StepContext(step=number, seed=0))
    Checkpoints(folder).save(1, learner.state_dict(), keep=1)


def measure(case: dict[str, Any]) -> dict[str, float]:
    """The measured peak, and the estimate by term, of one case of test_preflight.py, in MiB."""
    suit_tensors()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    registry.scan()
    algo = registry.build("algo", {"name": case.pop("algo"), **case.pop("fields", {})})
    dtype, rows, micro = case.pop("dtype", "float32"), case.pop("rows"), case.pop("micro_batch", None)
    checkpointing = case.pop("checkpointing", False)
    prompt, new = case.pop("prompt"), case.pop("new")
    shape = Shape(context=CONTEXT, **case)
    x = Workload(
        shape=shape,
        rows=rows,
        groups=rows // GROUP,
        group=GROUP,
        micro_batch=micro,
        prompt=prompt,
        new=new,
        critic=algo.needs.critic is not None,
        reference=algo.needs.reference,
        entropy=algo.needs.entropy,
        dtype=dtype,
        checkpointing=checkpointing,
    )
    tiny = Shape(layers=1, width=16, heads=2, kv_heads=1, mlp=16, vocab=64, context=CONTEXT, lora_rank=shape.lora_rank)
    with tempfile.TemporaryDirectory() as folder:  # a first step loads libraries, which allocate memory
        step(tiny, replace(x, shape=tiny, rows=8, groups=2, micro_batch=None, prompt=4, new=4), algo, Path(folder))
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
        step(shape, x, algo, Path(folder) / "measured")
    whole_run = preflight.estimate(x)
    phases = {name: parts for name, parts in whole_run.phases.items() if name != "evaluation"}
    persistent = {name: value for name, value in whole_run.persistent.items() if name != "libraries and data"}
    need = replace(whole_run, persistent=persistent, phases=phases)
    return {"peak_mib": status("VmHWM") - before, "estimate_mib": 1024 * need.total, "phase": need.phase, **need.terms}


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
