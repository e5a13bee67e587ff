"""The terms of the memory estimate in bytes, one pure formula per function.

D width, V vocabulary, L = S + T columns, H heads and K heads of keys and values of size E, M the MLP's hidden size,
b bytes per number. The formulas count the tensors that autograd saves in `models/llama.py` and `models/logp.py`.
"""

from __future__ import annotations

from align_lab.preflight.workload import Workload

TILE, TILE_ON_GPU, MAX_SAVED = 1 << 21, 1 << 27, 1 << 28  # of models/logp.py: logits of a tile, saved exponentials
BUCKET = 500_000_000  # of train/engines/deepspeed_engine.py, as the next ones: numbers in one reduction of gradients
LIVE, FETCHED = 1_000_000_000, 50_000_000  # numbers that ZeRO 3 keeps gathered, and that it fetches in advance
COMPACTION, COMPACTION_ON_GPU = 1.75, 1.5  # rows that are left leave a cache by a copy, of 3/4 or 1/2 of it at most
FRAGMENTATION = 1.15  # bytes allocated per byte in use, if freed blocks lie between blocks in use
LIBRARIES = 0.42 * 2**30  # libraries, data, judges and tokenizer in main memory
JUDGES = 0.05 * 2**30  # small reward models of a task on a GPU


def trained_models(x: Workload) -> int:
    """The number of trained models of the policy's shape: the policy, and the critic if there is one."""
    return 1 + x.critic


def shards(x: Workload, stage: int) -> int:
    """The number of shards of what ZeRO shards from `stage` on: 1 below this stage."""
    return x.processes if x.zero_stage >= stage else 1


def weights(x: Workload) -> float:
    """N b for policy, critic and reference; FSDP and ZeRO-3 shard them.

    With LoRA the reference is the policy with its adapters disabled and needs no memory. FSDP's trained weights are
    float32.
    """
    n, extra = x.shape.parameters, x.shape.trainable if x.shape.lora_rank else 0
    wider = x.shape.trainable * (max(4, x.bytes) - x.bytes) if x.fsdp else 0
    own = ((n + extra) * x.bytes + wider) * trained_models(x) / shards(x, 3)
    return own + (start_policy(x) if x.reference else 0.0)


def start_policy(x: Workload) -> float:
    """N b of the start policy, which FSDP and ZeRO-3 shard; nothing with adapters, which are disabled for it."""
    return 0.0 if x.shape.lora_rank else x.shape.parameters * x.bytes / (x.processes if x.shards_weights else 1)


def gradients(x: Workload) -> float:
    """N_trained b per model; for bfloat16 weights they are accumulated in float32, 4 bytes. ZeRO-2 shards them. ZeRO-3,
    and ZeRO-1 in float32, keep the buffer in which they collect them."""
    own = trained_models(x) * x.shape.trainable * max(4, x.bytes) / shards(x, 2)
    return own + (bucket(x, x.bytes) if x.zero_stage == 3 or (x.zero_stage == 1 and x.bytes >= 4) else 0.0)


def bucket(x: Workload, each: int) -> float:
    """The buffer in which ZeRO collects gradients before it sends them, with so many bytes a number."""
    return trained_models(x) * min(BUCKET, x.shape.trainable) * each if x.zero_stage and not x.fsdp else 0.0


def collected(x: Workload) -> float:
    """ZeRO-2's buffer, while a backward pass fills it."""
    return bucket(x, x.bytes) if x.zero_stage == 2 else 0.0


def sent(x: Workload) -> float:
    """What is added while gradients are sent: with ZeRO-3 a copy of the buffer, with ZeRO-2 the buffer too, and with
    ZeRO-1 in bfloat16, which has no buffer, two copies in float32."""
    if x.zero_stage == 1:
        return 0.0 if x.bytes >= 4 else bucket(x, 2 * 4)
    return bucket(x, x.bytes) * (2 if x.zero_stage == 2 else 1)


def optimizer(x: Workload) -> float:
    """AdamW's two moments, 2 N_trained b; for bfloat16 float32 weights and moments, 12 bytes. ZeRO-1 shards them.

    FSDP has no other weights than those float32 ones; ZeRO has others in float32 too.
    """
    if x.offload and x.gpu:
        return 0.0
    each = 12 if not x.fsdp and (x.dtype == "bfloat16" or x.zero_stage) else 2 * max(4, x.bytes)
    return trained_models(x) * x.shape.trainable * each / shards(x, 1)


