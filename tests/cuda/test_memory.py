"""Bytes of a GPU, counted: what passes without gradient take, what is held once, and what happens where memory ends."""

from __future__ import annotations

import gc
import json

import pytest
import torch

from align_lab.models import logp
from align_lab.models.convert import from_hf, to_hf
from align_lab.models.llama import Llama, LlamaConfig
from align_lab.models.loading import loading
from align_lab.models.precision import convert
from align_lab.models.row_batches import RowBatches
from align_lab.models.shape import Shape
from align_lab.preflight import terms
from align_lab.preflight.estimate import _torch_sampling, _update
from align_lab.preflight.workload import Workload
from align_lab.rollout import replay
from align_lab.rollout.torch_sampler import COMPACT_ON_GPU, TorchSampler, sample
from align_lab.run import assembly
from align_lab.stages.dependencies import stages
from align_lab.stages.store import shared
from align_lab.train.rollouts import Rollouts
from tests.cuda.budgets import gpu
from tests.cuda.pretended import pretended_cuda
from tests.cuda.runs import config, train
from tests.train import small

SIZES = {"layers": 2, "width": 128, "heads": 8, "kv_heads": 4, "mlp": 384, "vocab": 2048, "context": 256}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def peak(machine, work):
    """The bytes that `work` needs at most, beyond those that are there before it."""
    gc.collect()
    machine.forget_peak()
    before = machine.places.bytes
    work()
    return machine.places.peak - before


class Scored(Rollouts):
    """Rollouts that note what their scoring takes."""

    def _experience(self, *args):
        out = []
        self.peak = peak(self.machine, lambda: out.append(super(Scored, self)._experience(*args)))
        return out[0]


def test_scoring_takes_the_memory_of_its_batch_and_not_of_all_completions():
    peaks = {}
    with gpu() as machine:
        for rows in (None, 16, 4):
            it = small.loop(small.algorithm("ppo"), prompts_per_step=16, dtype=torch.bfloat16)
            source = Scored(**{**vars(it.source), "scoring": RowBatches(rows)})
            source.machine = machine
            source.collect(0, groups=16)
            peaks[rows] = source.peak
    assert peaks[16] < 0.4 * peaks[None] and peaks[4] < 0.5 * peaks[16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("prompt", "new"), [(32, 96), (96, 32)])
@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("tile", [1 << 18, 1 << 27])
def test_the_preflight_counts_what_scoring_takes(dtype, prompt, new, entropy, tile, monkeypatch):
    monkeypatch.setitem(logp.TILE, "cuda", tile)
    monkeypatch.setattr(terms, "TILE_ON_GPU", tile)
    rows = 16
    x = Workload(
        shape=Shape(**SIZES, plain=True), rows=rows, groups=4, group=4, micro_batch=None, prompt=prompt, new=new,
        dtype=dtype, gpu=True,
    )  # fmt: skip
    with gpu() as machine, torch.no_grad():
        model = Llama(LlamaConfig(**SIZES))
        convert(model, DTYPES[dtype])
        ids, pad = torch.randint(1, 2000, (rows, prompt + new)), torch.arange(rows) % 3
        mask = torch.ones(rows, new, dtype=torch.bool)
        counted = peak(machine, lambda: model(ids, pad, mask, entropy=entropy))
    assert terms.scoring(x, rows, entropy=entropy) == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("prompt", "new"), [(32, 96), (96, 32)])
@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("tile", [1 << 18, 1 << 27])
def test_the_preflight_counts_what_an_update_takes(dtype, prompt, new, entropy, tile, monkeypatch):
    monkeypatch.setitem(logp.TILE, "cuda", tile)
    monkeypatch.setattr(terms, "TILE_ON_GPU", tile)
    rows = 16
    x = Workload(
        shape=Shape(**SIZES, plain=True), rows=rows, groups=4, group=4, micro_batch=None, prompt=prompt, new=new,
        dtype=dtype, gpu=True, entropy=entropy,
    )  # fmt: skip
    with gpu() as machine:
        model = Llama(LlamaConfig(**SIZES))
        convert(model, DTYPES[dtype])
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        ids, pad = torch.randint(1, 2000, (rows, prompt + new)), torch.arange(rows) % 3
        mask = torch.ones(rows, new, dtype=torch.bool)

        def step():
            out = model(ids, pad, mask, entropy=entropy)
            sum(one.sum() for one in (out if entropy else [out])).backward()

        counted = peak(machine, step)
    within = 0.1 if dtype == "bfloat16" else 0.15
    assert sum(_update(x).values()) == pytest.approx(counted, rel=within)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("prompt", "new"), [(32, 96), (96, 32)])
