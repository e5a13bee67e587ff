"""What surrounds vLLM and needs none: who talks to which process, what crosses the socket, what is refused before anything starts."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import socket
import subprocess
import sys
from collections import Counter

import pytest
import torch

from align_lab.base.errors import ConfigError, SamplerError
from align_lab.base.hardware import Hardware, Numerics, Placement, Vllm
from align_lab.base.world import World
from align_lab.rollout import vllm_install, wire
from align_lab.rollout.vllm_engine import Request, VllmSettings
from align_lab.rollout.vllm_place import VllmProcesses
from align_lab.rollout.vllm_remote import Remote, visible
from align_lab.rollout.vllm_sampler import dealt, mismatch, seeds
from tests.rollout.vllm_here import MISSING, numbers


@pytest.mark.parametrize("processes", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("copies", [1, 2, 4, 5, 8])
def test_every_copy_has_its_clients_and_every_process_its_copy(processes, copies):
    places = [VllmProcesses(World(rank=r, size=processes), r, processes, copies, "t") for r in range(processes)]
    clients = Counter(copy for place in places for copy in place.mine())
    assert set(clients) == set(range(copies))
    for copy, count in clients.items():
        assert count == (len(range(copy, processes, copies)) or 1)  # what the process of that copy waits for
        starters = [place.local for place in places if copy in place.mine() and place.local == copy % processes]
        assert len(starters) == 1


def test_a_seed_is_that_of_its_row():
    u = numbers(500, tokens=4)
    found = seeds(u)
    assert len(set(found)) == 500 and all(0 <= seed < 2**48 for seed in found)
    assert seeds(u[7:9]) == found[7:9]
    assert found[3] == int(float(u[3, 0]) * 2**24) * 2**24 + int(float(u[3, 1]) * 2**24)
    assert len(set(seeds(u[:, :1]))) > 490


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_rows_are_dealt_in_order_and_none_is_lost(count):
    whole = Request(prompts=[[n] for n in range(5)], seeds=list(range(5)), new=3, temperature=0.5, top_p=0.9, eos=1)
    parts = dealt(whole, count)
    assert len(parts) == count
    assert [ids for part in parts for ids in part.prompts] == whole.prompts
    assert [seed for part in parts for seed in part.seeds] == whole.seeds
    assert {(part.new, part.temperature, part.top_p, part.eos) for part in parts} == {(3, 0.5, 0.9, 1)}


def test_gpus_are_named_among_those_that_the_run_may_use():
    assert visible(None, [6, 7]) == "6,7"
    assert visible("2,3,GPU-abc", [1, 2]) == "3,GPU-abc"


def test_messages_cross_the_socket_whole():
    here, there = socket.socketpair()
    tensors = {"a": torch.arange(6).view(2, 3).t(), "b": torch.tensor([True, False]), "c": torch.empty(0, 4)}
    wire.send(here, {"do": "x", "p": 0.9, "eos": None}, tensors)
    wire.send(here, {"second": 1})
    fields, found = wire.receive(there)
    assert fields == {"do": "x", "p": 0.9, "eos": None}
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    assert wire.receive(there) == ({"second": 1}, {})
    here.sendall(b'{"bytes": 10}\nhalf')
    here.close()
    with pytest.raises(EOFError):
        wire.receive(there)
    there.close()


def hardware(*, numerics=None, vllm=None, placement=None):
    made = Hardware(
        numerics=Numerics(sampler="vllm", **(numerics or {})),
        vllm=Vllm(**(vllm or {})),
        placement=Placement(executor="slurm", **(placement or {})),
    )
    return dataclasses.asdict(made)


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
            "ask for 9",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(fields, message):
    (found,) = vllm_install.problems(hardware(**fields))
    assert re.search(message, found), found
    assert vllm_install.problems(hardware()) == []


@pytest.mark.parametrize(
    ("found", "says"), [("0.31.2", "vLLM 0.31.2 is installed"), ("0.33.0", "the sampler works with 0.32")]
)
def test_another_version_is_refused(monkeypatch, found, says):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: found)
    assert says in vllm_install.problem() and "pip install" in vllm_install.problem()


@pytest.mark.skipif(MISSING is None, reason="vLLM is installed here")
def test_without_vllm_the_command_says_how_to_get_it():
    words = [sys.executable, "-m", "align_lab", "hardware.numerics.sampler=vllm", "algo=rloo"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "vLLM is not installed here" in done.stderr
    assert "make vllm-env" in done.stderr and 'pip install "vllm>=0.32' in done.stderr


def test_a_process_that_cannot_start_is_reported_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    plan = VllmSettings(folder=str(tmp_path), dtype="float32", longest=8, cuda=False)
    with pytest.raises(SamplerError, match="has ended with status 1"):
        Remote(plan, address=tmp_path / "s", starts=True)


def test_a_mismatch_says_how_large_where_and_what_to_do():
    text = mismatch(0.25, 1.5, 0.1, 2)
    for part in ("0.25 on average", "1.5 at most", "allows 0.1", "first update", "sampler=torch", "importance_cap"):
        assert part in text


def test_gpus_of_a_node_are_those_after_the_ones_that_train(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    plan = VllmSettings(folder=str(tmp_path / "model"), dtype="bfloat16", longest=8, cuda=True, tensor_parallel=2)
    seats = [VllmProcesses(World(rank=r, size=4), r, 4, 2, "t").seats(plan) for r in range(4)]
    assert [[list(seat.gpus) for seat in mine] for mine in seats] == [[[4, 5]], [[6, 7]], [[4, 5]], [[6, 7]]]
    assert [mine[0].starts for mine in seats] == [True, True, False, False]
    assert {mine[0].clients for mine in seats} == {2}
    (alone,) = [VllmProcesses(World(), 0, 1, 3, "t").seats(plan)]
    assert [list(seat.gpus) for seat in alone] == [[1, 2], [3, 4], [5, 6]] and all(seat.starts for seat in alone)
    with pytest.raises(ConfigError, match="needs 9 GPUs, and torch sees 8"):
        VllmProcesses(World(), 0, 1, 4, "t").seats(plan)
