"""Bytes of everything that a training process holds, one formula a function. Pure: nothing is loaded or asked.

D width, V vocabulary, L = S + T columns, H heads and K heads of keys and values of size E, M the MLP's inner layer,
b bytes of a number. The formulas count the tensors that autograd keeps for `models/llama.py` and `models/logp.py`.
"""

from __future__ import annotations

from align_lab.preflight.workload import Load

TILE, KEEP = 1 << 21, 1 << 28  # of models/logp.py: logits of a tile, exponentials that are kept
SHRINK = 1.75  # rows that have ended leave the KV cache by copying the others, at most three quarters of it
PIECES = 1.15  # held for a byte in use, where what is freed lies between what stays
PROGRAM = 0.42 * 2**30  # libraries, data, judges and tokenizer in main memory
JUDGES = 0.05 * 2**30  # reward models on a GPU


def learners(x: Load) -> int:
    """Copies of the policy's shape that learn: the policy, and a critic."""
    return 1 + x.critic


def share(x: Load, stage: int) -> int:
    """Over how many processes ZeRO spreads what its stage `stage` and those above it spread."""
    return x.processes if x.zero_stage >= stage else 1


def weights(x: Load) -> float:
    """N b for policy, critic and reference (with LoRA the reference is the policy, its adapter off): ZeRO-3 spreads what learns."""
    n, extra = x.shape.parameters, x.shape.trainable if x.shape.lora_rank else 0
    reference = x.reference and not x.shape.lora_rank
    return ((n + extra) * learners(x) / share(x, 3) + n * reference) * x.bytes


def gradients(x: Load) -> float:
    """N_trained b a model; in bfloat16 they are added up in float32, 4 bytes. ZeRO-2 spreads them."""
    return learners(x) * x.shape.trainable * max(4, x.bytes) / share(x, 2)


def optimiser(x: Load) -> float:
    """AdamW: two moments, 2 N_trained b; in bfloat16 in float32, with float32 weights: 12 bytes. ZeRO-1 spreads them."""
    if x.offload and x.gpu:
        return 0.0
    each = 12 if x.dtype == "bfloat16" else 2 * x.bytes
    return learners(x) * x.shape.trainable * each / share(x, 1)


def saved(x: Load) -> float:
    """A checkpoint of what ZeRO has spread is put together before it is written: what learns and its two moments, 3 N_trained."""
    return learners(x) * x.shape.trainable * 3 * max(4, x.bytes)


def block(x: Load, length: int) -> float:
    """Bytes that one block keeps of one token.

    Both norms keep input, normalised and scaled state (in bfloat16 the first two in float32); attention the product
    [H+2K]E, the rotated [H+K]E, its output HE and a log-sum H, with padding a mask of L columns, with `eager` 2HL
    probabilities; the MLP gate and up 2M, SiLU and product 2M.
    """
    s, b = x.shape, x.bytes
    norms = 2 * ((3 * s.width + 1) * b if b >= 4 else s.width * (b + 8) + 4)
    attention = (3 * s.heads + 3 * s.kv_heads) * s.size + length * (1 + 2 * s.heads * x.eager)
    return norms + (attention + 4 * s.mlp) * b + 4 * s.heads


def activations(x: Load, rows: int, length: int, *, models: int = 1) -> float:
    """What a forward pass keeps: rows L (layers · block + 3D) b for each of `models`.

    With gradient checkpointing every block keeps its input alone.
    """
    s = x.shape
    kept = s.width * x.bytes if x.checkpointing else block(x, length)
    return rows * length * models * (s.layers * kept + 3 * s.width * max(4, x.bytes))


def working(x: Load, rows: int, length: int) -> float:
    """The block whose backward pass is at work: gradients rows L (4M + 3D) b.

    With gradient checkpointing it is computed again first, while the allocator still holds half of the last in pieces.
    """
    again = 1.5 * block(x, length) if x.checkpointing else 0.0
    return rows * length * (again + (4 * x.shape.mlp + 3 * x.shape.width) * x.bytes)


def pieces(x: Load) -> float:
    """What main memory holds of an update for each byte in use: more where it is cut, or an adapter is added to each product."""
    return PIECES if not x.gpu and (x.shape.lora_rank or x.micro_rows < x.groups * x.group) else 1.0


def logits(x: Load, rows: int, length: int) -> float:
    """N = rows · length tokens: N V b exponentials where these are kept (N V ≤ KEEP), tiles at work, hidden states 3 N D b.

    The head's gradient V D b beside the one that is added up, and the embedding's where the two are one matrix.
    """
    s, n = x.shape, rows * length
    tile = min(n * s.vocab, max(TILE, 64 * n)) * (3 if x.entropy else 2)
    kept = n * s.vocab if n * s.vocab <= KEEP else 0
    head = 0 if s.lora_rank else s.vocab * s.width * (2 if s.tied else 1)
    return (kept + tile + 3 * n * s.width + head) * x.bytes


def cache(x: Load, rows: int) -> float:
    """Keys and values: rows (S+T) layers · 2KE b, and the copy when rows leave."""
    s = x.shape
    return SHRINK * rows * (x.prompt + x.new) * s.layers * 2 * s.kv_heads * s.size * x.bytes


def choosing(x: Load, rows: int) -> float:
    """Logits [rows V] of one column, their exponentials and sums; with a nucleus also sorted, with their order."""
    return rows * x.shape.vocab * (4 * x.bytes + x.nucleus * (3 * x.bytes + 8))


def forward(x: Load, rows: int, length: int) -> float:
    """Without gradient: rows L (9M + 6D) b, one block at work and the pieces of the one before."""
    return rows * length * (9 * x.shape.mlp + 6 * x.shape.width) * x.bytes


def scoring(x: Load, rows: int) -> float:
    """Log-probabilities of completions without gradient: a forward pass, tiles of the head, the states that it reads 2 N D b."""
    return forward(x, rows, x.prompt + x.new) + (3 * TILE + 2 * rows * x.new * x.shape.width) * x.bytes
