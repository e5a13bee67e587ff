"""Is what the pretended GPU shows true on a real one? Numbers, launches, kernels, memory, equal bits and vLLM's sleep.

    python -m benchmarks.gpu                        # on a machine with a CUDA device; minutes, nothing is downloaded
    python -m benchmarks.gpu numbers launches       # some of the cases
    python -m benchmarks.gpu --write docs/gpu.md    # the table, as Markdown
    python -m benchmarks.gpu --pretended            # the cases that a pretended GPU can answer, on a processor

Each line is a measured value beside what it may be. Exit status: 0 where all lines hold, 1 where one does not, 2
without a CUDA device.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from align_lab.base import registry
from align_lab.base.hardware import Numerics
from align_lab.models.llama import Llama
from align_lab.models.llama_config import LlamaConfig
from align_lab.models.precision import convert
from align_lab.rollout.torch_sampler import sample
from align_lab.run import device
from align_lab.testing.random_experience import evaluate, experience
from benchmarks import deterministic
from tests.cuda import budgets
from tests.cuda.pretended import pretended_cuda

ROOT = Path(__file__).parents[1]
RUN = ("hardware=gpu", "data=reasoning", "reward=verifier", "train.steps=3", "record.progress=false")
SIZES: dict[str, Any] = {
    "vocab": 4096,
    "width": 128,
    "layers": 8,
    "heads": 8,
    "kv_heads": 4,
    "mlp": 384,
    "context": 128,
}
SHARP = 4  # weights are so much larger than at the start of training: logits as far apart as those of a trained model


@dataclass(frozen=True)
class Line:
    """One measured value, and whether it is what it may be."""

    what: str
    found: str
    allowed: str
    holds: bool


def bounded(what: str, value: float | Tensor, most: float) -> Line:
    """A value that may not be larger."""
    return Line(what, f"{float(value):.3g}", f"at most {most:g}", float(value) <= most)


# Numbers


def of_equations() -> Iterator[Line]:
    """Advantages, loss and gradients of every algorithm in float64: on the device, and on the processor."""
    worst = dict[str, float]()
    for name in registry.names("algo"):
        algorithm = registry.build("algo", {"name": name})
        with torch.device("cpu"):
            here = experience(0, P=4, G=2, T=12)
            expected = evaluate(algorithm, here)
        there = evaluate(algorithm, {key: value.cuda() for key, value in here.items()})
        for mine, exact in zip((there.loss, *there.grads), (expected.loss, *expected.grads), strict=True):
            worst[name] = max(worst.get(name, 0.0), float((mine.cpu() - exact).abs().max() / (1 + exact.abs().max())))
    name, error = max(worst.items(), key=lambda one: one[1])
    yield bounded(f"losses and gradients of {len(worst)} algorithms in float64, the worst ({name})", error, 1e-9)


def models() -> tuple[Llama, Llama]:
    """A model in bfloat16 and the one in float32 with its weights, both on the processor."""
    with torch.device("cpu"):
        torch.manual_seed(0)
        narrow = Llama(LlamaConfig(**SIZES))
        with torch.no_grad():
            for weight in narrow.parameters():
                weight.mul_(SHARP if weight.ndim > 1 else 1)
        convert(narrow, torch.bfloat16)
        wide = copy.deepcopy(narrow)
        convert(wide, torch.float32)
    return narrow, wide


def logps(model: Llama, ids: Tensor) -> Tensor:
    """[B T], in main memory."""
    ids = ids.to(model.head.device)
    with torch.no_grad():
        return model(ids, None, torch.ones_like(ids[:, 16:], dtype=torch.bool), temperature=1.0).cpu()


def of_numbers() -> Iterator[Line]:
    """Log-probabilities and samples of one model on the device, beside those in float32 on the processor."""
    narrow, wide = models()
    ids = torch.randint(SIZES["vocab"], (8, 48), generator=torch.Generator().manual_seed(1), device="cpu")
    exact = logps(wide, ids)
    uniforms = torch.rand(8, 16, generator=torch.Generator().manual_seed(2), device="cpu")
    expected = sample(wide, ids[:, :16], None, uniforms=uniforms).tokens
    wide = wide.cuda()
    yield bounded("log p in float32, largest |Δ| from the processor", (logps(wide, ids) - exact).abs().max(), 1e-3)
    tokens = sample(wide, ids[:, :16].cuda(), None, uniforms=uniforms.cuda()).tokens.cpu()
    unequal = (tokens != expected).any(1).float().mean()
    yield bounded("share of sampled rows in float32 that differ from the processor's", unequal, 0.25)
    error = logps(narrow.cuda(), ids) - exact
    yield bounded("log p in bfloat16, mean |Δ| from float32 on the processor", error.abs().mean(), 0.05)
    yield bounded("log p in bfloat16, |mean Δ|", error.mean().abs(), 0.003)


# Launches and kernels


class Profiled:
    """Launches and waits since `clear`, as `tests.cuda.budgets` has them of the pretended GPU, but not by line."""

    def clear(self) -> None:
        """Begin anew."""
        torch.cuda.synchronize()
        self._profile = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
        self._profile.start()
        self._counts: Counter[str] | None = None

    def _sum(self, *names: str) -> Counter[str]:
        if self._counts is None:
            torch.cuda.synchronize()
            self._profile.stop()
            self._counts = Counter({event.key: event.count for event in self._profile.key_averages()})
        return Counter({"all": float(sum(n for key, n in self._counts.items() if key.startswith(names)))})

    @property
    def launches(self) -> Counter[str]:
        """Of kernels, and of graphs of kernels."""
        return self._sum("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")

    @property
    def syncs(self) -> Counter[str]:
        """Waits for the device."""
        return self._sum("cudaStreamSynchronize", "cudaEventSynchronize")


@contextmanager
def profiled() -> Iterator[Any]:
    """In place of the pretended GPU of `tests.cuda.budgets`."""
    torch.set_default_device("cuda")
    yield SimpleNamespace(counts=Profiled())


def of_launches() -> Iterator[Line]:
    """Launches and waits of each unit of work, beside the budget of the pretended GPU."""
    table = budgets.read()
    for unit, count in budgets.UNITS.items():
        for kind, lines in count().items():
            allowed = sum(table[unit][kind].values())
            # cuBLAS may split a product over two kernels, and a library counts its own
            yield bounded(f"{unit}, {kind}", sum(lines.values()), 1.25 * allowed + 1)


def of_kernels() -> Iterator[Line]:
    """The attention kernel of a batch in bfloat16, with and without padding."""
    device.use(Numerics(device="cuda", dtype="bfloat16"))
    model = models()[0].cuda()
    for what, pad in {"equal rows": None, "padded rows": torch.arange(8)}.items():
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            with torch.no_grad():
                model.hidden(torch.ones(8, 64, dtype=torch.long), pad)
            torch.cuda.synchronize()
        names = " ".join(event.key.lower() for event in seen.key_averages())
        kernel = next((name for name in ("flash", "fmha", "cudnn") if name in names), "none that is fused")
        yield Line(f"attention of {what}", kernel, "flash or fmha", kernel in ("flash", "fmha"))


# Whole runs


def run(place: Path, *words: str) -> dict[str, Any]:
    """The manifest of a new run. Raises CalledProcessError if it fails."""
    code = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "align_lab", *RUN, "study=gpu", *words]
    subprocess.run(command, cwd=place, env={**os.environ, "PYTHONPATH": code}, check=True, stdout=sys.stderr)
    (path,) = [path for path in (place / "runs" / "gpu").iterdir() if path.is_dir() and path.name[0] != "."]
    return json.loads((path / "manifest.json").read_text(encoding="utf-8"))


def of_memory() -> Iterator[Line]:
    """Peak bytes of runs on the device, beside the preflight's estimate."""
    for words in (("algo=rloo",), ("algo=ppo",), ("algo=ppo", "hardware.numerics.gradient_checkpointing=true")):
        with TemporaryDirectory(prefix="align_lab-") as folder:
            memory = run(Path(folder), *words)["memory"]
        found, estimate = memory["peak_gib"], memory["estimate_gib"]
        holds = found <= 1.1 * estimate
        yield Line(f"peak GiB of {' '.join(words)}", f"{found:.2f}", f"at most 1.1 x {estimate:.2f}", holds)


