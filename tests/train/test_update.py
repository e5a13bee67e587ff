"""The result of an update does not depend on how it is split over processes and micro-batches."""

import gc
import os
import socket
import weakref
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from align_lab.base import registry
from align_lab.base.errors import AlignLabError, DivergedError
from align_lab.base.types import LossOutput
from align_lab.base.world import World, joined
from align_lab.models.lora_settings import Lora
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.engines.engine import learning, load_weights
from align_lab.train.minibatch import StepContext
from align_lab.train.saver import Saver
from align_lab.train.shards import plain, sliced
from align_lab.train.update import update
from tests.train.small import FIELDS, Memory, algorithm, loop, rows

registry.scan()
ALGOS = registry.names("algo")


NOISE = {"rewards/accuracies"}  # before the first update every margin is 0 up to rounding, so its sign is random


def built(name, **plan):
    """Where only a share of the prompts is sampled for, it has one for each of four processes."""
    algo = algorithm(name, **FIELDS.get(name, {}))
    prompts = 14 if 0 < algo.needs.pairs < 1 else 4
    return loop(algo, **{"dtype": torch.float64, "steps": 3, "epochs": 2, "prompts_per_step": prompts, **plan})


def trained(name, **plan):
    it = built(name, **{"minibatches": 2, **plan})
    it.run()
    return it


def weights(it):
    return torch.cat(
        [parameter.detach().flatten() for e in it.learner.engines.values() for parameter in e.model.parameters()]
    )


@pytest.mark.parametrize("name", ALGOS)
def test_micro_batches_change_nothing(name):
    whole, parts = trained(name), trained(name, micro_batch=4)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=0, atol=1e-9)
    for a, b in zip(whole.journal.rows, parts.journal.rows, strict=True):
        for key in a:
            if key not in NOISE and not key.startswith("time/"):
                assert b[key] == pytest.approx(a[key], abs=1e-8), key


def test_when_memory_runs_out_the_update_restarts_with_half_the_micro_batch_and_gives_the_same_result(capsys):
    it = loop(algorithm("rloo"), dtype=torch.float64, steps=3, minibatches=2, epochs=2)
    real_loss = type(it.algo).loss

    class OutOfMemory(type(it.algo)):
        def loss(self, now, x):
            if len(x.mask) > 1:
                torch.empty(1 << 50)  # more than any machine has: raises torch's own error
            return real_loss(self, now, x)

    it.algo = OutOfMemory()
    it.run()
    assert it.plan.micro_batch == 4  # one group, because two did not fit
    assert capsys.readouterr().err.count("memory ran out") == 1
    torch.testing.assert_close(weights(it), weights(trained("rloo")), rtol=0, atol=1e-9)


def test_the_second_attempt_has_the_memory_of_the_first():
    """Without the help of the garbage collector, which comes when it likes."""
    it, held, free = loop(algorithm("rloo"), steps=1), [], []
    real_loss = type(it.algo).loss

    class OutOfMemory(type(it.algo)):
        def loss(self, now, x):
            if not held:
                held.append(weakref.ref(now.logp))
                raise torch.OutOfMemoryError("CUDA out of memory.")
            free.append(held[0]() is None)
            return real_loss(self, now, x)

    it.algo = OutOfMemory()
    gc.collect()
    gc.disable()
    try:
        it.run()
    finally:
        gc.enable()
    assert free and all(free)


def test_when_one_group_does_not_fit_the_error_says_what_to_change():
    it = loop(algorithm("rloo"))

    class OutOfMemory(type(it.algo)):
        def loss(self, now, x):
            return torch.empty(1 << 50)

    it.algo = OutOfMemory()
    with pytest.raises(AlignLabError, match="gradient_checkpointing=true"):
        it.run()


def test_where_a_failed_process_can_agree_on_nothing_the_run_ends_and_the_error_says_what_to_change():
    """The backward pass of a sharding engine waits for the other processes, which are in the middle of theirs."""
    it = loop(algorithm("rloo"), micro_batch=8)
    it.learner.engines["policy"].waits = True

    class OutOfMemory(type(it.algo)):
        def loss(self, now, x):
            return torch.empty(1 << 50)

    experience = it.source.collect(0, groups=2).experience
    advantage, _ = it.algo.advantages(experience.rollout, ())
    with pytest.raises(AlignLabError, match=r"8 completions in a forward pass. Set train.micro_batch=4"):
        context = StepContext(step=0, seed=0, world=World(rank=1, size=2))
        update(it.learner, OutOfMemory(), experience, advantage, context)


ALGOS_BY_COUNT = {2: ALGOS, 3: ["dpo", "ppo_max"], 4: ["dpo", "ppo_max"]}  # number of processes: algorithms


def train_as_one_process(rank: int, port: int, count: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(count)}
    torch.set_num_threads(1)
    with joined() as world:
        for name in ALGOS_BY_COUNT[count]:
            it = built(name, minibatches=2 if count == 2 else 1, micro_batch=4, world=world)
            it.run()
            torch.save({"weights": weights(it), "rows": it.journal.rows}, f"{folder}/{name}-{rank}.pt")
        save_while_they_agree(world, Path(folder) / "checkpoints")


