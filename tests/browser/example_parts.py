"""The parts of the example that are written down, not computed: arms, settings, completions."""

from __future__ import annotations

from typing import Any

from align_lab.compare.labels import usual
from tests.compare.folders import LABELS

HOSTILE = "<script>alert(1)</script> & <img src=x onerror=alert(2)> | `code` *bold* _it_ "
HOSTILE += "[a](javascript:alert(3))\n# head\n| a | b |"
SEEDS = [0, 1, 2, 3, 4]

# gold gain, proxy gain, KL at the end, tokens an episode, seconds a step, seeds that finished; best first
ARMS: dict[str, tuple[float, float, float, float, float, list[int]]] = {
    "ppo_max": (0.93, 1.02, 9.0, 24, 3.1, [0, 1, 2, 3]),
    "reinforce_pp": (0.84, 0.95, 7.5, 23, 1.3, SEEDS),
    "ppo": (0.74, 0.90, 8.5, 25, 2.7, SEEDS),
    "rloo": (0.40, 1.55, 42.0, 37, 1.2, SEEDS),
    "dpo": (0.36, 0.47, 5.0, 22, 0.9, [0, 1, 2, 4]),
}

TITLES = {"ppo_max": "PPO-max", "reinforce_pp": "REINFORCE++", "ppo": "PPO", "rloo": "RLOO", "dpo": "DPO"}

LEFT_OUT: dict[str, Any] = {
    "unfinished": [
        {"name": "ppo_max-tiny-s4-1f", "arm": "ppo_max", "seed": 4, "state": "failed",
            "why": "the loss is not finite", "used": ""},
        {"name": "dpo-tiny-s3-2e", "arm": "dpo", "seed": 3, "state": "running", "why": "running at step 40 of 100",
            "used": ""},
    ],
    "missing": [{"arm": "ppo_max", "seeds": [4]}, {"arm": "dpo", "seeds": [3]}],
    "foreign": None,
    "notes": [
        "rloo is over-optimized: its gold score peaks at step 40 and falls while the proxy score rises.",
        "At equal device-seconds reinforce_pp is ahead of ppo_max.",
        "ppo_max and dpo have 4 seeds, the other arms 5.",
    ],
}  # fmt: skip


def metrics() -> dict[str, dict[str, str]]:
    """How the metrics are called, as runs on movie reviews say."""
    quality = {"eval/gold_score": "right on 72 % of held-out pairs"}
    recorded = {name: {**label, "judge": quality.get(name, "")} for name, label in LABELS.items()}
    return {**recorded, **{name: usual(name) for name in ("eval/kl", "eval/length", "eval/entropy", "eval/distinct_2")}}


def comparability() -> dict[str, Any]:
    equal = [
        "data.name", "data.prompts", "eval.prompts", "model.name", "reward.name", "sampling.max_new_tokens",
        "sampling.temperature", "sampling.top_p", "hash: code", "hash: evaluation prompts",
        "hash: prompts and their order",
        "hash: reward model", "hash: start weights", "hash: tokenizer",
    ]  # fmt: skip
    return {
        "fair": True,
        "equal": [{"field": field, "value": f"{index * 7919:08x}"} for index, field in enumerate(equal, 1)],
        "differing": [],
        "recipes": [
            {"field": "algo.kl_coef", "values": dict(zip(ARMS, [0.05, 0.05, 0.05, 0.0, "not applicable"],
                strict=True))},
            {"field": "train.group_size", "values": dict(zip(ARMS, [1, 1, 1, 4, 2], strict=True))},
            {"field": "train.lr", "values": dict(zip(ARMS, [3e-4, 3e-4, 3e-4, 3e-4, 1e-4], strict=True))},
        ],
        "budgets": [{"field": "train.steps", "values": dict.fromkeys(ARMS, 100)}],
        "charged": [
            {"arm": arm, "episodes": 6400, "tokens": 6400 * row[3], "labels": 6400, "device_seconds": 100 * row[4],
             "flops": 6400 * row[3] * 1.7e7, "peak_memory_gib": 0.8 + row[4] / 10}
            for arm, row in ARMS.items()
        ],
    }  # fmt: skip


def samples() -> list[dict[str, Any]]:
    texts = [
        "a warm and funny film that earns its ending .",
        HOSTILE,
        "great great great great great " * 12,
        "dull .",
        "line one\n\nline three \x1b[31m \u202egnp",
    ]
    return [
        {
            "index": index,
            "prompt": prompt,
            "start": f"before training {index}", "start_decides": -0.25, "start_score": 0.125,
            "completions": [
                {"arm": arm, "seed": 0, "completion": texts[(index + k) % len(texts)], "decides": 0.9 - 0.2 * k,
                    "score": 1.1 - 0.1 * k, "ended": k != 2}
                for k, arm in enumerate(ARMS)
            ],
        }
        for index, prompt in enumerate(["the film is", "an <b>odd</b> | little `movie` that",
            "I went in expecting " + "very " * 40 + "little"])
    ]  # fmt: skip
