"""Lifecycle of vLLM: the state of the trainer's process, mismatched weights, detection of a dead process."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch

from align_lab.base.errors import SamplerError, SamplerMismatch
from align_lab.base.world import World
from tests.rollout.vllm_support import (
    CLOSE,
    EOS,
    PAD,
    PROMPTS,
    ChangingWeights,
    difference,
    needs_vllm,
    numbers,
    sampler,
    smollm2,
)

pytestmark = [needs_vllm, pytest.mark.nightly]


def test_the_state_of_the_trainers_process_is_restored():
    threads, setter = torch.get_num_threads(), torch.set_num_threads
    torch.manual_seed(3)
    vllm = sampler()
    vllm(ChangingWeights(tied=True), PROMPTS, PAD, uniforms=numbers(), eos=EOS)
    vllm.close()
    assert torch.set_num_threads is setter and torch.get_num_threads() == threads
    torch.manual_seed(3)
    first = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(3), first)
    assert not torch.distributed.is_initialized()


def test_weights_that_were_not_transferred_stop_the_run_with_the_difference():
    weights, vllm = ChangingWeights(tied=True), sampler()
    try:
        vllm(weights, PROMPTS, PAD, uniforms=numbers(), eos=EOS)
        vllm.engines[0].load = lambda weights: None
        weights.change(9)
        with pytest.raises(SamplerMismatch, match=r"by \d.* on average and \d.* at most.*tolerance allows 0.001"):
            vllm(weights, PROMPTS, PAD, uniforms=numbers(), eos=EOS)
    finally:
        vllm.close()


def test_in_bfloat16_new_weights_are_transferred_and_the_difference_is_rounding():
    weights, vllm = ChangingWeights(tied=True, dtype=torch.bfloat16), sampler(dtype="bfloat16")
    try:
        for seed in (1, 2):
            weights.change(seed)
            samples = vllm(weights, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, eos=EOS)
            assert difference(weights, samples, temperature=0.7).mean() < 0.1
    finally:
        vllm.close()


@pytest.mark.skipif(smollm2() is None, reason="SmolLM2 is not in the cache: a run with model=smollm2_135m converts it")
def test_a_pretrained_model_has_the_trainers_log_probabilities_before_and_after_a_large_change():
    from align_lab.models.convert import from_hf

    weights, vllm = ChangingWeights(tied=True), sampler()
    weights.model = from_hf(smollm2())
    prompts, pad, u = PROMPTS[:6] + 1000, PAD[:6], numbers(6)
    try:
        for _ in range(2):
            samples = vllm(weights, prompts, pad, uniforms=u, temperature=0.7, top_p=0.9, eos=2)
            differences = difference(weights, samples, temperature=0.7, prompts=prompts, pad=pad)
            assert differences.mean() < 1e-4 and differences.max() < 1e-3
            for weight in weights.model.parameters():
                weight.data *= 1.05 if weight.dim() == 2 else 0.97
            weights.version += 1
            assert difference(weights, samples, temperature=0.7, prompts=prompts, pad=pad).mean() > 1e-2
    finally:
        vllm.close()


def test_a_model_of_transformers_is_sampled_as_well():
    """Qwen2 has biases in its attention, which the package's own Llama has not."""
    transformers = pytest.importorskip("transformers")
    from align_lab.models.transformer import Transformer

    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "max_position_embeddings": 64}
    config = transformers.Qwen2Config(
        vocab_size=300, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, **shape
    )
    weights, vllm = ChangingWeights(tied=True), sampler()
    weights.model = Transformer(transformers.Qwen2ForCausalLM(config))
    try:
        for seed in (1, 2):
            weights.change(seed)
            samples = vllm(weights, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, eos=EOS)
            assert difference(weights, samples, temperature=0.7).max() < CLOSE
    finally:
        vllm.close()


@pytest.fixture(scope="module")
def remote():
    """A sampler with an engine in a process of its own."""
    vllm, weights = sampler(own_process=True), ChangingWeights(tied=True)
    vllm(weights, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, eos=EOS)
    yield weights, vllm
    vllm.close()


def test_an_engine_in_a_process_of_its_own_gives_the_same_samples(remote):
    weights, vllm = remote
    weights.change(3)
    samples = vllm(weights, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, top_p=0.9, eos=EOS)
    assert difference(weights, samples, temperature=0.7).max() < CLOSE
    inside = sampler()
    other = inside(weights, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, top_p=0.9, eos=EOS)
    inside.close()
    for name in ("tokens", "mask", "ended"):
        assert torch.equal(getattr(other, name), getattr(samples, name))
    folder = vllm.processes.folder
    assert folder.stat().st_mode & 0o077 == 0