def save_while_they_agree(world: World, folder: Path) -> None:
    """Five checkpoints are written in the background; meanwhile the processes agree on other things."""
    saver, weight = Saver(Checkpoints(folder), keep=2, world=world), torch.zeros(1001)
    saver.go_on()
    for step in range(1, 6):
        weight += 1
        saver.save(step, {"weight": sliced(weight, world), "step": step}, best=0.5 if step == 2 else None)
        agreed = [world.max(number + world.rank) for number in range(50)]
        assert agreed == [number + world.size - 1 for number in range(50)]
        assert world.concatenate([world.rank]) == list(range(world.size))
    saver.settle()


@pytest.mark.nightly
@pytest.mark.parametrize("count", ALGOS_BY_COUNT)
def test_several_processes_take_the_same_steps_as_one(tmp_path, count):
    """Rollouts, whitening over the global batch, gradients, metrics and evaluations, to 1e-6 in float64.

    Three processes share the four prompts of a step and the eight of an evaluation unequally; four have one each, which
    test_ranks.py has for every algorithm. Their checkpoints are written while they agree on other things.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(train_as_one_process, args=(port, count, str(tmp_path)), nprocs=count, start_method="spawn")
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.steps() == [2, 4, 5] and checkpoints.best() == 2
    for step in checkpoints.steps():
        assert torch.equal(plain(checkpoints.load(step))["weight"], torch.full((1001,), float(step)))
    for name in ALGOS_BY_COUNT[count]:
        alone = trained(name, minibatches=2 if count == 2 else 1)
        together = [torch.load(tmp_path / f"{name}-{rank}.pt") for rank in range(count)]
        for process in together:
            torch.testing.assert_close(
                process["weights"], weights(alone), rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
            )
        for a, b in zip(alone.journal.rows, together[0]["rows"], strict=True):
            for key in a:
                if key not in NOISE and not key.startswith("time/"):
                    assert b[key] == pytest.approx(a[key], abs=1e-6), (name, key)


@pytest.mark.parametrize("name", ["rloo", "ppo_max"])
def test_bfloat16_trains_float32_master_weights_and_resumes_exactly(name):
    """A step of 3e-6 is lost in the rounding of a bfloat16 weight of 1, but not in its float32 master weight; the
    gradients of micro-batches are added in float32 too."""
    settings = {"dtype": torch.bfloat16, "lr": 3e-6, "critic_lr": 3e-6, "micro_batch": 4}
    it = loop(algorithm(name, **FIELDS.get(name, {})), **settings)
    it.run()
    start, end = (it.journal.saved[step]["learner"]["policy"]["model"] for step in (0, 4))
    assert {value.dtype for value in end.values()} == {torch.float32}
    assert all((end[key] != start[key]).any() for key in end)
    for key, parameter in it.learner.policy.named_parameters():
        assert torch.equal(parameter, end[key].bfloat16())
    resumed = loop(algorithm(name, **FIELDS.get(name, {})), **settings)
    resumed.load_state_dict(it.journal.saved[2])
    resumed.start_rows = [row for row in it.journal.samples if row["step"] == 0]
    resumed.run()
    assert rows(resumed) == rows(it)[3:]
    assert all(torch.equal(resumed.journal.saved[4]["learner"]["policy"]["model"][key], end[key]) for key in end)


def test_only_trainable_parameters_are_saved():
    pytest.importorskip("peft")
    it = loop(algorithm("rloo"), lora=Lora(rank=2))
    it.run()
    state = it.learner.state_dict()["policy"]
    assert state["model"] and all(".lora_" in name for name in state["model"])
    assert len(state["optimizer"]["state"]) == len(state["model"])
    other = loop(algorithm("rloo"), lora=Lora(rank=2))
    load_weights(other.learner.policy, state["model"])
    assert all(torch.equal(value, dict(learning(other.learner.policy))[name]) for name, value in state["model"].items())


def test_a_loss_that_is_not_finite_stops_the_run_before_any_weight_changes():
    it = loop(algorithm("rloo"))
    real_loss, calls = type(it.algo).loss, []

    class Broken(type(it.algo)):
        def loss(self, now, x):
            calls.append(1)
            out = real_loss(self, now, x)
            return LossOutput(loss=out.loss * float("nan"), metrics=out.metrics) if len(calls) == 3 else out

    it.algo = Broken()
    with pytest.raises(DivergedError, match="loss is not finite.*last good checkpoint"):
        it.run()
    journal = it.journal
    assert isinstance(journal, Memory)
    assert sorted(journal.saved) == [0, 1, 2]  # nothing of the third step is recorded
    assert len(journal.rows) == 3
    for name, value in it.learner.policy.state_dict().items():
        torch.testing.assert_close(value, journal.saved[2]["learner"]["policy"]["model"][name], rtol=0, atol=0)


def test_critic_pretraining_leaves_the_policy_unchanged():
    it = loop(algorithm("ppo_max", critic_init="policy", critic_pretrain_steps=2), steps=2)
    before = {name: value.clone() for name, value in it.learner.policy.state_dict().items()}
    head = it.learner.critic.head.clone()
    it.run()
    assert all(torch.equal(value, before[name]) for name, value in it.learner.policy.state_dict().items())
    assert not torch.equal(it.learner.critic.head, head)
