"""FSDP, and DeepSpeed at every ZeRO stage, with two processes on gloo: all take the steps of a single torch process.

In float32 DeepSpeed sums gradients in another order, and AdamW makes a whole step of the sign of a gradient near 0. So
a weight in a thousand may be further away, by less than one update (lr 3e-3), after six of them; which ones, depends on
the processor. A gradient that is scaled, summed or gathered wrongly moves most weights. FSDP has float64 as well.
"""

import copy
import functools
import importlib.util
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from align_lab.base import registry
from align_lab.base.errors import DataError
from align_lab.base.world import World, joined
from align_lab.models.blocks import configure_blocks
from align_lab.models.lora_settings import Lora
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.engines.fsdp_engine import FsdpEngine
from align_lab.train.engines.torch_engine import TorchEngine
from align_lab.train.shards import of_ranks
from tests import rotation
from tests.train import arriving
from tests.train.small import FIELDS, algorithm, loop

registry.scan()
ALGOS = registry.names("algo")
PLAN = {"steps": 3, "epochs": 2}
ADAPTERS = Lora(rank=2, alpha=4)
ZERO = {f"zero{stage}": (stage, False) for stage in range(4)} | {"zero2_offload": (2, True), "zero3_offload": (3, True)}
STAGES = [stage for stage in ZERO if stage in {"zero3", *rotation.in_turn([*ZERO], "a ZeRO stage")}]
LIBRARIES = {"fsdp": ["fsdp"], "deepspeed": STAGES}  # in a run of all tests stage 3 and another part of the stages
DTYPE = {"fsdp": torch.float64} | dict.fromkeys(STAGES, torch.float32)
LR = 3e-3
BOUND = {torch.float64: 1e-10, torch.float32: LR / 100}
SHARE = {torch.float64: 0.0, torch.float32: 1e-3}  # of the weights that may be further away
ARRIVES = {  # engines whose processes have no more than their part of the weights -> the models that are tried
    "fsdp": arriving.TRAINED,
    "zero3": [case for case in arriving.TRAINED if not case[-1]],  # with adapters it is refused
}
RESUMED = "ppo_max"  # critic, critic pre-training, human text, running moments


def algorithms(label):
    """The algorithms that this engine is tried with: at each ZeRO stage another part of them in a run of all tests."""
    if label == "fsdp":
        return ALGOS
    return [RESUMED] if ZERO[label][1] else sorted({RESUMED, *rotation.in_turn(ALGOS, label)})


def precisions(label):
    """The precisions in which a run of this engine is saved and resumed."""
    return [DTYPE[label], *([torch.bfloat16] if label != "zero0" else [])]


def engine_of(label):
    if label == "fsdp":
        return FsdpEngine
    from align_lab.train.engines import deepspeed_engine as of

    of.SMALL = 0  # otherwise stage 3 would not shard this small model
    stage, offload = ZERO[label]
    return of.deepspeed_engine(stage=stage, offload=offload)


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


def releasing(it):
    """Let the loop's sampler have the memory of updates. Returns the bytes of the state of updates as it finds them."""
    sizes, sampler = [], it.source.sampler

    class Releasing(type(sampler)):
        def __call__(self, weights, *args, **options):
            for engine in it.learner.engines.values():
                tensors = [one for parts in engine.of_updates() for one in parts]
                engine.release()
                sizes.append(sum(one.untyped_storage().nbytes() for one in tensors))
            return super().__call__(weights, *args, **options)

    it.source.sampler = Releasing()
    it.evaluate = replace(it.evaluate, sampler=Releasing())
    return sizes


def with_checkpointing(engine):
    """The engine, for a model with gradient checkpointing."""

    def build(model, **options):
        configure_blocks(model, gradient_checkpointing=True, compiled=False)
        return engine(model, **options)

    return build


