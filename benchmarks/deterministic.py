"""Does the same command give the same bits twice? Two runs, each in a process of its own; their records are compared.

    python -m benchmarks.deterministic hardware=gpu algo=rloo model=smollm2_135m train.steps=3

`hardware.numerics.deterministic=true` is set. Exit status: 0 where all rows, completions and weights are equal, 1 where
two differ, which is then named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from align_lab.train.checkpoint import Checkpoints
from align_lab.train.shards import plain


def main(overrides: Sequence[str]) -> int:
    """Train twice, compare, and print what was found."""
    with TemporaryDirectory(prefix="align_lab-") as folder:
        runs = [train(Path(folder) / number, overrides) for number in ("first", "second")]
        difference = first_difference(*runs)
    print(difference or "both runs are equal, to the last bit")
    return 1 if difference else 0


def train(place: Path, overrides: Sequence[str]) -> Path:
    """The folder of a new run. Raises CalledProcessError if it fails."""
    place.mkdir()
    code = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    words = ["study=twice", "hardware.numerics.deterministic=true", *overrides]
    command = [sys.executable, "-m", "align_lab", *words]
    subprocess.run(command, cwd=place, env={**os.environ, "PYTHONPATH": code}, check=True)
    (run,) = [path for path in (place / "runs" / "twice").iterdir() if path.is_dir() and path.name[0] != "."]
    return run


def first_difference(a: Path, b: Path) -> str:
    """A sentence about the first difference of two runs; empty where there is none."""
    for name in ("metrics.jsonl", "samples.jsonl"):
        pairs = zip(_rows(a / name), _rows(b / name), strict=False)
        for number, (one, other) in enumerate(pairs):
            if keys := sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)):
                return f"{name}, row {number}, {keys[0]}: {one.get(keys[0])} and {other.get(keys[0])}"
        if len(_rows(a / name)) != len(_rows(b / name)):
            return f"{name}: {len(_rows(a / name))} and {len(_rows(b / name))} rows"
    return _differing_weights(_weights(a), _weights(b))


def _rows(file: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]


def _weights(run: Path) -> dict[str, torch.Tensor]:
    """The policy's weights in the newest checkpoint, also of several processes, each of which wrote a part."""
    checkpoints = Checkpoints(run / "checkpoints")
    return plain(checkpoints.read(checkpoints.steps()[-1])["learner"]["policy"]["model"])


def _differing_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> str:
    differing = [name for name in a if name not in b or not torch.equal(a[name], b[name])]
    return f"the weights {differing[0]} and {len(differing) - 1} others" if differing or a.keys() != b.keys() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
