"""A bare training loop, as a researcher would write it in an afternoon with nothing but PyTorch and transformers.

`trainers.py` starts it as `python bare_loop.py FOLDER rloo|grpo|dpo`.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch
from shape import BETA, GROUP, KL, LR, NEW, PROMPT, ROWS, pairs, prompts, reward
from transformers import AutoTokenizer, LlamaForCausalLM
from worker import Gate


def logps(model, ids):
    """Log-probabilities of the last NEW tokens."""
    logits = model(ids[:, :-1], logits_to_keep=NEW).logits
    return torch.log_softmax(logits, -1).gather(-1, ids[:, -NEW:, None]).squeeze(-1)


def update(model, optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def rl_step(model, reference, optimizer, tokenizer, texts, kl):
    """REINFORCE with a leave-one-out baseline. With a reference, the KL is part of the reward."""
    prompt = torch.tensor(tokenizer([text for text in texts for _ in range(GROUP)])["input_ids"])
    with torch.no_grad():
        ids = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            top_k=0,
            top_p=1.0,
            max_new_tokens=NEW,
            min_new_tokens=NEW,
        )
        score = torch.tensor(reward(tokenizer.batch_decode(ids[:, PROMPT:])))
        ref = logps(reference, ids) if reference is not None else None
    now = logps(model, ids)
    if ref is not None:
        score = score - kl * (now.detach() - ref).sum(-1)
    group = score.view(-1, GROUP)
    advantage = (group - (group.sum(1, keepdim=True) - group) / (GROUP - 1)).flatten()
    update(model, optimizer, -(advantage[:, None] * now).sum(-1).mean())


def dpo_step(model, reference, optimizer, tokenizer, batch):
    """The first half of the batch are chosen completions, the second half rejected ones."""
    texts = [f"{pair['prompt']} {pair[side]} </s>" for side in ("chosen", "rejected") for pair in batch]
    ids = torch.tensor(tokenizer(texts)["input_ids"])
    with torch.no_grad():
        ref = logps(reference, ids).sum(-1)
    chosen, rejected = (logps(model, ids).sum(-1) - ref).chunk(2)
    update(model, optimizer, -torch.nn.functional.logsigmoid(BETA * (chosen - rejected)).mean())


def main(folder: Path, kind: str) -> None:
    gate = Gate()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32) if kind != "grpo" else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, fused=True)
    if kind == "dpo":
        batches = itertools.cycle(batched(pairs(), ROWS // 2))
        gate.serve(lambda: dpo_step(model, reference, optimizer, tokenizer, next(batches)))
    else:
        texts = itertools.cycle(batched(prompts(), ROWS // GROUP))
        gate.serve(lambda: rl_step(model, reference, optimizer, tokenizer, next(texts), KL))


def batched(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