def test_completions_are_sampled_while_the_weights_change_and_are_of_the_weights_that_they_were_asked_of(remote):
    """The engine is stopped, so that it cannot answer before the weights have changed; then it goes on."""
    weights, vllm = remote
    weights.change(4)
    vllm(weights, PROMPTS, PAD, uniforms=numbers(), temperature=0.7, eos=EOS)  # the engine is checked, and has these
    expected = vllm(weights, PROMPTS, PAD, uniforms=numbers(step=1), temperature=0.7, eos=EOS)
    events, process = [], vllm.engines[0].process
    os.kill(process.pid, signal.SIGSTOP)
    pending = vllm.begin(weights, PROMPTS, PAD, uniforms=numbers(step=1), temperature=0.7, eos=EOS)
    events.append("asked")
    vllm.requests.submit(lambda: events.append("answered"))  # requests are sent one after the other
    weights.change(5)
    events.append("changed")
    os.kill(process.pid, signal.SIGCONT)
    assert torch.equal(pending.samples.tokens, expected.tokens)
    newer = vllm(weights, PROMPTS, PAD, uniforms=numbers(step=1), temperature=0.7, eos=EOS)
    assert events == ["asked", "changed", "answered"]
    assert not torch.equal(newer.tokens, expected.tokens)
    assert difference(weights, newer, temperature=0.7).max() < CLOSE


def test_a_sampler_that_is_closed_does_not_wait_for_what_was_asked_for():
    weights, vllm = ChangingWeights(tied=True), sampler(own_process=True)
    for _ in range(2):  # the checks
        weights.change(weights.version)
        vllm(weights, PROMPTS, PAD, uniforms=numbers(), eos=EOS)
    process, folder = vllm.engines[0].process, vllm.processes.folder
    os.kill(process.pid, signal.SIGSTOP)
    pending = vllm.begin(weights, PROMPTS, PAD, uniforms=numbers(), eos=EOS)
    vllm.close()
    with pytest.raises(SamplerError, match="exited with status -9"):
        _ = pending.samples
    assert not folder.exists()


def test_a_process_that_dies_in_a_rollout_is_detected_and_leaves_no_folder(remote):
    weights, vllm = remote
    process, folder = vllm.engines[0].process, vllm.processes.folder
    threading.Timer(0.3, lambda: os.kill(process.pid, signal.SIGKILL)).start()
    many = 64
    with pytest.raises(SamplerError, match="exited with status -9.*run the same command again") as error:
        while True:  # the process is killed during one of these calls
            vllm(weights, PROMPTS.repeat(many, 1), PAD.repeat(many), uniforms=numbers(many * len(PROMPTS)), eos=None)
    assert error.value.status == 1
    vllm.close()
    assert not folder.exists()


def test_two_clients_of_one_process_are_answered_together(tmp_path):
    from align_lab.rollout.vllm_engine import Request, VllmSettings
    from align_lab.rollout.vllm_processes import VllmProcesses
    from align_lab.rollout.vllm_remote import RemoteEngine

    weights, processes = ChangingWeights(tied=False), VllmProcesses.create(World(), 0, 1)
    settings = VllmSettings(
        folder=str(processes.write_config(weights.model)), dtype="float32", longest=40, cuda=False, cpu_cache_gib=0.1
    )
    folder, answers = processes.write_weights(weights.model), {}

    def client(number):
        engine = RemoteEngine(settings, address=tmp_path / "s", starts=number == 0, clients=2)
        engine.load(folder)
        rows = slice(0, 5) if number == 0 else slice(5, 8)
        request = Request(
            prompts=PROMPTS[rows].tolist(), seeds=list(range(8))[rows], by_row=True, new=6, temperature=0.7, top_p=1.0,
            eos=EOS,
        )  # fmt: skip
        answers[number] = (engine, engine.complete(request))

    threads = [threading.Thread(target=client, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = answers[0], answers[1]
    assert len(first[1].lengths) == 5 and len(second[1].lengths) == 3
    second[0].close()
    with pytest.raises(SamplerError, match="exited with status 0"):  # the process exits when a client disconnects
        first[0].sleep()
    first[0].close()
    processes.close()


def test_the_error_for_an_unsupported_model_says_what_to_set():
    from align_lab.models.llama import Llama, LlamaConfig

    weights, vllm = ChangingWeights(tied=True), sampler()
    weights.model = Llama(LlamaConfig(vocab=40, width=16, layers=1, heads=2, kv_heads=2, mlp=16, context=32))
    with pytest.raises(SamplerError, match=r"vLLM cannot generate .*head_dim=8.*hardware.numerics.sampler=torch"):
        vllm(weights, PROMPTS[:, :2] % 40, None, uniforms=numbers(), eos=EOS)
    vllm.close()