def one_of_two(rank, port, folder, library):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    with joined() as world:

        def together(state):
            """The whole state, of which each process has its slices."""
            return of_ranks(world.concatenate([state]))

        results = {}
        others = torch.load(f"{folder}/saved-for-{library}.pt")
        for label in LIBRARIES[library]:
            engine, own = engine_of(label), DTYPE[label]
            for name in algorithms(label):
                it = make(name, engine, world=world, dtype=own, micro_batch=4)
                it.run()
                results[label, name] = {
                    "state": together(it.learner.state_dict()),
                    "rows": it.journal.rows,
                    "saved": {step: together(state) for step, state in it.journal.saved.items()},
                }
            start = [row for row in it.journal.samples if row["step"] == 0]
            for dtype in precisions(label):
                whole = make(RESUMED, engine, world=world, dtype=dtype)
                whole.run()
                checkpoints = Checkpoints(Path(folder) / f"{label}-{dtype}")
                checkpoints.save(2, whole.journal.saved[2], keep=1, world=world)
                dist.barrier()
                resumed = continued(make(RESUMED, engine, world=world, dtype=dtype), checkpoints.load(2, world), start)
                results[label, dtype] = (together(whole.learner.state_dict()), together(resumed))
            for dtype in precisions(label):
                other = make(RESUMED, engine, world=world, dtype=dtype)
                sizes = releasing(other)
                other.run()
                results[label, dtype, "released"] = together(other.learner.state_dict()), sizes
            recomputing = make(RESUMED, with_checkpointing(engine), world=world, dtype=own)
            recomputing.run()
            results[label, "recomputed"] = together(recomputing.learner.state_dict())
            if label in ARRIVES:
                found = arriving.found(folder, rank, engine, ARRIVES[label])
                most = found["trained", *arriving.UNTIED]["peak"]  # of DeepSpeed with the optimizer state
                if label == "zero3":
                    most = arriving.most_while_sharded_by_deepspeed(folder, rank)
                results[label, "arrived"] = world.concatenate([found | {"most": most}])
            if label == "fsdp":
                adapted = make("rloo", engine, world=world, dtype=own, micro_batch=4, lora=ADAPTERS)
                adapted.run()
                results[label, "adapters"] = together(adapted.learner.state_dict())
                few = {"dtype": torch.bfloat16, "steps": 2, "epochs": 1}
                both = [make("ppo", one, world=world, **few) for one in (engine, TorchEngine)]
                for it in both:
                    it.run()
                results["both engines"] = [together(it.learner.state_dict()) for it in both]
            for writer, saved in others.items():
                other = make(RESUMED, engine, world=world, dtype=own, micro_batch=4)
                results[label, f"from {writer}"] = together(continued(other, saved, start))
        torch.save(results, f"{folder}/{library}-{rank}.pt")


@functools.cache
def single(name, dtype, **plan):
    """The run of a single process with the torch engine."""
    it = make(name, dtype=dtype, **plan)
    it.run()
    return it


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What two processes with an engine gave: a function of its label."""
    folder = tmp_path_factory.mktemp("engines")

    @functools.cache
    def of_library(library):
        saved = {"torch": single(RESUMED, DTYPE[LIBRARIES[library][0]]).journal.saved[2]}
        if library == "deepspeed":
            skip_without_deepspeed()
            saved["fsdp"] = of_library("fsdp")["fsdp", RESUMED]["saved"][2]
        arriving.write(folder)
        torch.save(saved, folder / f"saved-for-{library}.pt")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        mp.start_processes(one_of_two, args=(port, str(folder), library), nprocs=2, start_method="spawn")
        return torch.load(folder / f"{library}-0.pt", weights_only=False) | {"folder": folder}

    return lambda label: of_library(next(name for name, labels in LIBRARIES.items() if label in labels))


def skip_without_deepspeed():
    if importlib.util.find_spec("deepspeed") is None and os.environ.get("ALIGN_LAB_REQUIRE_ENGINES") != "1":
        pytest.skip('DeepSpeed is missing: pip install "align_lab[deepspeed]"')


@pytest.fixture
def group():
    """No process group remains that an engine makes for a single process."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def largest_difference(a, b):
    """The largest difference of a weight."""
    assert a.keys() == b.keys()
    pairs = [(a[m]["model"], b[m]["model"]) for m in a]
    assert all(x.keys() == y.keys() for x, y in pairs)
    return max(float((x[k] - y[k]).abs().max()) for x, y in pairs for k in x)


def close(a, b, dtype):
    """All weights are equal but for rounding."""
    pairs = [(a[m]["model"][name], b[m]["model"][name]) for m in a for name in a[m]["model"]]
    differences = torch.cat([(x - y).abs().flatten().double() for x, y in pairs])
    return largest_difference(a, b) < LR and (differences >= BOUND[dtype]).double().mean() <= SHARE[dtype]


def equal(a, b):
    """Weights and optimizer state are equal bit for bit."""
    for m in a:
        assert a[m]["optimizer"]["param_groups"] == b[m]["optimizer"]["param_groups"]
        assert a[m]["optimizer"]["state"].keys() == b[m]["optimizer"]["state"].keys()
        for number, state in a[m]["optimizer"]["state"].items():
            assert all(torch.equal(state[key], b[m]["optimizer"]["state"][number][key]) for key in state)
    return largest_difference(a, b) == 0


@pytest.mark.parametrize(("label", "name"), [(label, name) for label in DTYPE for name in algorithms(label)])
def test_two_processes_of_every_engine_take_the_steps_of_a_single_torch_process(results, label, name):
    found, expected = results(label)[label, name], single(name, DTYPE[label])
    assert close(found["state"], expected.learner.state_dict(), DTYPE[label])
    for a, b in zip(expected.journal.rows, found["rows"], strict=True):
        missing = {"optim/policy_grad_norm"} if name == RESUMED and b["step"] == 1 else set()  # it did not learn yet
        assert a.keys() - b.keys() == missing
        for key in b:
            if not key.startswith(("time/", "rewards/acc")):
                assert b[key] == pytest.approx(a[key], rel=1e-3, abs=1e-4), key


