"""The memory of one process: what it holds all the time, and what each phase of a step adds for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from align_lab.preflight import terms
from align_lab.preflight.workload import Load

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """GiB of one process by term. Phases follow each other, so the peak is what is held and the largest of them."""

    held: Mapping[str, float]
    phases: Mapping[str, Mapping[str, float]]
    micro_batch: int  # completions of one forward pass with gradient

    @property
    def phase(self) -> str:
        """The phase in which the peak is."""
        return max(self.phases, key=lambda name: sum(self.phases[name].values()))

    @property
    def total(self) -> float:
        """GiB at the peak."""
        return sum(self.terms.values())

    @property
    def terms(self) -> dict[str, float]:
        """The terms of the peak, largest first."""
        found = {**self.held, **self.phases[self.phase]}
        return {name: found[name] for name in sorted(found, key=lambda name: -found[name]) if found[name] > 0}

    def sentence(self) -> str:
        """`3.4 GiB (weights 0.5, ...)`; what is under a hundredth is left out."""
        parts = ", ".join(f"{name} {value:.2f}" for name, value in self.terms.items() if value >= 0.005)
        return f"{self.total:.2f} GiB ({parts})"


def estimate(x: Load, *, device_gib: float = 0.0) -> Estimate:
    """What a process of this load takes. `device_gib`: of the whole device, of which vLLM takes its share."""
    held = {
        "weights": terms.weights(x),
        "gradients": terms.gradients(x),
        "optimiser": terms.optimiser(x),
        **({"judges": terms.JUDGES} if x.gpu else {"program": terms.PROGRAM}),
    }
    phases = {"update": _update(x), "evaluation": _evaluation(x, device_gib)}
    if x.samples:
        phases["sampling"] = _sampling(x, x.rows, device_gib)
        phases["scoring"] = {"scoring": terms.scoring(x, x.rows)}
    if not x.gpu and x.zero_stage:  # a checkpoint is put together in main memory
        phases["checkpoint"] = {"checkpoint": terms.saved(x)}
    return Estimate(
        held={name: value / GIB for name, value in held.items()},
        phases={phase: {name: value / GIB for name, value in parts.items()} for phase, parts in phases.items()},
        micro_batch=x.micro_rows,
    )


def _update(x: Load) -> dict[str, float]:
    """One micro-batch at the end of its forward pass, where the head works, or at a block's backward pass.

    The first may also hold human text, which the policy alone reads.
    """
    kept = terms.activations(x, x.micro_rows, x.prompt + x.new, models=terms.learners(x))
    logits, working = terms.logits(x, x.micro_rows, x.new), terms.working(x, x.micro_rows, x.prompt + x.new)
    if x.human_rows:
        kept += terms.activations(x, x.human_rows, x.human_length)
        logits += terms.logits(x, x.human_rows, x.human_length)
        working = max(working, terms.working(x, x.human_rows, x.human_length))
    pieces = terms.pieces(x)
    at_work = {"logits": logits} if logits > working else {"backward": working}
    return {name: pieces * value for name, value in {"activations": kept, **at_work}.items()}


def _sampling(x: Load, rows: int, device_gib: float) -> dict[str, float]:
    """The torch sampler's KV cache and logits (under ZeRO-3 with all weights gathered), or what vLLM is given."""
    if x.vllm is not None:
        beside = x.vllm["gpus"] > 0
        whole = x.vllm["memory"] * device_gib if x.gpu else x.vllm["cpu_cache_gib"]
        engine = 0 if x.gpu else x.shape.parameters * x.bytes
        return {"vLLM": 0.0 if beside and x.gpu else whole * GIB + engine}
    gathered = x.shape.parameters * x.bytes if terms.share(x, 3) > 1 else 0
    return {
        "KV cache": terms.cache(x, rows),
        "choosing": terms.choosing(x, rows) + terms.forward(x, rows, x.prompt),
        **({"gathered weights": float(gathered)} if gathered else {}),
    }


def _evaluation(x: Load, device_gib: float) -> dict[str, float]:
    """A batch of held-out prompts, sampled and then scored against a reference that is read for the purpose."""
    sampled = _sampling(x, x.evaluated, device_gib)
    scored = {"evaluation": terms.scoring(x, x.evaluated)}
    phase = max(sampled, scored, key=lambda parts: sum(parts.values()))
    reference = 0 if x.shape.lora_rank else x.shape.parameters * x.bytes
    return {**phase, "start policy": float(reference)}
