"""The parts of the vLLM sampler that need no vLLM: processes and clients, messages over the socket, validation."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import socket
import subprocess
import sys

import pytest
import torch

from align_lab.base.errors import ConfigError, SamplerError
from align_lab.base.hardware import Hardware, Numerics, Placement, Vllm
from align_lab.base.world import World
from align_lab.rollout import vllm_install, vllm_sampler, wire
from align_lab.rollout.vllm_engine import Request, VllmSettings, isolated
from align_lab.rollout.vllm_processes import VllmProcesses
from align_lab.rollout.vllm_remote import RemoteEngine, visible_devices
from align_lab.rollout.vllm_sampler import mismatch_message, row_seeds, split_request
from tests.cuda.pretended import Refused, pretended_cuda
from tests.rollout.vllm_support import MISSING, PAD, PROMPTS, ChangingWeights, numbers


@pytest.mark.parametrize("processes", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("copies", [1, 2, 4, 5, 8])
def test_every_copy_has_its_clients_and_every_process_its_copy(processes, copies):
    trainers = [VllmProcesses(World(rank=r, size=processes), r, processes, copies, "t") for r in range(processes)]
    clients = [[t.local_rank for t in trainers if copy in t.assigned_copies()] for copy in range(copies)]
    for copy, ranks in enumerate(clients):
        assert len(ranks) == (len(range(copy, processes, copies)) or 1)  # the number of clients that its process awaits
        assert ranks.count(copy % processes) == 1  # this one starts it
    assert {rank for ranks in clients for rank in ranks} == set(range(processes))


def test_a_seed_depends_only_on_the_uniform_numbers_of_its_row():
    u = numbers(500, tokens=4)
    seeds = row_seeds(u)
    assert len(set(seeds)) == 500 and all(0 <= seed < 2**48 for seed in seeds)
    assert row_seeds(u[7:9]) == seeds[7:9]
    assert seeds[3] == int(float(u[3, 0]) * 2**24) * 2**24 + int(float(u[3, 1]) * 2**24)
    assert len(set(row_seeds(u[:, :1]))) > 490


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_request_is_split_in_order_without_losing_rows(count):
    whole = Request(
        prompts=[[n] for n in range(5)], seeds=list(range(5)), by_row=True, new=3, temperature=0.5, top_p=0.9, eos=1
    )
    parts = split_request(whole, count)
    assert len(parts) == count
    assert [ids for part in parts for ids in part.prompts] == whole.prompts
    assert [seed for part in parts for seed in part.seeds] == whole.seeds
    common = {(part.by_row, part.new, part.temperature, part.top_p, part.eos) for part in parts}
    assert common == {(True, 3, 0.5, 0.9, 1)}


def test_vllm_may_use_operators_without_a_deterministic_algorithm():
    x = torch.rand(3, 5)
    with pretended_cuda():
        torch.set_default_device("cuda")
        torch.use_deterministic_algorithms(True)
        there = x.to("cuda")
        with isolated(cuda=True):
            sums = there.cumsum(-1)
        assert torch.are_deterministic_algorithms_enabled() and sums.is_cuda
        with pytest.raises(Refused):
            there.cumsum(-1)
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("device", "deterministic", "own_process", "by_row"),
    [
        ("cpu", False, False, True),
        ("cpu", True, False, True),
        ("cuda", False, False, False),
        ("cuda", True, True, True),
    ],
)
def test_on_a_gpu_rows_have_seeds_of_their_own_and_vllm_a_process_where_that_is_asked_for(
    device, deterministic, own_process, by_row, monkeypatch
):
    """In its batch-invariant mode, vLLM replaces operators of torch in the whole process."""
    started, requests = [], []

    class Engine:
        def __init__(self, *args, **kwargs):
            started.append("process" if kwargs else "here")

        def load(self, weights):
            pass

        def complete(self, request):
            requests.append(request)
            raise SamplerError("enough")

    monkeypatch.setattr(vllm_sampler, "unavailable_reason", lambda: None)
    monkeypatch.setattr(vllm_sampler, "version", lambda: "0")
    monkeypatch.setattr(vllm_sampler, "RemoteEngine", Engine)
    monkeypatch.setattr(vllm_sampler, "InProcessEngine", type("Here", (Engine,), {}))
    weights = ChangingWeights(tied=True)
    sampler = vllm_sampler.VllmSampler(Vllm(), dtype="float32", longest=20, world=World(), deterministic=deterministic)
    sampler._load = lambda model: None
    with pretended_cuda(), pytest.raises(SamplerError, match="enough"):
        torch.set_default_device(device)
        sampler(weights, PROMPTS, PAD, uniforms=numbers())
    sampler.processes.close()
    assert started == ["process" if own_process else "here"]
    assert [request.by_row for request in requests] == [by_row] and requests[0].seeds == row_seeds(numbers())


def test_gpus_are_selected_among_the_devices_that_the_run_sees():
    assert visible_devices(None, [6, 7]) == "6,7"
    assert visible_devices("2,3,GPU-abc", [1, 2]) == "3,GPU-abc"


def test_a_received_message_equals_the_sent_one():
    here, there = socket.socketpair()
    tensors = {"a": torch.arange(6).view(2, 3).t(), "b": torch.tensor([True, False]), "c": torch.empty(0, 4)}
    wire.send(here, {"do": "x", "p": 0.9, "eos": None}, tensors)
    wire.send(here, {"second": 1})
    fields, received = wire.receive(there)
    assert fields == {"do": "x", "p": 0.9, "eos": None}
    assert all(torch.equal(received[name], value) for name, value in tensors.items())
    assert wire.receive(there) == ({"second": 1}, {})
    here.sendall(b'{"bytes": 10}\nhalf')
    here.close()
    with pytest.raises(EOFError):
        wire.receive(there)
    there.close()


def hardware(*, numerics=None, vllm=None, placement=None):
    settings = Hardware(
        numerics=Numerics(sampler="vllm", **(numerics or {})),
        vllm=Vllm(**(vllm or {})),
        placement=Placement(executor="slurm", **(placement or {})),
    )
    return dataclasses.asdict(settings)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"numerics": {"dtype": "float64"}}, "float32 or bfloat16"),
        ({"vllm": {"gpus": 2}}, r"hardware.vllm.gpus=2 with hardware.numerics.device=cpu"),
        ({"numerics": {"device": "cuda"}, "vllm": {"gpus": 6, "tensor_parallel": 4}}, "tensor_parallel=3"),
        ({"vllm": {"tensor_parallel": 2}}, r"set hardware.vllm.gpus=2"),
        (
            {
                "numerics": {"device": "cuda"},
                "vllm": {"gpus": 2},
                "placement": {"gpus_per_node": 8, "tasks_per_node": 7},
            },
            r"set hardware\.placement\.gpus_per_node=9",
        ),
    ],
)
def test_validation_rejects_inconsistent_settings(fields, message):
    (problem,) = vllm_install.problems(hardware(**fields))
    assert re.search(message, problem), problem
    assert vllm_install.problems(hardware()) == []


@pytest.mark.parametrize(
    ("installed", "message"), [("0.31.2", "vLLM 0.31.2 is installed"), ("0.33.0", "the sampler works with 0.32")]
)
def test_an_unsupported_version_is_rejected(monkeypatch, installed, message):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: installed)
    reason = vllm_install.unavailable_reason()
    assert message in reason and "pip install" in reason


@pytest.mark.skipif(MISSING is None, reason="vLLM is installed here")
def test_without_vllm_the_command_says_how_to_install_it():
    command = [sys.executable, "-m", "align_lab", "hardware.numerics.sampler=vllm", "algo=rloo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "vLLM is not installed here" in done.stderr
    assert "make vllm-env" in done.stderr and 'pip install "vllm>=0.32' in done.stderr


def test_a_process_that_cannot_start_is_reported_with_its_status(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    settings = VllmSettings(folder=str(tmp_path), dtype="float32", longest=8, cuda=False)
    with pytest.raises(SamplerError, match="exited with status 1"):
        RemoteEngine(settings, address=tmp_path / "s", starts=True)


def test_the_message_of_a_mismatch_has_the_difference_the_time_and_the_remedies():
    text = mismatch_message(0.25, 1.5, 0.1, 2)
    for part in ("0.25 on average", "1.5 at most", "allows 0.1", "first update", "sampler=torch", "importance_cap"):
        assert part in text


def test_the_engines_of_a_node_have_the_gpus_after_those_of_the_trainers(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    settings = VllmSettings(folder=str(tmp_path / "model"), dtype="bfloat16", longest=8, cuda=True, tensor_parallel=2)
    engines = [VllmProcesses(World(rank=r, size=4), r, 4, 2, "t").engines(settings) for r in range(4)]
    assert [[list(engine.gpus) for engine in own] for own in engines] == [[[4, 5]], [[6, 7]], [[4, 5]], [[6, 7]]]
    assert [own[0].starts for own in engines] == [True, True, False, False]
    assert {own[0].clients for own in engines} == {2}
    single = VllmProcesses(World(), 0, 1, 3, "t").engines(settings)
    assert [list(engine.gpus) for engine in single] == [[1, 2], [3, 4], [5, 6]]
    assert all(engine.starts for engine in single)
    with pytest.raises(ConfigError, match="need 9 GPUs, and torch sees 8"):
        VllmProcesses(World(), 0, 1, 4, "t").engines(settings)
