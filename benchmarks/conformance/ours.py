"""The same quantities from this project's components: `advantages` and `loss` as the loop calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align_lab.base import registry
from align_lab.base.contracts import Algorithm
from align_lab.base.types import Batch, PolicyOutput, Rollout
from align_lab.models.convert import from_hf
from align_lab.models.llama import Llama
from align_lab.models.logp import response_logps
from benchmarks.conformance import probes
from benchmarks.conformance.cases import Case

Numbers = Mapping[str, Any]
OF_PAIRS = ("DPO", "KTO", "CPO", "ORPO")  # trainers that read a set of pairs
TEMPERATURE = 0.7  # of the worker's sampling; pairs of a data set were not sampled


def algorithm(case: Case) -> Algorithm:
    """The component with the case's fields."""
    registry.scan()
    return registry.build("algo", {"name": case.algo, **case.ours})


def quantities(case: Case, record: Numbers, theirs: Numbers) -> probes.Quantities:
    """What this side computes from the inputs that TRL computed: log-probabilities as they are in `theirs`."""
    algo = algorithm(case)
    paired = case.trainer in (*OF_PAIRS, "OnlineDPO")
    group = (2 if algo.needs.paired else 1) if paired else record["group_size"]

    def grouped(x: Any) -> Tensor:
        rows = torch.as_tensor(x, dtype=torch.float64)
        return rows.view(-1, group, *rows.shape[1:])

    mask = grouped(theirs["mask"]).bool()
    logp = grouped(theirs["logp"])
    reference = grouped(theirs["logp_ref"]) if algo.needs.reference else None
    x = Rollout(
        mask=mask,
        score=grouped(scores(case, record)),
        logp_old=grouped(theirs["logp_old"]) if "logp_old" in theirs else logp,
        logp_ref=reference,
        longest=record["longest"],
    )
    advantage = algo.advantages(x, algo.init_state())[0].advantage
    if algo.needs.statistics:
        return _with_statistics(algo, x, logp, advantage, theirs)
    loss = _loss(algo, x, logp)
    if paired:
        result = probes.of_pairs(
            lambda _, old, given: loss(advantage, old, given), logp=logp, reference=reference, mask=mask
        )
        result |= {"advantage": advantage, "prompt": torch.zeros(mask.shape[:2])}  # no algorithm sees the prompt's
    else:
        result = probes.of_rollout(loss, advantage=advantage, logp=logp, old=x.logp_old, reference=reference, mask=mask)
    return like(theirs, result)


def like(theirs: Numbers, result: probes.Quantities) -> probes.Quantities:
    """The quantities that both sides have, with the shapes of theirs: groups as rows."""
    return {
        name: value.reshape(torch.as_tensor(theirs[name]).shape) for name, value in result.items() if name in theirs
    }


def _with_statistics(
    algo: Algorithm, x: Rollout, policy: Tensor, advantage: Tensor, theirs: Numbers
) -> probes.Quantities:
    """Of an algorithm that looks at the whole minibatch first, at completions of other prompts."""

    def other(name: str) -> Tensor:
        """A sum over a completion [N] as a completion of one token [N 1 1]."""
        return torch.as_tensor(theirs[name], dtype=torch.float64)[:, None, None]

    logp, sums = policy.clone().requires_grad_(), other("logp_mismatched")
    now = PolicyOutput(logp=logp, logp_mismatched=sums, mask_mismatched=torch.ones_like(sums, dtype=torch.bool))
    batch = replace(_batch(x, advantage, x.logp_old, x.logp_ref), logp_ref_mismatched=other("logp_ref_mismatched"))
    batch = replace(batch, statistics=algo.statistics(now, batch))
    out = algo.loss(now, batch)
    result = {
        "mask": x.mask.to(policy),
        "reference_point": out.metrics["rewards/reference_point"],
        "loss": out.loss.detach(),
        "gradient": torch.autograd.grad(out.loss, logp)[0],
    }
    return like(theirs, result)


def _batch(x: Rollout, advantage: Tensor, old: Tensor, reference: Tensor | None) -> Batch:
    return Batch(
        mask=x.mask,
        logp_old=old,
        logp_ref=reference,
        advantage=advantage,
        tokens=float(x.mask.sum()),
        sequences=float(x.mask[..., 0].numel()),
        longest=x.longest,
    )


def _loss(algo: Algorithm, x: Rollout, policy: Tensor) -> probes.Loss:
    def loss(advantage: Tensor, old: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
        logp = policy.clone().requires_grad_()
        value = algo.loss(PolicyOutput(logp=logp), _batch(x, advantage, old, reference)).loss
        return value.detach(), torch.autograd.grad(value, logp)[0]

    return loss


def scores(case: Case, record: Numbers) -> list[float]:
    """The scores of the case's completions; pairs of a data set are 1 and 0."""
    if case.trainer in OF_PAIRS:
        return [1.0, 0.0] * len(pairs(case, record))
    values = tied(record) if case.tie else record["scores"]
    if case.trainer == "OnlineDPO":
        group = record["group_size"]
        return [values[first + sample] for first in range(0, len(values), group) for sample in range(2)]
    return values


def pairs(case: Case, record: Numbers) -> list[dict[str, list[int]]]:
    """The preference pairs of the case."""
    return [record["short_pair"]] if case.short else record["pairs"]


def tied(record: Numbers) -> list[float]:
    """The scores, with that of the second sample as that of the first."""
    values = list(record["scores"])
    return [values[0], values[0], *values[2:]]


def log_probabilities(case: Case, record: Numbers, folder: Path) -> probes.Quantities:
    """logp, logp_old and logp_ref [N T] of this project's model with the same weights, at its temperature."""
    names = {"logp": "policy" if case.state == "changed" else "old", "logp_old": "old", "logp_ref": "reference"}
    temperature = case.theirs.get("temperature", 1.0 if case.trainer in OF_PAIRS else TEMPERATURE)
    result = {}
    for name, model_name in names.items():
        model = from_hf(folder / model_name)
        rows = [_row(model, *tokens, temperature, record["longest"]) for tokens in _tokens(case, record)]
        result[name] = torch.stack(rows)
    return result


def _tokens(case: Case, record: Numbers) -> list[tuple[list[int], list[int]]]:
    """The prompt and the completion of each row."""
    if case.trainer in OF_PAIRS:
        return [(pair["prompt"], pair[side]) for pair in pairs(case, record) for side in ("chosen", "rejected")]
    group = record["group_size"]
    rows = [(record["prompts"][number // group], ids) for number, ids in enumerate(record["completions"])]
    if case.trainer == "OnlineDPO":
        return [row for number, row in enumerate(rows) if number % group < 2]
    return rows


@torch.no_grad()
def _row(model: Llama, prompt: list[int], completion: list[int], temperature: float, width: int) -> Tensor:
    ids, mask = torch.tensor([[*prompt, *completion]]), torch.ones(1, len(completion), dtype=torch.bool)
    logp = response_logps(model, ids, None, mask, temperature=temperature)[0]
    return torch.nn.functional.pad(logp, (0, width - len(completion)))
