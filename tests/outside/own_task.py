"""A practitioner's folder: prompts, preference pairs, a reward function and a local model. No other Python, no yaml."""

import json

from tests.models.test_hf import folder as hugging_face_model

REWARD = """
def reward(prompts, completions, letter, **columns):
    return [float(text.lower().count(one)) - 0.01 * len(text) for text, one in zip(completions, letter)]
"""
STUDY = [
    *("data=files", "data.prompts=prompts.jsonl", "data.preferences=pairs.jsonl"),
    *("reward=python", "reward.file=my_reward.py", "model=hf", "model.path=my_model"),
    *("algo=rloo,reinforce_pp,dpo", "seed=1,2", "preferences.source=data"),
    *("train.steps=2", "train.prompts_per_step=4", "train.lr=0.01", "sampling.max_new_tokens=8"),
    *("evaluation.prompts=6", "evaluation.every=2"),
]
ARMS = {"rloo": 2, "reinforce_pp": 2, "dpo": 2}


def write(folder):
    """Everything that the study needs, in `folder`."""
    letters = "abcdefghij"
    prompts = [
        {"prompt": f"Say something with {letters[i % 10]}, number {i}.", "letter": letters[i % 10]} for i in range(40)
    ]
    pairs = [
        {"prompt": f"Give me {letter}, please, {i}.", "chosen": 3 * letter, "rejected": "none"}
        for i, letter in enumerate(2 * letters)
    ]
    for name, rows in {"prompts": prompts, "pairs": pairs}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "my_reward.py").write_text(REWARD)
    hugging_face_model(folder / "my_model", "llama")
