"""What reading the prompt of a group once saves: sampling with it and with a prompt for each row, in turn.

    python benchmarks/prefill.py [--rounds 9] [--prompt 8 64 256 --new 40]

Groups of four completions, float32, one thread, no end tokens; medians of CPU seconds. The tokens of both are equal.
"""

from __future__ import annotations

import argparse
import statistics
import time

import shape
import torch

from align_lab.models.llama import Llama, LlamaConfig
from align_lab.rollout.torch_sampler import sample


def seconds(model: Llama, prompts: torch.Tensor, uniforms: torch.Tensor) -> tuple[float, torch.Tensor]:
    """CPU seconds of one batch, and its tokens."""
    began = time.process_time()
    tokens = sample(model, prompts, None, uniforms=uniforms).tokens
    return time.process_time() - began, tokens


def measured(case: str, prompt: int, new: int, rounds: int) -> tuple[float, float]:
    """Median CPU seconds with a prompt for each group, and with one for each row."""
    _, _, rows, sizes = shape.CASES[case]
    torch.manual_seed(0)
    model = Llama(LlamaConfig(**sizes, context=prompt + new))
    prompts, uniforms = torch.randint(sizes["vocab"], (rows // shape.GROUP, prompt)), torch.rand(rows, new)
    repeated = prompts.repeat_interleave(shape.GROUP, 0)
    taken: dict[str, list[float]] = {"group": [], "row": []}
    for number in range(rounds + 1):  # the first round warms up
        group, tokens = seconds(model, prompts, uniforms)
        row, expected = seconds(model, repeated, uniforms)
        assert torch.equal(tokens, expected)
        if number:
            taken["group"].append(group)
            taken["row"].append(row)
    return statistics.median(taken["group"]), statistics.median(taken["row"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--prompt", type=int, nargs="+", default=[8, 64, 256])
    parser.add_argument("--new", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for case in ("2M", "15M"):
        for prompt in options.prompt:
            group, row = measured(case, prompt, options.new, options.rounds)
            print(f"{case} weights, prompts of {prompt} tokens: {group:.3f} s, {row:.3f} s, {row / group:.2f} x")


if __name__ == "__main__":
    main()
