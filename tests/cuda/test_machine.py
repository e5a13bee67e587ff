"""What a run does with its machine: memory of the GPU, processes, what its manifest says of it, equal bits twice."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from omegaconf import OmegaConf

from align_lab.base.errors import DataError
from align_lab.base.paths import conf_folder
from align_lab.base.world import backend, joined
from align_lab.compare.comparability import settings
from align_lab.compare.runs import Run
from align_lab.config import hardware_validation
from align_lab.dispatch.local_pool import LocalPool
from align_lab.models.precision import running_sum
from align_lab.preflight.available_memory import measured
from align_lab.rollout import torch_sampler
from align_lab.rollout.torch_sampler import nucleus
from align_lab.rollout.vllm_sampler import VllmSampler
from align_lab.run import assembly
from align_lab.stages.dependencies import stages
from align_lab.stages.store import shared
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.shards import sliced
from benchmarks import deterministic
from tests.cuda.pretended import pretended_cuda
from tests.cuda.runs import config, train
from tests.train.ranks import ranks, together
from tests.wiring.conftest import composed, needs_of

RLOO = ("algo=rloo", "train.group_size=2")


def test_a_gpu_never_holds_the_start_policy_in_float32():
    cfg = config(*RLOO, study="loading", device="cuda")
    built = {name: shared().get(stage) for name, stage in stages(cfg).items()}
    with pretended_cuda() as machine:
        torch.set_default_device("cuda")
        before = machine.places.bytes
        model = assembly._start(cfg, built).model
        parameters = sum(2 * parameter.numel() for parameter in model.parameters())
        buffers = sum(buffer.nbytes for buffer in model.buffers())
        assert all(tensor.is_cuda for tensor in [*model.parameters(), *model.buffers()])
    assert machine.places.peak - before == parameters + buffers


def test_a_second_process_reads_a_checkpoint_without_its_hash(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"weight": torch.arange(3)}, keep=1)
    card = checkpoints.folder(1) / "card.json"
    card.write_text(json.dumps({"step": 1, "sha256": "another"}))
    with pytest.raises(DataError, match="damaged"):
        checkpoints.load(1)
    for place in (pretended_cuda(), pretended_cuda(gpus=2)):
        with place:
            torch.set_default_device("cuda")
            assert checkpoints.read(1)["weight"].is_cpu
    assert checkpoints.read(1)["weight"].tolist() == [0, 1, 2]


def test_tensors_of_a_gpu_are_sent_over_nccl():
    assert backend() == "gloo"
    with pretended_cuda():
        torch.set_default_device("cuda")
        assert backend() == "cpu:gloo,cuda:nccl"


@pytest.mark.parametrize(
    ("visible", "gpus", "processes", "share"),
    [(1, 8, 8, 1.0), (8, 8, 8, 1.0), (8, 1, 1, 1.0), (1, 1, 2, 0.5), (2, 0, 4, 0.5)],
)
def test_the_room_of_a_process_that_may_see_its_own_gpu_alone(visible, gpus, processes, share, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    with pretended_cuda(gpus=visible, gib=80.0):
        room = measured({"tasks_per_node": processes, "gpus_per_node": gpus, "mem_gb": None}, gpu=True)
    assert room.gib == pytest.approx(80.0 * share)


def at_work():
    """A sampler with an engine that shares the trainer's device."""
    sampler = object.__new__(VllmSampler)
    sampler.processes, sampler.version, sampler.engines = SimpleNamespace(shared=True), 1, ["an engine"]
    sampler.requests = ThreadPoolExecutor(1)
    return sampler


def test_vllm_gets_the_memory_that_the_trainer_has_freed():
    sampler = at_work()
    released = []
    weights = SimpleNamespace(version=2, release=lambda: released.append(1))
    with pretended_cuda(), patch("torch.cuda.empty_cache") as empty, pytest.raises(AttributeError):
        torch.set_default_device("cuda")
        VllmSampler._sync(sampler, weights)  # it stops where the weights would be gathered
    empty.assert_called_once()
    assert released == [1]


