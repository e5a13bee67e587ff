"""Real DeepSpeed, two processes and gloo: every algorithm at every ZeRO stage takes the steps of one plain process.

float32: DeepSpeed adds gradients up in another order, and AdamW makes much of the sign of a gradient near 0. The bounds
are a fraction of one update (lr 3e-3), after six. Each was measured, and is stated with some room.
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
    fields = FIELDS.get(name, {})
    return loop(algorithm(name, **fields), make_engine=engine, world=world, dtype=dtype, **{**PLAN, **plan})


def continued(it, state, start):
    it.load_state_dict(copy.deepcopy(state))
    it.start_rows = start
    it.run()
    return it.learner.state_dict()


def again_and(engine):
    """The engine, of a model whose blocks compute again in the backward pass."""

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

    of.SMALL = 0  # else stage 3 would leave all of this model whole
    with joined() as world:
        found = {}
        from_torch = torch.load(f"{folder}/torch.pt")
        for label, (stage, offload) in ENGINES.items():
            engine = deepspeed_engine(stage=stage, offload=offload)
            for name in ALGOS if not offload else [RESUMED]:
                it = make(name, engine, world=world, micro_batch=4)
                it.run()
                found[label, name] = {
                    "state": it.learner.state_dict(),
                    "rows": it.journal.rows,
                    "saved": it.journal.saved,
                }
            start = [row for row in it.journal.samples if row["step"] == 0]
            for dtype in (torch.float32, torch.bfloat16) if stage else (torch.float32,):
                whole = make(RESUMED, engine, world=world, dtype=dtype)
                whole.run()
                saved = [whole.journal.saved[2]]
                dist.broadcast_object_list(saved, src=0)  # the others read it from the first one's file
                again = make(RESUMED, engine, world=world, dtype=dtype)
                found[label, dtype] = (whole.learner.state_dict(), continued(again, saved[0], start))
            recomputing = make(RESUMED, again_and(engine), world=world)
            recomputing.run()
            found[label, "recomputed"] = recomputing.learner.state_dict()
            other = make(RESUMED, engine, world=world, micro_batch=4)
            found[label, "from torch"] = continued(other, from_torch["saved"], start)
        torch.save(found, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def alone():
    runs = {name: make(name) for name in ALGOS}
    for it in runs.values():
        it.run()
    return runs


@pytest.fixture(scope="module")
def found(alone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deepspeed")
    torch.save({"saved": alone[RESUMED].journal.saved[2]}, folder / "torch.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(one_of_two, args=(port, str(folder)), nprocs=2, start_method="spawn")
    return torch.load(folder / "0.pt", weights_only=False)


def gap(a, b):
    """The largest difference of a weight."""
    assert a.keys() == b.keys()
    pairs = [(a[m]["model"], b[m]["model"]) for m in a]
    assert all(x.keys() == y.keys() for x, y in pairs)
    return max(float((x[k] - y[k]).abs().max()) for x, y in pairs for k in x)


def equal(a, b):
    """Weights and optimiser state, bit for bit."""
    for m in a:
        assert a[m]["optimizer"]["param_groups"] == b[m]["optimizer"]["param_groups"]
        assert a[m]["optimizer"]["state"].keys() == b[m]["optimizer"]["state"].keys()
        for number, state in a[m]["optimizer"]["state"].items():
            assert all(torch.equal(state[key], b[m]["optimizer"]["state"][number][key]) for key in state)
    return gap(a, b) == 0


@pytest.mark.parametrize(
    ("label", "name"), [(e, a) for e, (_, offload) in ENGINES.items() for a in ([RESUMED] if offload else ALGOS)]
)
def test_two_processes_of_every_stage_take_the_steps_of_one_plain_process(found, alone, label, name):
    assert gap(found[label, name]["state"], alone[name].learner.state_dict()) < BOUND
    for a, b in zip(alone[name].journal.rows, found[label, name]["rows"], strict=True):
        missing = {"optim/policy_grad_norm"} if name == RESUMED and b["step"] == 1 else set()  # it did not learn yet
        assert a.keys() - b.keys() == missing
        for key in b:
            if not key.startswith(("time/", "rewards/acc")):
                assert b[key] == pytest.approx(a[key], rel=1e-3, abs=1e-4), key


@pytest.mark.parametrize("label", ENGINES)
def test_a_run_goes_on_exactly_and_from_or_to_plain_torch_and_blocks_may_compute_again(found, alone, label):
    assert equal(*found[label, torch.float32])
    assert gap(found[label, "from torch"], alone[RESUMED].learner.state_dict()) < BOUND
    start = [row for row in alone[RESUMED].journal.samples if row["step"] == 0]
    assert gap(found[label, "recomputed"], alone[RESUMED].learner.state_dict()) < BOUND
    to_torch = continued(make(RESUMED), found[label, RESUMED]["saved"][2], start)
    assert gap(to_torch, found[label, RESUMED]["state"]) < BOUND


@pytest.mark.parametrize("label", [label for label, (stage, _) in ENGINES.items() if stage])
def test_bfloat16_keeps_float32_weights_and_goes_on_exactly(found, label):
    whole, again = found[label, torch.bfloat16]
    weights = [value for model in whole.values() for value in model["model"].values()]
    assert {value.dtype for value in weights} == {torch.float32}
    assert any((value != value.bfloat16().float()).any() for value in weights)
    assert equal(whole, again)


def test_the_state_of_another_model_is_refused():
    it = make("rloo")
    state = it.learner.state_dict()
    del state["policy"]["model"]["norm.weight"]
    with pytest.raises(DataError, match=r"another model: norm.weight does not fit \(1 such"):
        it.learner.load_state_dict(state)