def checkpoint(x: Workload) -> float:
    """This process's part of a checkpoint of sharded state: trained weights and two moments, 3 N_trained."""
    return trained_models(x) * x.shape.trainable * 3 * max(4, x.bytes) / x.processes


def block(x: Workload, length: int) -> float:
    """Bytes that autograd saves in one block per token.

    Both norms save input, normalized and scaled state (in bfloat16 the first two in float32); attention saves the
    product [H+2K]E, the rotated [H+K]E, its output HE and a log-sum H, with padding a mask of L columns, with `eager`
    2HL probabilities; the MLP saves gate and up 2M, SiLU and product 2M.
    """
    s, b = x.shape, x.bytes
    norms = 2 * ((3 * s.width + 1) * b if b >= 4 else s.width * (b + 8) + 4)
    attention = (3 * s.heads + 3 * s.kv_heads) * s.size + length * (1 + 2 * s.heads * x.eager)
    return norms + (attention + 4 * s.mlp) * b + 4 * s.heads


def activations(x: Workload, rows: int, length: int, *, models: int = 1) -> float:
    """Activations saved in a forward pass: rows L (layers · block + 3D) b for each of `models`.

    With gradient checkpointing every block saves only its input.
    """
    s = x.shape
    per_block = s.width * x.bytes if x.checkpointing else block(x, length)
    return rows * length * models * (s.layers * per_block + 3 * s.width * max(4, x.bytes))


def backward(x: Workload, rows: int, length: int) -> float:
    """The backward pass of one block: gradients rows L (4M + 3D) b, on a GPU, which frees them one by one, (3M + 3D) b.

    With gradient checkpointing its activations are recomputed, while the allocator still holds the previous block's
    memory as fragments.
    """
    recomputed = 2.0 * block(x, length) if x.checkpointing else 0.0
    return rows * length * (recomputed + ((3 if x.gpu else 4) * x.shape.mlp + 3 * x.shape.width) * x.bytes)


def gathered_at_head(x: Workload) -> float:
    """What sharded weights add at the end of a forward pass, b bytes a weight: what of them is gathered then."""
    return _gathered(x, blocks=1) * x.bytes * trained_models(x) if shards(x, 3) > 1 else 0.0


def gathered_in_block(x: Workload) -> float:
    """The same in the backward pass of a block: this block, the next one, and the head's gradient."""
    if shards(x, 3) == 1:
        return 0.0
    head = 0 if x.shape.lora_rank else x.shape.vocab * x.shape.width
    fetched = 0 if x.fsdp else min(FETCHED, x.shape.layers * x.shape.block)
    return (_gathered(x, blocks=2) + fetched + head) * x.bytes * trained_models(x)


def gathered_at_end(x: Workload) -> float:
    """The same after the backward pass: with FSDP the gradients of all weights outside of the blocks, those in float32,
    which are sent, and what this process receives of them; with ZeRO 3 these weights, gathered."""
    if shards(x, 3) == 1 or x.shape.lora_rank:
        return 0.0
    if x.fsdp:
        return _outside(x) * (x.bytes + 4 * (1 + 1 / x.processes)) * trained_models(x)
    return _outside(x) * x.bytes * trained_models(x)


def _gathered(x: Workload, *, blocks: int) -> int:
    """The weights that are gathered: all outside of the blocks (embedding, head, last norm), and so many blocks. ZeRO 3
    keeps more, if it is to use them again soon."""
    needed = _outside(x) + blocks * x.shape.block
    return min(x.shape.parameters, needed if x.fsdp else max(LIVE, needed))


def _outside(x: Workload) -> int:
    """The number of a model's weights that belong to no block."""
    return x.shape.parameters - x.shape.layers * x.shape.block


def fragmentation(x: Workload) -> float:
    """Bytes of main memory allocated per byte in use in an update; above 1 with micro-batches or with adapters."""
    return FRAGMENTATION if not x.gpu and (x.shape.lora_rank or x.micro_rows < x.groups * x.group) else 1.0


