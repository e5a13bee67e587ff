"""Real vLLM, started and ended: what it leaves behind, how it is missed when it dies, and when it is not believed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import torch

from align_lab.base.errors import SamplerError, SamplerMismatch
from align_lab.base.world import World
from tests.rollout.vllm_here import CLOSE, EOS, PAD, PROMPTS, Learning, gap, needs_vllm, numbers, sampler, smollm2

pytestmark = needs_vllm


def test_the_trainers_process_is_as_it_was():
    threads, setter = torch.get_num_threads(), torch.set_num_threads
    torch.manual_seed(3)
    made = sampler()
    made(Learning(tied=True), PROMPTS, PAD, uniforms=numbers(), eos=EOS)
    made.close()
    assert torch.set_num_threads is setter and torch.get_num_threads() == threads
    torch.manual_seed(3)
    first = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(3), first)
    assert not torch.distributed.is_initialized()


def test_weights_that_did_not_arrive_stop_the_run_with_the_numbers():
    learning, made = Learning(tied=True), sampler()
    try:
        made(learning, PROMPTS, PAD, uniforms=numbers(), eos=EOS)
        made.engines[0].load = lambda weights: None
        learning.change(9)
        with pytest.raises(SamplerMismatch, match=r"by \d.* on average and \d.* at most.*tolerance allows 0.001"):
            made(learning, PROMPTS, PAD, uniforms=numbers(), eos=EOS)
    finally:
        made.close()


def test_in_bfloat16_the_gap_is_that_of_rounding_and_new_weights_arrive():
    learning, made = Learning(tied=True, dtype=torch.bfloat16), sampler(dtype="bfloat16")
    try:
        for seed in (1, 2):
            learning.change(seed)
            found = made(learning, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, eos=EOS)
            assert gap(learning, found, temperature=0.7).mean() < 0.1
    finally:
        made.close()


@pytest.mark.skipif(smollm2() is None, reason="SmolLM2 is not in the cache: a run with model=smollm2_135m converts it")
def test_a_real_model_gives_the_trainers_log_probabilities_before_and_after_a_large_change():
    from align_lab.models.convert import from_hf

    learning, made = Learning(tied=True), sampler()
    learning.model = from_hf(smollm2())
    prompts, pad, u = PROMPTS[:6] + 1000, PAD[:6], numbers(6)
    try:
        for _ in range(2):
            found = made(learning, prompts, pad, uniforms=u, temperature=0.7, top_p=0.9, eos=2)
            far = gap(learning, found, temperature=0.7, prompts=prompts, pad=pad)
            assert far.mean() < 1e-4 and far.max() < 1e-3
            for weight in learning.model.parameters():
                weight.data *= 1.05 if weight.dim() == 2 else 0.97
            learning.version += 1
            assert gap(learning, found, temperature=0.7, prompts=prompts, pad=pad).mean() > 1e-2
    finally:
        made.close()


def test_a_model_of_transformers_is_sampled_from_as_well():
    """One that ours is not: with biases in its attention."""
    transformers = pytest.importorskip("transformers")
    from align_lab.models.transformer import Transformer

    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 64}
    config = transformers.Qwen2Config(
        vocab_size=300, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, **shape
    )
    learning, made = Learning(tied=True), sampler()
    learning.model = Transformer(transformers.Qwen2ForCausalLM(config))
    try:
        for seed in (1, 2):
            learning.change(seed)
            found = made(learning, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, eos=EOS)
            assert gap(learning, found, temperature=0.7).max() < CLOSE
    finally:
        made.close()


@pytest.fixture(scope="module")
def apart():
    """A sampler in a process of its own."""
    made, learning = sampler(own_process=True), Learning(tied=True)
    made(learning, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, eos=EOS)
    yield learning, made
    made.close()


def test_in_a_process_of_its_own_it_says_the_same(apart):
    learning, made = apart
    learning.change(3)
    found = made(learning, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, top_p=0.9, eos=EOS)
    assert gap(learning, found, temperature=0.7).max() < CLOSE
    inside = sampler()
    again = inside(learning, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, top_p=0.9, eos=EOS)
    inside.close()
    for name in ("tokens", "mask", "ended"):
        assert torch.equal(getattr(again, name), getattr(found, name))
    folder = made.place.folder
    assert folder.stat().st_mode & 0o077 == 0


def test_a_process_that_dies_in_a_rollout_is_missed_at_once_and_leaves_nothing(apart):
    learning, made = apart
    process, folder = made.engines[0].process, made.place.folder
    threading.Timer(0.3, lambda: os.kill(process.pid, signal.SIGKILL)).start()
    many = 64
    with pytest.raises(SamplerError, match="has ended with status -9.*run the same command again") as died:
        while True:  # in the middle of one of these
            made(learning, PROMPTS.repeat(many, 1), PAD.repeat(many), uniforms=numbers(many * len(PROMPTS)), eos=None)
    assert died.value.status == 1
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < 5 and not folder.exists()


def test_two_clients_of_one_process_are_answered_together(tmp_path):
    from align_lab.rollout.vllm_engine import Request, VllmSettings
    from align_lab.rollout.vllm_place import VllmProcesses
    from align_lab.rollout.vllm_remote import Remote

    learning, place = Learning(tied=False), VllmProcesses.here(World(), 0, 1)
    plan = VllmSettings(
        folder=str(place.describe(learning.model)), dtype="float32", longest=40, cuda=False, cpu_cache_gib=0.1
    )
    folder, answers = place.deliver(learning.model), {}

    def client(number):
        mine = Remote(plan, address=tmp_path / "s", starts=number == 0, clients=2)
        mine.load(folder)
        rows = slice(0, 5) if number == 0 else slice(5, 8)
        request = Request(
            prompts=PROMPTS[rows].tolist(), seeds=list(range(8))[rows], new=6, temperature=0.7, top_p=1.0, eos=EOS
        )
        answers[number] = (mine, mine.complete(request))

    threads = [threading.Thread(target=client, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = answers[0], answers[1]
    assert len(first[1].lengths) == 5 and len(second[1].lengths) == 3
    second[0].close()
    with pytest.raises(SamplerError, match="has ended with status 0"):  # they act together, and end together
        first[0].sleep()
    first[0].close()
    place.close()


def test_a_model_that_vllm_cannot_run_is_named_with_the_way_out():
    from align_lab.models.llama import Llama, LlamaConfig

    learning, made = Learning(tied=True), sampler()
    learning.model = Llama(LlamaConfig(vocab=40, width=16, layers=1, heads=2, kv_heads=2, mlp=16, context=32))
    with pytest.raises(SamplerError, match=r"vLLM cannot generate .*head_dim=8.*hardware.numerics.sampler=torch"):
        made(learning, PROMPTS[:, :2] % 40, None, uniforms=numbers(), eos=EOS)
    made.close()