def test_vllm_gets_the_memory_of_gathered_weights_before_its_cache_wakes():
    order = []

    @contextmanager
    def full_model():
        order.append("gathered")
        yield None
        order.append("freed")

    sampler = at_work()
    sampler._collectively = lambda work: order.append("weights wake")
    with pretended_cuda(), patch("torch.cuda.empty_cache", lambda: order.append("emptied")):
        torch.set_default_device("cuda")
        weights = SimpleNamespace(version=2, full_model=full_model, release=lambda: order.append("released"))
        VllmSampler._sync(sampler, weights)
    assert order == ["released", "emptied", "gathered", "weights wake", "freed", "emptied"]


@pytest.mark.parametrize(("device", "expected"), [("cuda", [timedelta(minutes=60)]), ("cpu", [])])
def test_waiting_for_another_gpu_has_an_end(device, expected, monkeypatch):
    limits, joins = [], []
    backend_of_gpus = SimpleNamespace(_set_default_timeout=limits.append)
    group = SimpleNamespace(_get_backend=lambda of: backend_of_gpus if of.type == "cuda" else None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pretended_cuda(), monkeypatch.context() as patched:
        torch.set_default_device(device)
        patched.setattr(dist, "init_process_group", lambda name, timeout: joins.append((name, timeout)))
        patched.setattr(dist, "destroy_process_group", lambda: None)
        patched.setattr(dist.distributed_c10d, "_get_default_group", lambda: group)
        with joined(gpu_minutes=60):
            pass
    assert limits == expected
    assert joins == [(backend_name(device), timedelta(days=7))]  # the others wait while one builds, saves or asks


def backend_name(device):
    return "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"


def test_a_new_task_gets_the_gpu_that_is_free():
    pool = SimpleNamespace(devices=["0", "1", "2"], running={}, taken={})

    def start(name, count=1):
        pool.taken[name] = LocalPool._gpus(pool, count)
        pool.running[name] = True
        return pool.taken[name]

    assert [start("a"), start("b"), start("c")] == [["0"], ["1"], ["2"]]
    del pool.running["c"]
    assert start("d") == ["2"]
    del pool.running["b"]
    assert start("e", 2) == ["1", "0"]
    assert start("f", 0) == []


@pytest.mark.parametrize("file", sorted(path.stem for path in (conf_folder() / "hardware").glob("*.yaml")))
def test_processes_of_every_hardware_can_share_the_default_batch(file):
    values = OmegaConf.load(conf_folder() / "hardware" / f"{file}.yaml")
    place, numerics, vllm = (values.get(part, {}) for part in ("placement", "numerics", "vllm"))
    processes = place.get("nodes", 1) * place.get("tasks_per_node", 1)
    assert place.get("tasks_per_node", 1) + vllm.get("gpus", 0) <= max(1, place.get("gpus_per_node", 0) or processes)
    plan, equal = composed("algo=rloo")["train"], hardware_validation.TOGETHER.get(numerics.get("engine"))
    assert hardware_validation._shares(plan, needs_of("rloo"), processes, equal=equal) == []


@pytest.mark.parametrize("file", ["gpu", "slurm_gpu", "gpu_8_vllm", "gpu_8_fsdp", "gpu_8_zero3"])
def test_every_gpu_trains_in_bfloat16(file):
    assert OmegaConf.load(conf_folder() / "hardware" / f"{file}.yaml").numerics.dtype == "bfloat16"


def test_the_manifest_names_the_gpu_and_its_libraries_and_compare_holds_runs_to_them(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    manifests = {}
    for gpu in ("H100", "H200"):
        with patch("tests.cuda.pretended.machine.NAME", gpu):
            trained = train(config(*RLOO, "train.steps=1", study=gpu, device="cuda"))
        manifests[gpu] = json.loads((trained.path / "manifest.json").read_text())
    assert {"gpu", "cuda", "attention"} <= manifests["H100"]["machine"].keys()
    hashes = {name: manifest["hashes"] for name, manifest in manifests.items()}
    assert (hashes["H100"]["gpu"], hashes["H100"]["cuda"]) == ("H100", "13.0")
    assert hashes["H100"]["attention"] == "flash, efficient, math"
    runs = [
        Run(name=name, algo="rloo", seed=0, fields={}, hashes=found, labels={}, spent={}, rows=None)
        for name, found in hashes.items()
    ]
    assert {field for field, values in settings(runs).items() if len(values) > 1} == {"gpu"}


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_deterministic_algorithms_suffice(top_p, monkeypatch):
    def cfg(study):
        return config(*RLOO, f"sampling.top_p={top_p}", study=study, device="cuda", numerics={"deterministic": True})

    trained = train(cfg("fixed"))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8" and os.environ["VLLM_BATCH_INVARIANT"] == "1"
    assert [row["step"] for row in trained.rows] == [0, 1, 2]
    with pytest.raises(Exception, match="cumsum does not have a deterministic implementation"):
        monkeypatch.setattr(torch_sampler, "running_sum", lambda x: x.cumsum(-1))
        train(cfg("careless"))


def test_sums_in_whole_units_are_those_of_floats():
    x = torch.rand(3, 5000, generator=torch.Generator().manual_seed(0))
    expected = x.double().cumsum(-1)
    with pretended_cuda():
        there = x.to("cuda")
        torch.use_deterministic_algorithms(True)
        sums, kept = running_sum(there).cpu(), nucleus(there, 0.5).cpu()
    assert (sums - expected).abs().max() < 1e-3 and sums.dtype == torch.float32
    assert (sums.diff(dim=-1) >= 0).all()
    torch.use_deterministic_algorithms(False)
    assert (kept - nucleus(x, 0.5)).count_nonzero() <= 3


def test_two_runs_that_differ_are_told(tmp_path, monkeypatch, capsys):
    cfg = config(*RLOO, study="twice", device="cuda", numerics={"deterministic": True})
    first = train(cfg).path
    second = shutil.move(first, tmp_path / "second")
    first = train(cfg).path
    assert deterministic.first_difference(first, second) == ""
    runs = iter([first, second] * 3)
    monkeypatch.setattr(deterministic, "train", lambda place, overrides: next(runs))
    assert deterministic.main([]) == 0
    other = train(config(*RLOO, "seed=1", study="twice", device="cuda")).path
    shutil.copytree(other / "checkpoints", second / "checkpoints", dirs_exist_ok=True)
    assert deterministic.main([]) == 1 and "weights" in capsys.readouterr().out
    shutil.copy(other / "metrics.jsonl", second)
    assert deterministic.main([]) == 1 and "metrics.jsonl" in capsys.readouterr().out


def test_two_runs_of_several_processes_that_differ_are_told(tmp_path):
    """Each process has written a slice of every weight."""
    for name, last in (("first", 5.0), ("equal", 5.0), ("other", 6.0)):
        weight, worlds = torch.tensor([1.0, 2.0, 3.0, 4.0, last]), ranks(2)
        checkpoints = Checkpoints(tmp_path / name / "checkpoints")

        def save(world, weight=weight, checkpoints=checkpoints):
            state = {"learner": {"policy": {"model": {"head": sliced(weight, world)}}}}
            checkpoints.save(1, state, keep=1, world=world)

        assert together([partial(save, world) for world in worlds], worlds[0].meeting) == [None] * 2
        for record in ("metrics.jsonl", "samples.jsonl"):
            (tmp_path / name / record).write_text("")
    found = [deterministic.first_difference(tmp_path / "first", tmp_path / name) for name in ("equal", "other")]
    assert found == ["", "the weights head and 0 others"]
