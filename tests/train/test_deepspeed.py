"""DeepSpeed with two processes on gloo: every algorithm at every ZeRO stage takes the steps of a single torch process.

In float32 DeepSpeed sums gradients in another order, and AdamW amplifies the sign of a gradient near 0. The bounds are
a fraction of one update (lr 3e-3), after six updates. Each was measured and has a margin.
"""

import copy
import importlib.util
import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from align_lab.base import registry
from align_lab.base.errors import DataError
from align_lab.base.world import World, joined
from align_lab.models.blocks import configure_blocks
from align_lab.train.engines.torch_engine import TorchEngine
from tests.train.small import FIELDS, algorithm, loop

if importlib.util.find_spec("deepspeed") is None and os.environ.get("ALIGN_LAB_REQUIRE_ENGINES") != "1":
    pytest.skip('DeepSpeed is missing: pip install "align_lab[deepspeed]"', allow_module_level=True)

registry.scan()
ALGOS = registry.names("algo")
PLAN = {"steps": 3, "epochs": 2}
BOUND = 3e-5
ENGINES = {f"zero{stage}": (stage, False) for stage in range(4)} | {
    "zero2_offload": (2, True),
    "zero3_offload": (3, True),
}
RESUMED = "ppo_max"  # critic, critic pre-training, human text, running moments


def make(name, engine=TorchEngine, *, world=World(), dtype=torch.float32, **plan):
    algo = algorithm(name, **FIELDS.get(name, {}))
    prompts = 20 if 0 < algo.needs.pairs < 1 else 4  # of a mixture, both processes sample for equally many
    values = {**PLAN, "prompts_per_step": prompts, **plan}
    return loop(algo, make_engine=engine, world=world, dtype=dtype, **values)


def continued(it, state, start):
    it.load_state_dict(copy.deepcopy(state))
    it.start_rows = start
    it.run()
    return it.learner.state_dict()


def with_checkpointing(engine):
    """The engine, for a model with gradient checkpointing."""

    def build(model, **options):
        configure_blocks(model, gradient_checkpointing=True, compiled=False)
        return engine(model, **options)

    return build


def one_of_two(rank, port, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    from align_lab.train.engines import deepspeed_engine as of
    from align_lab.train.engines.deepspeed_engine import deepspeed_engine

    of.SMALL = 0  # otherwise stage 3 would not shard this small model
    with joined() as world:
        results = {}
        from_torch = torch.load(f"{folder}/torch.pt")
        for label, (stage, offload) in ENGINES.items():
            engine = deepspeed_engine(stage=stage, offload=offload)
            for name in ALGOS if not offload else [RESUMED]:
                it = make(name, engine, world=world, micro_batch=4)
                it.run()
                results[label, name] = {
                    "state": it.learner.state_dict(),
                    "rows": it.journal.rows,
                    "saved": it.journal.saved,
                }
            start = [row for row in it.journal.samples if row["step"] == 0]
            for dtype in (torch.float32, torch.bfloat16) if stage else (torch.float32,):
                whole = make(RESUMED, engine, world=world, dtype=dtype)
                whole.run()
                saved = [whole.journal.saved[2]]
                dist.broadcast_object_list(saved, src=0)  # in a run, all processes read the file of rank 0
                resumed = make(RESUMED, engine, world=world, dtype=dtype)
                results[label, dtype] = (whole.learner.state_dict(), continued(resumed, saved[0], start))
            recomputing = make(RESUMED, with_checkpointing(engine), world=world)
            recomputing.run()
            results[label, "recomputed"] = recomputing.learner.state_dict()
            other = make(RESUMED, engine, world=world, micro_batch=4)
            results[label, "from torch"] = continued(other, from_torch["saved"], start)
        torch.save(results, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def single():
    runs = {name: make(name) for name in ALGOS}
    for it in runs.values():
        it.run()
    return runs


@pytest.fixture(scope="module")
def results(single, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deepspeed")
    torch.save({"saved": single[RESUMED].journal.saved[2]}, folder / "torch.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(one_of_two, args=(port, str(folder)), nprocs=2, start_method="spawn")
    return torch.load(folder / "0.pt", weights_only=False)


def largest_difference(a, b):
    """The largest difference of a weight."""
    assert a.keys() == b.keys()
    pairs = [(a[m]["model"], b[m]["model"]) for m in a]
    assert all(x.keys() == y.keys() for x, y in pairs)
    return max(float((x[k] - y[k]).abs().max()) for x, y in pairs for k in x)


def equal(a, b):
    """Weights and optimizer state are equal bit for bit."""
    for m in a:
        assert a[m]["optimizer"]["param_groups"] == b[m]["optimizer"]["param_groups"]
        assert a[m]["optimizer"]["state"].keys() == b[m]["optimizer"]["state"].keys()
        for number, state in a[m]["optimizer"]["state"].items():
            assert all(torch.equal(state[key], b[m]["optimizer"]["state"][number][key]) for key in state)
    return largest_difference(a, b) == 0


@pytest.mark.parametrize(
    ("label", "name"), [(e, a) for e, (_, offload) in ENGINES.items() for a in ([RESUMED] if offload else ALGOS)]
)
def test_two_processes_at_every_stage_take_the_steps_of_a_single_torch_process(results, single, label, name):
    assert largest_difference(results[label, name]["state"], single[name].learner.state_dict()) < BOUND
    for a, b in zip(single[name].journal.rows, results[label, name]["rows"], strict=True):
        missing = {"optim/policy_grad_norm"} if name == RESUMED and b["step"] == 1 else set()  # it did not learn yet
        assert a.keys() - b.keys() == missing
        for key in b:
            if not key.startswith(("time/", "rewards/acc")):
                assert b[key] == pytest.approx(a[key], rel=1e-3, abs=1e-4), key


@pytest.mark.parametrize("label", ENGINES)
def test_a_run_resumes_exactly_also_from_and_to_torch_and_with_gradient_checkpointing(results, single, label):
    assert equal(*results[label, torch.float32])
    assert largest_difference(results[label, "from torch"], single[RESUMED].learner.state_dict()) < BOUND
    start = [row for row in single[RESUMED].journal.samples if row["step"] == 0]
    assert largest_difference(results[label, "recomputed"], single[RESUMED].learner.state_dict()) < BOUND
    to_torch = continued(make(RESUMED), results[label, RESUMED]["saved"][2], start)
    assert largest_difference(to_torch, results[label, RESUMED]["state"]) < BOUND


@pytest.mark.parametrize("label", [label for label, (stage, _) in ENGINES.items() if stage])
def test_bfloat16_trains_float32_master_weights_and_resumes_exactly(results, label):
    whole, resumed = results[label, torch.bfloat16]
    weights = [value for model in whole.values() for value in model["model"].values()]
    assert {value.dtype for value in weights} == {torch.float32}
    assert any((value != value.bfloat16().float()).any() for value in weights)
    assert equal(whole, resumed)


def test_the_state_of_another_model_is_rejected():
    it = make("rloo")
    state = it.learner.state_dict()
    del state["policy"]["model"]["norm.weight"]
    with pytest.raises(DataError, match=r"another model: norm.weight does not fit \(1 such"):
        it.learner.load_state_dict(state)