@pytest.mark.parametrize("label", DTYPE)
def test_a_run_resumes_exactly_also_from_and_to_other_engines_and_with_gradient_checkpointing(results, label, group):
    dtype, found = DTYPE[label], results(label)
    alone = single(RESUMED, dtype)
    assert equal(*found[label, dtype])
    for how in ["recomputed", "from torch", *(["from fsdp"] if label != "fsdp" else [])]:
        assert close(found[label, how], alone.learner.state_dict(), dtype)
    start = [row for row in alone.journal.samples if row["step"] == 0]
    for other in (TorchEngine, FsdpEngine):  # in a single process
        taken_over = continued(make(RESUMED, other, dtype=dtype), found[label, RESUMED]["saved"][2], start)
        assert close(taken_over, found[label, RESUMED]["state"], dtype)


@pytest.mark.parametrize("label", [label for label in DTYPE if torch.bfloat16 in precisions(label)])
def test_bfloat16_trains_float32_master_weights_and_resumes_exactly(results, label):
    whole, resumed = results(label)[label, torch.bfloat16]
    weights = [value for model in whole.values() for value in model["model"].values()]
    assert {value.dtype for value in weights} == {torch.float32}
    assert any((value != value.bfloat16().float()).any() for value in weights)
    assert equal(whole, resumed)


@pytest.mark.parametrize(("label", "dtype"), [(label, dtype) for label in DTYPE for dtype in precisions(label)])
def test_where_the_sampler_gets_the_memory_of_updates_the_run_is_the_same(results, label, dtype):
    whole, _ = results(label)[label, dtype]
    other, sizes = results(label)[label, dtype, "released"]
    assert equal(whole, other) and not any(sizes)


def test_fsdp_in_bfloat16_rounds_where_the_torch_engine_does(results):
    """Of the same processes and micro-batches: then the gradients in bfloat16 are the same, in the first updates."""
    assert close(*results("fsdp")["both engines"], torch.float32)


def test_in_a_single_process_an_update_begins_again_where_memory_ran_out_in_the_middle_of_a_pass(group):
    it, failures = make("rloo", FsdpEngine, dtype=torch.float64), []

    def fail_once(*_):
        if torch.is_grad_enabled() and not failures:
            failures.append("block")
            raise torch.OutOfMemoryError("there is no more memory")

    it.learner.policy.blocks[1].register_forward_pre_hook(fail_once)
    it.run()
    assert failures and it.plan.micro_batch == 8
    expected = single("rloo", torch.float64).learner.state_dict()
    assert close(it.learner.state_dict(), expected, torch.float64)


def test_adapters_are_sharded_with_the_frozen_weights_that_they_share_with_the_reference(results):
    found = results("fsdp")["fsdp", "adapters"]
    alone = single("rloo", torch.float64, lora=ADAPTERS)
    assert found["policy"]["model"] and all(".lora_" in name for name in found["policy"]["model"])
    assert close(found, alone.learner.state_dict(), torch.float64)


@pytest.mark.parametrize(("label", "case"), [(label, case) for label in ARRIVES for case in ARRIVES[label]])
def test_every_process_gets_the_weights_and_the_angles_that_the_first_one_has_read(results, label, case):
    expected = arriving.read(results(label)["folder"], *case)
    weights, hidden = expected.hf_state(), expected.hidden(arriving.IDS)
    for of_rank in results(label)[label, "arrived"]:
        found = of_rank["trained", *case]
        assert found["state"].keys() == weights.keys() and found["adapted"] == bool(case[-1])
        assert all(torch.equal(found["state"][name], value) for name, value in weights.items())
        assert torch.equal(found["hidden"], hidden) and not found["lacking"]


@pytest.mark.parametrize("label", ARRIVES)
@pytest.mark.parametrize("case", arriving.FROZEN)
def test_the_reference_is_sharded_too(results, label, case):
    expected = arriving.read(results(label)["folder"], *case)(arriving.IDS, None, arriving.MASK)
    for of_rank in results(label)[label, "arrived"]:
        found = of_rank["frozen", *case]
        torch.testing.assert_close(found["logp"], expected, rtol=1e-6, atol=1e-6)
        assert not found["lacking"]


@pytest.mark.parametrize("label", ARRIVES)
def test_a_critic_begins_with_the_weights_of_the_reward_in_every_process(results, label):
    model, head = arriving.scorer(results(label)["folder"])
    expected = model.hidden(arriving.IDS)[:, -4:-1] @ head
    for of_rank in results(label)[label, "arrived"]:
        torch.testing.assert_close(of_rank["critic"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("label", ARRIVES)
def test_no_process_but_the_first_ever_has_more_than_its_part_and_a_unit_of_the_model(results, label):
    """In float32 the part is half of the weights, and a unit is a block of eight, or all that is in no block."""
    model = arriving.read(results(label)["folder"], *arriving.UNTIED)
    size = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert size / 2 <= results(label)[label, "arrived"][1]["most"] < size * (1 / 2 + 1 / 6)


def test_the_state_of_another_model_is_rejected():
    it = make("rloo")
    state = it.learner.state_dict()
    del state["policy"]["model"]["norm.weight"]
    with pytest.raises(DataError, match=r"another model: norm.weight does not fit \(1 such"):
        it.learner.load_state_dict(state)
