"""The estimated memory of one process: persistent terms, and the terms that each phase of a step adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from align_lab.base.hardware import CHECKED_ROWS
from align_lab.preflight import main_memory, passes, terms
from align_lab.preflight.workload import Workload

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """GiB of one process by term. Phases do not overlap, so the peak is the persistent terms plus the largest phase."""

    persistent: Mapping[str, float]
    phases: Mapping[str, Mapping[str, float]]
    main: Mapping[str, float]  # GiB of main memory by term, beside a GPU
    micro_batch: int  # completions of one forward pass with gradient
    scoring_batch: int | None = None  # of one without gradient
    evaluation_batch: int | None = None  # that an evaluation samples together

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
    """The estimate of a process with this workload. vLLM uses a fraction of `device_gib`, the whole device's memory;
    where it shares a GPU, optimizer state and gradients are there in updates alone.

    Passes without gradient take as many completions as need no more than the update or sampling needs.
    """
    engine = _vllm(x, device_gib)
    of_updates = {"gradients": terms.gradients(x), "optimizer state": terms.optimizer(x)}
    persistent = {
        "weights": terms.weights(x),
        **({"start policy": terms.start_policy(x)} if x.shards_weights and not x.reference else {}),
        **({} if x.rests else of_updates),
        "reward models": x.scorers.weights,
        **({"judges": terms.JUDGES} if x.gpu else {"libraries and data": terms.LIBRARIES}),
        **({"vLLM": engine} if engine and not x.gpu else {}),  # it only sleeps on a GPU
    }
    update = _update(x) | (of_updates if x.rests else {})
    bound = max(_size(update), _size(_torch_sampling(x, x.rows, x.group)) if x.samples and x.vllm is None else 0.0)
    scored = x.scoring_batch or passes.scoring_rows(x, bound)
    phases = {"update": update}
    if x.samples:
        phases["sampling"] = _sampling(x, x.rows, x.group, engine=engine)
        phases["scoring"] = {"scoring": terms.scoring(x, min(x.rows, scored))}
        phases["reward"] = {"forward pass of a reward model": x.scorers.forward}
    most = max(_size(parts) for parts in phases.values())
    evaluated = x.evaluation_batch or passes.evaluation_rows(
        x, most, lambda rows: _size(_evaluation(x, rows, scored, engine))
    )
    phases["evaluation"] = _evaluation(x, evaluated, scored, engine)
    if not x.gpu and x.zero_stage:  # its slices of a checkpoint are copied in main memory
        phases["checkpoint"] = {"checkpoint": terms.checkpoint(x)}
    return Estimate(
        persistent={name: value / GIB for name, value in persistent.items()},
        phases={phase: {name: value / GIB for name, value in parts.items()} for phase, parts in phases.items()},
        main={name: value / GIB for name, value in main_memory.parts(x).items()},
        micro_batch=x.micro_rows,
        scoring_batch=scored,
        evaluation_batch=evaluated,
    )


def _size(parts: Mapping[str, float]) -> float:
    """The bytes of a phase."""
    return sum(parts.values())


def _update(x: Workload) -> dict[str, float]:
    """One micro-batch, at the end of its forward pass in the head, in the backward pass of a block, or, where something
    is sharded, when gradients are sent.

    The first micro-batch may also contain human text, which only the policy processes.
    """
    activations = terms.activations(x, x.micro_rows, x.prompt + x.new, models=terms.trained_models(x))
    logits, backward = terms.logits(x, x.micro_rows, x.new), terms.backward(x, x.micro_rows, x.prompt + x.new)
    if x.human_rows:
        activations += terms.activations(x, x.human_rows, x.human_length)
        logits += terms.logits(x, x.human_rows, x.human_length)
        backward = max(backward, terms.backward(x, x.human_rows, x.human_length))
    factor = terms.fragmentation(x)
    moments = (
        {"activations": activations, "logits": logits, "gathered weights": terms.gathered_at_head(x)},
        {
            "activations": activations,
            "backward": backward,
            "gathered weights": terms.gathered_in_block(x),
            "collected gradients": terms.collected(x),
        },
        {"gathered weights": terms.gathered_at_end(x), "collected gradients": terms.sent(x)},
    )
    return {name: factor * value for name, value in max(moments, key=_size).items()}


def _sampling(x: Workload, rows: int, group: int, *, engine: float) -> dict[str, float]:
    """The torch sampler's memory; or that of vLLM, awake, and beside it what is sent to it, or what checks its
    log-probabilities."""
    if x.vllm is None:
        return _torch_sampling(x, rows, group)
    sending = {"merged adapters": terms.merged(x)}
    check = {"check of the log-probabilities": terms.scoring(x, min(rows, CHECKED_ROWS))}
    return ({"vLLM": engine} if engine and x.gpu else {}) | _gathered(x) | max(sending, check, key=_size)


def _torch_sampling(x: Workload, rows: int, group: int) -> dict[str, float]:
    """The KV cache, logits and the pass over the prompts, each of which is read once for `group` completions.

    A GPU has the pass over the prompts, the copies of their cache for the completions of a group, layer by layer, the
    draws, and the copy of the rows that are left one after the other.
    """
    prompts = -(-rows // group)
    cache = terms.kv_cache(x, rows)
    reading, drawing = terms.forward(x, prompts, x.prompt), terms.token_sampling(x, rows)
    of_prompts = cache * x.prompt / (x.prompt + x.new)
    if not x.gpu:
        return {"KV cache": terms.COMPACTION * cache, "token sampling": drawing + reading, **_gathered(x)}
    moments = (
        {"KV cache": terms.kv_cache(x, prompts), "pass over prompts": reading},
        {"KV cache": cache + (of_prompts * (1 / group + 1 / x.shape.layers) if group > 1 else 0.0)},
        {"KV cache": cache, "token sampling": drawing},
        {"KV cache": terms.COMPACTION_ON_GPU * cache},
    )
    return {**max(moments, key=_size), **_gathered(x)}


def _gathered(x: Workload) -> dict[str, float]:
    """Under ZeRO-3, a sampler gets the gathered weights."""
    return {"gathered weights": float(x.shape.parameters * x.bytes)} if terms.shards(x, 3) > 1 else {}


def _vllm(x: Workload, device_gib: float) -> float:
    """vLLM's weights and KV cache in this process's memory, in bytes; 0 without vLLM, or on GPUs of its own."""
    if x.vllm is None or (x.gpu and not x.rests):
        return 0.0
    if x.gpu:
        return x.vllm["memory"] * device_gib * GIB
    return x.vllm["cpu_cache_gib"] * GIB + x.shape.parameters * x.bytes


def _evaluation(x: Workload, rows: int, scored: int, engine: float) -> dict[str, float]:
    """Evaluation prompts: `rows` completions are sampled at a time, then measured against the start policy, which is
    that of training or is loaded for this, then scored."""
    x = replace(x, new=x.evaluated_new or x.new)
    sampling = _sampling(x, rows, x.evaluated_samples, engine=engine)
    start = {} if x.reference or x.shards_weights else {"start policy": terms.start_policy(x)}
    measuring = {"evaluation": terms.scoring(x, min(rows, scored), entropy=True), **start}
    judging = {"forward pass of a reward model": x.scorers.forward}
    return max(sampling, measuring, judging, key=_size)