def logits(x: Workload, rows: int, length: int) -> float:
    """N = rows · length tokens: N V w saved exponentials (if N V ≤ MAX_SAVED), temporary tiles, hidden states 3 N D w.

    w: bytes of a number of the head's results, which are float32 at least. Also the head's gradient V D w before it is
    accumulated (of a narrow head its rounded copy too), and the embedding's if the two share one matrix.
    """
    s, n, w = x.shape, rows * length, max(4, x.bytes)
    saved = n * s.vocab <= MAX_SAVED
    rounded = x.bytes if x.bytes < w else 0
    if x.gpu:
        several = n * s.vocab > TILE_ON_GPU
        forward_tiles = (1 + several) * x.entropy if saved else 2 + 2 * x.entropy
        backward_tiles = (not saved) + x.entropy
        tiles = tile(x, n) * max(forward_tiles * w, backward_tiles * w + rounded)
    else:
        tiles = min(n * s.vocab, max(TILE, 64 * n)) * (3 if x.entropy else 2) * w
    head = 0 if s.lora_rank else s.vocab * s.width * (w + rounded + (x.bytes if s.tied else 0))
    return (saved * n * s.vocab + 3 * n * s.width) * w + tiles + head


def tile(x: Workload, tokens: int) -> int:
    """The logits of one tile: `models/logp.py` splits the vocabulary evenly, into tiles of at least 64 columns."""
    V = x.shape.vocab
    return tokens * min(V, max(64, -(-V // -(-tokens * V // (TILE_ON_GPU if x.gpu else TILE)))))


def kv_cache(x: Workload, rows: int) -> float:
    """Keys and values: rows (S+T) layers · 2KE b."""
    s = x.shape
    return rows * (x.prompt + x.new) * s.layers * 2 * s.kv_heads * s.size * x.bytes


def merged(x: Workload) -> float:
    """The matrices of all blocks with their adapters merged, which vLLM is sent beside the frozen ones."""
    matrices = sum(inputs * outputs for inputs, outputs in x.shape.projections)
    return float(x.shape.layers * matrices * x.bytes) if x.shape.lora_rank else 0.0


def token_sampling(x: Workload, rows: int) -> float:
    """Logits [rows V] of one column, their exponentials and sums; with top_p also the sorted ones and their order.

    On a GPU, which frees them one by one, the logits become their exponentials in place, with V padded to whole blocks;
    with top_p there are seven such tensors: among them the sorted ones, their order in 8 bytes, and sums.
    """
    s, w = x.shape, max(4, x.bytes)
    if x.gpu:
        padded = s.vocab % (1 << (s.vocab.bit_length() // 2)) > 0
        return rows * s.vocab * w * (7 if x.nucleus else 1 + padded)
    return rows * s.vocab * (4 * w + x.nucleus * (3 * w + 8))


def forward(x: Workload, rows: int, length: int) -> float:
    """A forward pass without gradient: rows L (9M + 6D) b, the current block and fragments of the previous one.

    On a GPU nothing of the previous block is left: our own Llama takes rows L (4M + 3D) b there.
    """
    if x.gpu and x.shape.plain:
        return rows * length * (4 * x.shape.mlp + 3 * x.shape.width) * x.bytes
    return x.shape.forward_bytes(rows * length, bytes_each=x.bytes)


def scoring(x: Workload, rows: int, *, entropy: bool = False) -> float:
    """Log-probabilities without gradient: a forward pass, tiles of the head, and the hidden states 2 N D w.

    On a GPU the head takes its memory after the pass: N D states, and the next tile beside the one before it (with
    entropies each of them twice), or the last tile beside the states and targets in wide numbers.
    """
    n, w, s = rows * x.new, max(4, x.bytes), x.shape
    whole = forward(x, rows, x.prompt + x.new)
    if not x.gpu:
        return whole + (3 * TILE + 2 * n * s.width) * w
    states = n * s.width * (x.bytes if x.bytes < w else 2 * w)
    each, several = tile(x, n) * w * (1 + entropy), n * s.vocab > TILE_ON_GPU
    return max(whole, states + each * (1 + several), states + each + n * s.width * (2 * w + x.bytes))
