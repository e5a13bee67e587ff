"""Launches and waits of a token, a batch of prompts, a micro-batch, a completion and an evaluated row, by file, counted
on a pretended GPU.

    python -m tests.cuda.budgets --write    # lower the table where the code has become better

`budgets.json` holds what each file may cost. A budget only goes down: what must cost more is written there by hand.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch

from align_lab import equations as eq
from align_lab.rollout import replay
from align_lab.rollout.sampler import Samples
from align_lab.rollout.torch_sampler import sample
from tests.cuda.pretended import Machine, pretended_cuda
from tests.train import small

TABLE = Path(__file__).with_name("budgets.json")
Lines = Counter[str]  # "FILE:LINE" -> count
Costs = dict[str, Lines]  # "launches" and "syncs"
Table = Mapping[str, Mapping[str, Mapping[str, float]]]  # unit -> kind -> file -> count


@contextmanager
def gpu() -> Iterator[Machine]:
    """A pretended GPU on which tensors are created."""
    with pretended_cuda() as machine:
        torch.set_default_device("cuda")
        yield machine


def more(machine: Machine, work: Callable[[int], object], few: int, many: int) -> Costs:
    """What each of the units costs that `work(many)` does beyond `work(few)`, so that what is done once drops out."""
    costs: list[Costs] = []
    for units in (few, many):
        machine.counts.clear()
        work(units)
        costs.append({"launches": machine.counts.launches.copy(), "syncs": machine.counts.syncs.copy()})
    for kind, lines in costs[1].items():
        lines.subtract(costs[0][kind])
    return {
        kind: Counter({line: count / (many - few) for line, count in lines.items() if count})
        for kind, lines in costs[1].items()
    }


def of_token(*, top_p: float = 1.0) -> Costs:
    """One column of a batch whose rows do not end, and which is too short for its kernels to be recorded."""
    with gpu() as machine:
        model, ids = small.model(dtype=torch.bfloat16), torch.ones(4, 3, dtype=torch.long)
        pad = torch.tensor([0, 1, 0, 2])
        return more(machine, lambda T: sample(model, ids, pad, uniforms=torch.rand(4, T), top_p=top_p), 4, 20)


def of_recorded_token() -> Costs:
    """The same of a longer batch, whose kernels are recorded once and launched together."""
    with patch.object(replay, "WORTH", 4):
        return of_token()


def of_prompts() -> Costs:
    """A batch of prompts and the first token of four completions of each."""

    def first_tokens(batches: int) -> None:
        for _ in range(batches):
            sample(model, ids, pad, uniforms=torch.rand(16, 1))

    with gpu() as machine:
        model, ids = small.model(dtype=torch.bfloat16), torch.ones(4, 3, dtype=torch.long)
        pad = torch.tensor([0, 1, 0, 2])
        return more(machine, first_tokens, 1, 2)


def of_micro_batch(name: str, *, packing: str = "off") -> Costs:
    """One micro-batch of an update, of 16 completions in two or in four of them."""

    def steps(count: int) -> None:
        loop = small.loop(small.algorithm(name), dtype=torch.bfloat16, micro_batch=16 // count)
        loop.learner.policy.packing = packing
        loop.evaluate_every, loop.save_every = 100, 100
        loop.advance()

    with gpu() as machine:
        return more(machine, steps, 2, 4)


def of_update(name: str) -> Costs:
    """What the engine does in an update of one micro-batch."""

    def steps(count: int) -> None:
        loop = small.loop(small.algorithm(name), dtype=torch.bfloat16, minibatches=count)
        loop.evaluate_every, loop.save_every = 100, 100
        loop.advance()

    with gpu() as machine:
        costs = more(machine, steps, 1, 2)
    return {
        kind: Counter({line: count for line, count in lines.items() if line.startswith("train/engines")})
        for kind, lines in costs.items()
    }


def of_returns() -> Costs:
    """Generalized advantage estimation of one column more, of twice 256."""
    reward, mask = torch.rand(4, 512), torch.ones(4, 512, dtype=torch.bool)
    with gpu() as machine:
        there, kept = reward.to("cuda"), mask.to("cuda")
        return more(machine, lambda T: eq.gae(there[:, :T], there[:, :T], kept[:, :T], gamma=0.99, lam=0.95), 256, 512)


def of_completion() -> Costs:
    """The text of one completion."""
    with gpu() as machine:
        prompts = small.loop(small.algorithm("rloo")).source.prompts

        def texts(rows: int) -> None:
            mask = torch.ones(rows, 4, dtype=torch.bool)
            tokens = torch.ones(rows, 4, dtype=torch.long)
            prompts.completions(Samples(tokens=tokens, mask=mask, logp=mask.float(), ended=mask[:, 0]))

        return more(machine, texts, 2, 6)


def of_evaluated_row() -> Costs:
    """What `train/evaluate.py` itself does for one more prompt."""
    with gpu() as machine:
        loop = small.loop(small.algorithm("rloo"))

        def evaluate(prompts: int) -> None:
            replace(loop.evaluate, plan=replace(loop.evaluate.plan, prompts=prompts))(loop.learner, step=0)

        costs = more(machine, evaluate, 4, 8)
    own = ("train/evaluate.py", "rollout/prompts.py")
    return {
        kind: Counter({line: count for line, count in lines.items() if line.startswith(own)})
        for kind, lines in costs.items()
    }


UNITS: dict[str, Callable[[], Costs]] = {
    "token": of_token,
    "recorded token": of_recorded_token,
    "token with top_p": lambda: of_token(top_p=0.9),
    "prompts of groups": of_prompts,
    "micro-batch of rloo": lambda: of_micro_batch("rloo"),
    "packed micro-batch of rloo": lambda: of_micro_batch("rloo", packing="auto"),
    "micro-batch of ppo": lambda: of_micro_batch("ppo"),
    "update of grpo": lambda: of_update("grpo"),
    "column of returns": of_returns,
    "completion": of_completion,
    "evaluated row": of_evaluated_row,
}


def by_file(lines: Mapping[str, float]) -> dict[str, float]:
    """The counts of the files; those that are 0 are left out."""
    files = Counter[str]()
    for line, count in lines.items():
        files[line.partition(":")[0]] += count
    return {file: round(count, 2) for file, count in sorted(files.items()) if round(count, 2)}


def problems(unit: str, costs: Costs, table: Table) -> list[str]:
    """One sentence for each file that costs more than its budget, which names its lines, or less."""
    messages: list[str] = []
    for kind, lines in costs.items():
        found, allowed = by_file(lines), table[unit][kind]
        for file in sorted(found.keys() | allowed.keys()):
            count, budget = found.get(file, 0.0), allowed.get(file, 0.0)
            if count > budget:
                most = sorted(((n, line) for line, n in lines.items() if line.startswith(f"{file}:")), reverse=True)
                where = ", ".join(f"{line} ({n:g})" for n, line in most)
                messages.append(f"{unit}: {count:g} {kind} in {file}, its budget is {budget:g}: {where}")
            if count < budget:
                messages.append(f"{unit}: {count:g} {kind} in {file} are fewer than {budget:g}: lower the table")
    return messages


def read() -> Table:
    """The table."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def write() -> None:
    """Lower the table to what is counted now."""
    known = read() if TABLE.exists() else {}
    table = {}
    for unit, count in UNITS.items():
        now = {kind: by_file(lines) for kind, lines in count().items()}
        before = known.get(unit, now)
        table[unit] = {
            kind: {file: min(n, before[kind].get(file, 0.0)) for file, n in files.items() if file in before[kind]}
            for kind, files in now.items()
        }
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    for of_unit, kinds in read().items():
        print(f"{of_unit:<20}", *(f"{sum(files.values()):g} {kind}" for kind, files in kinds.items()))