@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize(("vocab", "top_p"), [(16384, 1.0), (10007, 1.0), (16384, 0.9)])
def test_the_preflight_counts_what_sampling_takes(dtype, prompt, new, group, vocab, top_p, monkeypatch):
    """No row ends here, so that none is copied. No column is recorded, because what stands in for a CUDA graph keeps
    all of its tensors, where a graph uses memory again."""
    monkeypatch.setattr(terms, "COMPACTION_ON_GPU", 1)
    monkeypatch.setattr(replay, "WORTH", 1000)
    rows, sizes = 64, {**SIZES, "vocab": vocab, "layers": 6}
    x = Workload(
        shape=Shape(**sizes, plain=True), rows=rows, groups=rows // group, group=group, micro_batch=None, prompt=prompt,
        new=new, dtype=dtype, gpu=True, nucleus=top_p < 1,
    )  # fmt: skip
    with gpu() as machine:
        model = Llama(LlamaConfig(**sizes))
        convert(model, DTYPES[dtype])
        ids, uniforms = torch.randint(1, 2000, (rows // group, prompt)), torch.rand(rows, new)
        counted = peak(machine, lambda: sample(model, ids, None, uniforms=uniforms, top_p=top_p))
    assert sum(_torch_sampling(x, rows, group).values()) == pytest.approx(counted, rel=0.1)


def test_the_preflight_counts_the_copy_of_the_half_of_the_rows_that_is_left():
    rows, columns = 64, 128
    x = Workload(
        shape=Shape(**SIZES, plain=True), rows=rows, groups=rows, group=1, micro_batch=None, prompt=32, new=96, gpu=True
    )
    with gpu() as machine:
        cache = Llama(LlamaConfig(**SIZES)).new_cache(rows, columns)
        kept = cache.keys.nbytes + cache.values.nbytes
        copied = peak(machine, lambda: cache.keep(torch.arange(rows) < COMPACT_ON_GPU * rows))
    assert terms.kv_cache(x, rows) == kept
    assert terms.COMPACTION_ON_GPU * kept == pytest.approx(kept + copied, rel=0.01)


def artefacts(cfg):
    return {name: shared().get(stage) for name, stage in stages(cfg).items()}


@pytest.mark.parametrize(("algo", "copies"), [("rloo", 1), ("reinforce_pp", 1), ("dapo", 0)])
def test_a_run_holds_the_start_policy_once_or_not_at_all(algo, copies):
    """Where training has a reference, the evaluation has the same one; elsewhere it is in main memory between two
    evaluations, and is not read again."""
    cfg = config(f"algo={algo}", study="shared", device="cuda")
    built, loaded = artefacts(cfg), []
    start = assembly._start
    with pretended_cuda() as machine, pytest.MonkeyPatch.context() as patched:
        torch.set_default_device("cuda")
        patched.setattr(assembly, "_start", lambda *args, **at: loaded.append(start(*args, **at)) or loaded[-1])
        loop = assembly.assemble(cfg, built, journal=small.Memory(), should_stop=lambda: False)
        assert len(loaded) == 1 + copies
        before = machine.places.bytes
        first, second = loop.evaluate.reference(), loop.evaluate.reference()
        assert first is second and len(loaded) == 2
        assert (loop.source.reference is first) == bool(copies)
        policy = loop.learner.policy.state_dict()
        assert all(value.is_cuda and torch.equal(value, policy[name]) for name, value in first.state_dict().items())
        ids = torch.ones(2, 5, dtype=torch.long)
        assert torch.equal(first.hidden(ids), loop.learner.policy.hidden(ids))
        del first, second, ids
        gc.collect()
        assert machine.places.bytes == before
        assert loop.evaluate.reference().head.is_cuda and len(loaded) == 2


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_read_straight_into_their_precision_and_onto_their_device(stored, dtype, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = Llama(LlamaConfig(**SIZES))
    convert(model, DTYPES[stored])
    to_hf(model, tmp_path)
    drawn = []
    monkeypatch.setattr(torch.nn.init, "normal_", lambda x, **_: drawn.append(x.device.type))
    made = 0
    with pretended_cuda() as machine:
        torch.set_default_device("cuda")
        found = []

        def load():
            with loading(DTYPES[dtype], torch.device("cuda")):
                found.append(from_hf(tmp_path))

        needed = peak(machine, load)
        for (name, parameter), (_, own) in zip(found[0].named_parameters(), model.named_parameters(), strict=True):
            assert parameter.is_cuda and parameter.dtype == DTYPES[dtype] and parameter.requires_grad, name
            assert torch.equal(parameter.cpu(), own.to(DTYPES[dtype])), name
            made += parameter.numel() * parameter.element_size()
        table = found[0].rotary
        assert table.is_cuda and table.dtype == torch.float32 and torch.equal(table.cpu(), model.rotary)
    assert needed == made + table.nbytes and set(drawn) == {"meta"}


def test_the_prompts_of_groups_take_the_memory_of_one_completion_each():
    """Layers are wide and completions short, so reading the prompts is the peak of sampling."""
    sizes = {**SIZES, "mlp": 2048}
    x = Workload(
        shape=Shape(**sizes, plain=True), rows=16, groups=4, group=4, micro_batch=None, prompt=192, new=2, gpu=True
    )
    with gpu() as machine:
        model, ids = Llama(LlamaConfig(**sizes)), torch.randint(1, 2000, (4, 192))
        uniforms = torch.rand(16, 2)
        of_groups = peak(machine, lambda: sample(model, ids, None, uniforms=uniforms))
        of_rows = peak(machine, lambda: sample(model, ids.repeat(4, 1), None, uniforms=uniforms))
    assert of_groups < 0.4 * of_rows
    assert terms.forward(x, 4, 192) < of_groups
    assert sum(_torch_sampling(x, 16, 4).values()) == pytest.approx(of_groups, rel=0.1)


class Limited(Llama):
    """A model that runs out of memory beyond some rows."""

    most = 100

    def _run(self, ids, pad, cache):
        if len(ids) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return super()._run(ids, pad, cache)


@pytest.mark.parametrize("part", ["sampling", "scoring"])
def test_a_run_that_is_out_of_memory_goes_on_with_fewer_completions_at_a_time(part, monkeypatch, capfd):
    cfg = config("algo=ppo", "train.steps=1", study=part, device="cuda", numerics={"dtype": "float32"})
    expected = train(cfg).rows
    whole = Llama._run

    def limited(model, ids, pad, cache):
        no_gradient = not torch.is_grad_enabled()
        if no_gradient and len(ids) > 3 and (part == "sampling") == (cache is not None):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return whole(model, ids, pad, cache)

    monkeypatch.setattr(Llama, "_run", limited)
    other = config("algo=ppo", "train.steps=1", study=f"{part}2", device="cuda", numerics={"dtype": "float32"})
    trained = train(other)
    said = [line for line in capfd.readouterr().err.splitlines() if "memory ran out" in line]
    assert said and all(line.startswith(f"memory ran out in {part}: ") for line in said)
    assert len(set(said)) == len(said)  # each size is said once
    memory = json.loads((trained.path / "manifest.json").read_text())["memory"]
    assert memory[f"{part}_batch"] <= 3
    assert len(trained.rows) == len(expected)
    if part == "scoring":  # a draw at the border of two tokens may fall otherwise in batches of another shape
        for row, one in zip(trained.rows, expected, strict=True):
            assert row == pytest.approx(one, rel=1e-4, abs=1e-5)


def test_sampling_with_half_the_rows_gives_the_same_completions(capsys):
    with gpu():
        model, ids = small.model(), torch.ones(8, 3, dtype=torch.long)
        limited = Limited(model.config)
        limited.load_state_dict(model.state_dict())
        learner = small.loop(small.algorithm("rloo")).learner
        uniforms = torch.rand(8, 6)
        learner.policy = learner.engines["policy"].model = model
        expected = TorchSampler()(learner, ids, None, uniforms=uniforms)
        learner.policy = learner.engines["policy"].model = limited
        limited.most = 4
        sampler = TorchSampler()
        found = sampler(learner, ids, None, uniforms=uniforms)
    assert torch.equal(found.tokens.cpu(), expected.tokens.cpu())
    assert sampler.batches.rows == 4 and "sampling: 4 completions at a time" in capsys.readouterr().err
