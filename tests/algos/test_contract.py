"""The contract that every registered algorithm fulfils."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys

import pytest
import torch

from align_lab.base import registry
from align_lab.base.errors import ConfigError
from align_lab.base.metrics import METRICS
from align_lab.base.types import Needs
from tests.algos.examples import ALGORITHMS, NAMES, batch, build, evaluate, policy_output, rollout, world

every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def refused() -> list[tuple[str, str, object]]:
    """For each field with bounds, values just outside them."""
    found = []
    for name in NAMES:
        for spec in dataclasses.fields(registry.lookup("algo", name)):
            rule = spec.metadata
            if rule["choices"]:
                found.append((name, spec.name, "nonsense"))
            for bound, step in {"low": -1, "above": 0, "high": 1}.items():
                if rule[bound] is not None:
                    found.append((name, spec.name, rule[bound] + step))
            if isinstance(spec.default, float):
                found.append((name, spec.name, float("nan")))
    return found


@every_algorithm
def test_needs_are_declared(name: str) -> None:
    """The loop reads what to prepare, and never asks for an algorithm's name."""
    needs = build(name).needs
    assert isinstance(needs, Needs)
    assert needs.min_group_size <= 2


@every_algorithm
def test_fields_have_a_meaning_and_a_plain_default(name: str) -> None:
    """A config leaf is a number, a word or a switch, with one line of help."""
    for spec in dataclasses.fields(build(name)):
        assert spec.metadata["help"]
        assert isinstance(spec.default, bool | int | float | str)


@every_algorithm
def test_advantages_have_the_rollouts_shape_and_no_gradient(name: str) -> None:
    """[P G T], 0 under the mask, finite; with a critic there are returns."""
    w = {key: x.requires_grad_() if key == "logp_old" else x for key, x in world(1, holes=True).items()}
    algorithm = build(name)
    with torch.no_grad():
        found, _ = algorithm.advantages(rollout(w), algorithm.init_state())
    assert found.advantage.shape == w["mask"].shape
    assert found.advantage.dtype == torch.float64
    assert not found.advantage.requires_grad
    assert found.advantage[~w["mask"]].eq(0).all()
    assert found.advantage.isfinite().all()
    assert (found.returns is not None) == (algorithm.needs.critic is not None)


@every_algorithm
def test_what_is_not_needed_may_be_absent(name: str) -> None:
    """Without a declared need, the reference and the critic are None."""
    algorithm, w = build(name), world(2)
    keep = {"logp_ref": algorithm.needs.reference, "value": algorithm.needs.critic is not None}
    absent = {key: None for key, needed in keep.items() if not needed}
    found, _ = algorithm.advantages(dataclasses.replace(rollout(w), **absent), algorithm.init_state())
    out = algorithm.loss(policy_output(algorithm, w), dataclasses.replace(batch(w, found), **absent))
    assert out.loss.isfinite()


@every_algorithm
def test_the_loss_is_a_finite_scalar_that_can_be_differentiated(name: str) -> None:
    """The policy gets a gradient, and the critic where there is one."""
    found = evaluate(build(name), world(3))
    assert found.loss.shape == ()
    assert found.loss.isfinite()
    assert found.grads[0].abs().sum() > 0
    assert (found.grads[1].abs().sum() > 0) == (build(name).needs.critic is not None)


@every_algorithm
def test_metrics_are_declared_detached_scalars(name: str) -> None:
    """Every key stands in the METRICS table."""
    algorithm, w = build(name), world(4)
    found, _ = algorithm.advantages(rollout(w), algorithm.init_state())
    out = algorithm.loss(policy_output(algorithm, w), batch(w, found))
    for metrics in (found.metrics, out.metrics):
        assert set(metrics) <= set(METRICS)
        assert all(value.shape == () and not value.requires_grad and value.isfinite() for value in metrics.values())
    assert "loss/policy_avg" in out.metrics


@every_algorithm
def test_the_state_survives_a_safe_checkpoint(name: str) -> None:
    """Saved, loaded without unpickling code, and continued, it gives what an uninterrupted run gives."""
    algorithm, file = build(name), io.BytesIO()
    _, state = algorithm.advantages(rollout(world(5)), algorithm.init_state())
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    ours, theirs = (algorithm.advantages(rollout(world(6)), kept) for kept in (state, loaded))
    assert torch.equal(ours[0].advantage, theirs[0].advantage)
    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=0)


@every_algorithm
def test_the_inputs_are_left_as_they_were(name: str) -> None:
    """Nothing is changed in place: neither the rollout nor the state."""
    algorithm, w = build(name), world(7)
    state, kept = algorithm.init_state(), {key: x.clone() for key, x in w.items()}
    before = {key: x.clone() for key, x in dict(state).items()}
    algorithm.advantages(rollout(w), state)
    evaluate(algorithm, w)
    torch.testing.assert_close(w, kept, rtol=0, atol=0)
    torch.testing.assert_close(dict(state), before, rtol=0, atol=0)


@pytest.mark.parametrize("name, field, value", refused())
def test_a_value_outside_its_bounds_is_refused(name: str, field: str, value: object) -> None:
    """The message names the field and the value."""
    with pytest.raises(ConfigError, match=field):
        registry.build("algo", {"name": name, field: value})


def test_a_schema_can_be_read_without_torch() -> None:
    """Importing every algorithm's module in a fresh interpreter loads no torch."""
    modules = sorted({registry.lookup("algo", name).__module__ for name in NAMES})
    command = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