def of_bits() -> Iterator[Line]:
    """Two runs with hardware.numerics.deterministic=true."""
    for algo in ("rloo", "ppo"):
        with TemporaryDirectory(prefix="align_lab-") as folder:
            runs = [deterministic.train(Path(folder) / name, [*RUN, f"algo={algo}"]) for name in ("one", "two")]
            difference = deterministic.first_difference(*runs)
        yield Line(f"two deterministic runs of {algo}", difference or "equal", "equal", not difference)


def of_vllm() -> Iterator[Line]:
    """A run whose completions vLLM samples on the trainer's GPU: it sleeps, wakes and gets new weights at each step."""
    if importlib.util.find_spec("vllm") is None:
        yield Line("vLLM on the trainer's GPU", "not installed", 'pip install "align_lab[vllm]"', False)
        return
    with TemporaryDirectory(prefix="align_lab-") as folder:
        run(Path(folder), "algo=rloo", "hardware.numerics.sampler=vllm")
    yield Line("vLLM on the trainer's GPU, three steps", "trained", "trained", True)


CASES: dict[str, Callable[[], Iterator[Line]]] = {
    "equations": of_equations,
    "numbers": of_numbers,
    "launches": of_launches,
    "kernels": of_kernels,
    "memory": of_memory,
    "bits": of_bits,
    "vllm": of_vllm,
}
PRETENDED = ("equations", "numbers", "launches")  # the others need what a pretended device has not


