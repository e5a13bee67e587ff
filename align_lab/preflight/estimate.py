"""The estimated memory of one process: persistent terms, and the terms that each phase of a step adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from align_lab.preflight import terms
from align_lab.preflight.workload import Workload

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """GiB of one process by term. Phases do not overlap, so the peak is the persistent terms plus the largest phase."""

    persistent: Mapping[str, float]
    phases: Mapping[str, Mapping[str, float]]
    micro_batch: int  # completions of one forward pass with gradient

    @property
    def phase(self) -> str:
        """The phase with the peak."""
        return max(self.phases, key=lambda name: sum(self.phases[name].values()))

    @property
    def total(self) -> float:
        """GiB at the peak."""
        return sum(self.terms.values())

    @property
    def terms(self) -> dict[str, float]:
        """The terms of the peak, largest first."""
        sizes = {**self.persistent, **self.phases[self.phase]}
        return {name: sizes[name] for name in sorted(sizes, key=lambda name: -sizes[name]) if sizes[name] > 0}

    def sentence(self) -> str:
        """`3.4 GiB (weights 0.5, ...)`, without terms below 0.005 GiB."""
        parts = ", ".join(f"{name} {value:.2f}" for name, value in self.terms.items() if value >= 0.005)
        return f"{self.total:.2f} GiB ({parts})"


def estimate(x: Workload, *, device_gib: float = 0.0) -> Estimate:
    """The estimate of a process with this workload. vLLM uses a fraction of `device_gib`, the whole device's memory."""
    persistent = {
        "weights": terms.weights(x),
        "gradients": terms.gradients(x),
        "optimizer state": terms.optimizer(x),
        "reward models": x.scorers.weights,
        **({"judges": terms.JUDGES} if x.gpu else {"libraries and data": terms.LIBRARIES}),
    }
    phases = {"update": _update(x), "evaluation": _evaluation(x, device_gib)}
    if x.samples:
        phases["sampling"] = _sampling(x, x.rows, device_gib)
        phases["scoring"] = {"scoring": terms.scoring(x, x.rows)}
        phases["reward"] = {"forward pass of a reward model": x.scorers.forward}
    if not x.gpu and x.zero_stage:  # a checkpoint is gathered in main memory
        phases["checkpoint"] = {"checkpoint": terms.checkpoint(x)}
    return Estimate(
        persistent={name: value / GIB for name, value in persistent.items()},
        phases={phase: {name: value / GIB for name, value in parts.items()} for phase, parts in phases.items()},
        micro_batch=x.micro_rows,
    )


def _update(x: Workload) -> dict[str, float]:
    """One micro-batch, at the end of its forward pass in the head or in the backward pass of a block.

    The first micro-batch may also contain human text, which only the policy processes.
    """
    activations = terms.activations(x, x.micro_rows, x.prompt + x.new, models=terms.trained_models(x))
    logits, backward = terms.logits(x, x.micro_rows, x.new), terms.backward(x, x.micro_rows, x.prompt + x.new)
    if x.human_rows:
        activations += terms.activations(x, x.human_rows, x.human_length)
        logits += terms.logits(x, x.human_rows, x.human_length)
        backward = max(backward, terms.backward(x, x.human_rows, x.human_length))
    factor = terms.fragmentation(x)
    temporary = {"logits": logits} if logits > backward else {"backward": backward}
    return {name: factor * value for name, value in {"activations": activations, **temporary}.items()}


def _sampling(x: Workload, rows: int, device_gib: float) -> dict[str, float]:
    """The torch sampler's KV cache and logits (under ZeRO-3 also the gathered weights), or vLLM's memory."""
    if x.vllm is not None:
        own_gpus = x.vllm["gpus"] > 0
        reserved = x.vllm["memory"] * device_gib if x.gpu else x.vllm["cpu_cache_gib"]
        engine = 0 if x.gpu else x.shape.parameters * x.bytes
        return {"vLLM": 0.0 if own_gpus and x.gpu else reserved * GIB + engine}
    gathered = x.shape.parameters * x.bytes if terms.shards(x, 3) > 1 else 0
    return {
        "KV cache": terms.kv_cache(x, rows),
        "token sampling": terms.token_sampling(x, rows) + terms.forward(x, rows, x.prompt),
        **({"gathered weights": float(gathered)} if gathered else {}),
    }


def _evaluation(x: Workload, device_gib: float) -> dict[str, float]:
    """A batch of evaluation prompts: sampling, then scoring against a reference that is loaded for the evaluation."""
    x = replace(x, new=x.evaluated_new or x.new)
    sampling = _sampling(x, x.evaluated, device_gib)
    scoring = {"evaluation": terms.scoring(x, x.evaluated)}
    judging = {"forward pass of a reward model": x.scorers.forward}
    phase = max(sampling, scoring, judging, key=lambda parts: sum(parts.values()))
    reference = 0 if x.shape.lora_rank else x.shape.parameters * x.bytes
    return {**phase, "start policy": float(reference)}
