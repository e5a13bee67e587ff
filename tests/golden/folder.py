"""A folder of golden values: JSON files that contain the inputs and the results. Every number is read from the files.

Sequences are rows [B T], prompt-major; they are reshaped to [P G T] with the group size that the file states.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align_lab.base.contracts import Algorithm
from align_lab.base.types import Batch, LossOutput, PolicyOutput, Rollout


class MissingError(Exception):
    """The folder lacks an input or a case, so there is nothing to compare."""


@functools.cache
def read(path: Path) -> Any:
    if not path.is_file():
        raise MissingError(f"{path.name} is not in {path.parent}")
    return json.loads(path.read_text(encoding="utf-8"))


class Folder:
    def __init__(self, path: Path, k: int | None = None) -> None:
        self.path, self._k = path, k

    def file(self, name: str) -> Any:
        """The content of a file, by its name with or without .json."""
        return read(self.path / f"{name.removesuffix('.json')}.json")

    @property
    def common(self) -> Any:
        return self.file("common_inputs.json")

    def grouped(self, k: int) -> Folder:
        """The same rows in groups of another size."""
        return Folder(self.path, k)

    # ---- rows of the files as tensors ----

    def rows(self, values: list[Any]) -> Tensor:
        """[B ...] -> [P G ...]."""
        rows = torch.tensor(values, dtype=torch.float64)
        return rows.view(-1, self._k or self.common["k"], *rows.shape[1:])

    def __getattr__(self, name: str) -> Tensor:
        """`folder.old_logp`: a per-token or per-sequence input of common_inputs.json."""
        if name.startswith("_") or name not in self.common:
            raise AttributeError(name)
        return self.rows(self.common[name])

    @property
    def mask(self) -> Tensor:
        return self.rows(self.common["mask"]).bool()

    def refer(self, reference: Any) -> Tensor:
        """Rows that an `inputs` block holds, or names: 'token_rewards.json token_reward', 'common_inputs.values'."""
        if isinstance(reference, str):
            name, *keys = re.sub(r"^common_inputs\.(?!json)", "common_inputs.json ", reference).split()
            reference = self.file(name)
            for key in keys:
                reference = reference[key] if key in reference else reference["results"][key]
        return self.rows(reference)

    # ---- the records that algorithms take ----

    def rollout(self, **other: Tensor) -> Rollout:
        known = {
            "mask": self.mask,
            "score": self.score,
            "logp_old": self.old_logp,
            "logp_ref": self.ref_logp,
            "value": self.values,
        }
        return Rollout(**(known | other))

    def batch(self, advantage: Tensor, returns: Tensor | None = None) -> Batch:
        mask = self.mask
        returns = torch.zeros_like(advantage) if returns is None else returns
        return Batch(
            mask=mask,
            logp_old=self.old_logp,
            logp_ref=self.ref_logp,
            advantage=advantage,
            returns=returns,
            value=self.values,
            tokens=float(mask.sum()),
            sequences=float(mask.shape[0] * mask.shape[1]),
        )

    def update(self, algo: Algorithm, batch: Batch, entropy: Tensor | None = None) -> tuple[LossOutput, Tensor]:
        """The loss of the new policy and critic, and its gradient with respect to the new log-probabilities."""
        logp = self.new_logp.requires_grad_()
        now = PolicyOutput(logp=logp, value=self.new_values, entropy=entropy)
        if algo.needs.statistics:
            batch = replace(batch, statistics=algo.statistics(now, batch))
        out = algo.loss(now, batch)
        return out, torch.autograd.grad(out.loss, logp)[0]


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """('results.ppo.loss', value) of everything in a file; a list of dictionaries counts as a dictionary by index."""
    if isinstance(node, list) and node and all(isinstance(item, dict) for item in node):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        yield path, node
        return
    for key, value in node.items():
        yield from leaves(value, f"{path}.{key}" if path else str(key))


NUMBER = r"\d+e_?\d+|\d+(?:[._]\d+)?"  # 0.95, 0_8, 1e_6; 1e8 in a name means 1e-8, and 095 means 0.95


def number(text: str) -> float:
    """A number as the keys of the files write it."""
    if "e" in text:
        mantissa, exponent = re.split("e_?", text)
        return float(f"{mantissa}e-{exponent}")
    if re.fullmatch(r"0\d+", text):
        return float(f"0.{text[1:]}")
    return float(text.replace("_", "."))