def answers(name: str, *, pretended: bool) -> Iterator[Line]:
    """The lines of a case. One that fails is a line that does not hold."""
    try:
        with _place(name, pretended=pretended):
            yield from CASES[name]()
    except Exception as error:
        text = (str(error).splitlines() or [""])[0][:160]
        yield Line(f"the case {name}", f"{type(error).__name__}: {text}", "an answer", False)
    finally:
        torch.set_default_device("cpu")


@contextmanager
def _place(name: str, *, pretended: bool) -> Iterator[None]:
    """Where a case is computed. The budgets have a pretended GPU of their own for every unit of work."""
    gpu = patch.object(budgets, "gpu", budgets.gpu if pretended else profiled)
    around = pretended_cuda() if pretended and name != "launches" else nullcontext()
    with gpu, around:
        if name != "launches":
            torch.set_default_device("cuda")
        yield


def table(lines: Sequence[tuple[str, Line]], *, machine: str) -> str:
    """Markdown."""
    head = ["| case | what | found | allowed | |", "|---|---|---|---|---|"]
    rows = [
        f"| {name} | {x.what} | {x.found} | {x.allowed} | {'holds' if x.holds else '**no**'} |" for name, x in lines
    ]
    return "\n".join([f"On {machine}, torch {torch.__version__}:", "", *head, *rows, ""])


def main(arguments: Sequence[str]) -> int:
    """Print every line as it is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--pretended", action="store_true", help=f"on a pretended GPU: {', '.join(PRETENDED)}")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table")
    options = parser.parse_args(arguments)
    possible = PRETENDED if options.pretended else tuple(CASES)
    if unknown := [name for name in options.cases if name not in possible]:
        parser.error(f"no such case: {', '.join(unknown)} (allowed: {', '.join(possible)})")
    if not options.pretended and not torch.cuda.is_available():
        print("torch finds no CUDA device on this machine. --pretended answers some cases without.", file=sys.stderr)
        return 2
    registry.scan()
    found: list[tuple[str, Line]] = []
    for name in options.cases or possible:
        for line in answers(name, pretended=options.pretended):
            found.append((name, line))
            print(f"{'ok' if line.holds else 'NO':<3} {name}: {line.what}: {line.found} ({line.allowed})", flush=True)
    if options.write is not None:
        machine = "a pretended GPU" if options.pretended else torch.cuda.get_device_name()
        options.write.write_text(table(found, machine=machine), encoding="utf-8")
    return 0 if all(line.holds for _, line in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
