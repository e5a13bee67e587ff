"""The measured peak memory of stages (fine-tuning, reward models) in a fresh process, and the estimates.

python -m tests.preflight.measured_stages fine_tuning|pair_training|pair_model|classifier
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from align_lab.base.task import Example, PreferencePair
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.sft_settings import FineTuning
from align_lab.models.shape import Shape, TrainedBody
from align_lab.models.text import PLAIN, Text
from align_lab.models.tokenizer import train_tokenizer
from align_lab.preflight.fine_tuning import of_shape
from align_lab.preflight.reward_training import of_body
from align_lab.rewards.hf_classifier import HFClassifier
from align_lab.rewards.pair_model import PairModel, PairScorer, Reading, load_scorer, save_scorer
from align_lab.rewards.pair_training import fit
from align_lab.rewards.reward_model import PairReward
from align_lab.run.allocator import suit_tensors
from align_lab.train.sft import train
from tests.preflight.measured_memory import status

MIDDLE = {"layers": 6, "width": 256, "heads": 8, "kv_heads": 4, "mlp": 704, "vocab": 8192, "context": 1024}
SMALL = {"layers": 1, "width": 16, "heads": 2, "kv_heads": 2, "mlp": 16, "vocab": 8192, "context": 1024}
LONGEST, BATCH = 256, 4096
MIB = 2**20


def llama(sizes: dict[str, int]) -> Llama:
    """Random weights."""
    return Llama(LlamaConfig(**sizes))


def fine_tuning(sizes: dict[str, int]) -> float:
    """Four steps on sequences of many lengths; the estimate in MiB."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(LONGEST // 4, LONGEST + 1, (128,), generator=generator).tolist()
    sequences = [torch.randint(1, 8000, (length,), generator=generator).tolist() for length in lengths]
    train(llama(sizes), sequences, FineTuning(epochs=0.5, batch_tokens=BATCH))
    need = of_shape(Shape(**sizes), batch_tokens=BATCH, longest=LONGEST, gpu=False)
    return 1024 * (need.total - need.persistent["libraries and data"])


def texts() -> tuple[list[Example], list[str]]:
    """Completions that fill several batches."""
    return [Example.of_text("a b c")] * 256, ["word " * 60] * 256


def pair_training(sizes: dict[str, int]) -> float:
    """Four steps of a reward model on pairs of many lengths; the estimate in MiB."""
    tokenizer = train_tokenizer(["a b c word"], vocab=300)
    reading = Reading(text=Text(tokenizer=tokenizer, eos=0), form=PLAIN, longest=LONGEST)
    plan = PairReward(batch=8)
    pairs = [
        PreferencePair(example=Example.of_text("a b c"), chosen="word " * (25 + n % 40), rejected="c " * (9 * (n % 9)))
        for n in range(32)
    ]
    answers = [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]
    longest = max(map(len, reading.sequences([pairs[0].example] * len(answers), answers)))
    fit(PairModel(llama(sizes)), pairs, plan, reading)
    body = TrainedBody(shape=Shape(**sizes), batch=plan.batch, rows=2, longest=longest)
    need = of_body(body, gpu=False)
    return 1024 * (need.total - need.persistent["libraries and data"])


def pair_model(sizes: dict[str, int]) -> float:
    """A reward model that `reward=reward_model` has trained scores completions; the estimate in MiB."""
    tokenizer = train_tokenizer(["a b c word"], vocab=300)
    reading = Reading(text=Text(tokenizer=tokenizer, eos=0), form=PLAIN, longest=256)
    with tempfile.TemporaryDirectory() as folder:
        save_scorer(PairScorer(PairModel(llama(sizes)), reading), Path(folder))
        gc.collect()
        reset()
        load_scorer(Path(folder)).score(*texts())
    need = PairReward().memory({"name": "tiny", **sizes})
    return (need.weights + need.forward) / MIB


def classifier(sizes: dict[str, int]) -> float:
    """A sequence classifier of transformers scores completions; the estimate in MiB."""
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        config = transformers.LlamaConfig(
            vocab_size=sizes["vocab"], hidden_size=sizes["width"], intermediate_size=sizes["mlp"], num_labels=1,
            num_hidden_layers=sizes["layers"], num_attention_heads=sizes["heads"], tie_word_embeddings=True,
            num_key_value_heads=sizes["kv_heads"], max_position_embeddings=sizes["context"],
        )  # fmt: skip
        transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
        Text(tokenizer=train_tokenizer(["a b c word"], vocab=300), eos=0).save(Path(folder))
        reward = HFClassifier(path=folder)
        need = reward.memory({})
        gc.collect()
        reset()
        reward.load(None).score(*texts())
    return (need.weights + need.forward) / MIB


BEFORE = [0.0]


def reset() -> None:
    """Measure from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    BEFORE[0] = status("VmRSS")


def measure(run: Callable[[dict[str, int]], float]) -> dict[str, float]:
    """The peak above what the process held before, and the estimate, in MiB."""
    suit_tensors()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    run(SMALL)  # libraries allocate memory when they are first used
    gc.collect()
    reset()
    estimate = run(MIDDLE)
    return {"peak_mib": status("VmHWM") - BEFORE[0], "estimate_mib": estimate}


if __name__ == "__main__":
    from align_lab.base import registry

    registry.scan()
    cases = (fine_tuning, pair_training, pair_model, classifier)
    print(json.dumps(measure({case.__name__: case for case in cases}[sys.argv[1]])))
