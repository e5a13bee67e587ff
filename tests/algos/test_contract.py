"""The contract that every registered algorithm satisfies."""

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
from tests.algos.examples import ALGORITHMS, NAMES, batch, build, evaluate, experience, policy_output, rollout

every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def values_out_of_bounds() -> list[tuple[str, str, object]]:
    """For each field with bounds, values just outside them: (algorithm, field, value)."""
    cases = []
    for name in NAMES:
        for spec in dataclasses.fields(registry.lookup("algo", name)):
            rule = spec.metadata
            if rule["choices"]:
                cases.append((name, spec.name, "nonsense"))
            for bound, step in {"low": -1, "above": 0, "high": 1}.items():
                if rule[bound] is not None:
                    cases.append((name, spec.name, rule[bound] + step))
            if isinstance(spec.default, float):
                cases.append((name, spec.name, float("nan")))
    return cases


@every_algorithm
def test_needs_are_declared(name: str) -> None:
    """The loop reads from `needs` what to prepare, and never compares an algorithm's name."""
    needs = build(name).needs
    assert isinstance(needs, Needs)
    assert needs.min_group_size <= 2


@every_algorithm
def test_fields_have_a_meaning_and_a_plain_default(name: str) -> None:
    """A config leaf is a number, a string or a boolean, with one line of help."""
    for spec in dataclasses.fields(build(name)):
        assert spec.metadata["help"]
        assert isinstance(spec.default, bool | int | float | str)


@every_algorithm
def test_advantages_have_the_rollouts_shape_and_no_gradient(name: str) -> None:
    """[P G T], 0 under the mask, finite; with a critic there are returns."""
    w = {key: x.requires_grad_() if key == "logp_old" else x for key, x in experience(1, holes=True).items()}
    algorithm = build(name)
    with torch.no_grad():
        result, _ = algorithm.advantages(rollout(w), algorithm.init_state())
    assert result.advantage.shape == w["mask"].shape
    assert result.advantage.dtype == torch.float64
    assert not result.advantage.requires_grad
    assert result.advantage[~w["mask"]].eq(0).all()
    assert result.advantage.isfinite().all()
    assert (result.returns is not None) == (algorithm.needs.critic is not None)


@every_algorithm
def test_what_is_not_needed_may_be_absent(name: str) -> None:
    """The reference and the critic's values are None if the algorithm does not declare that it needs them."""
    algorithm, w = build(name), experience(2)
    required = {"logp_ref": algorithm.needs.reference, "value": algorithm.needs.critic is not None}
    absent = {key: None for key, needed in required.items() if not needed}
    advantages, _ = algorithm.advantages(dataclasses.replace(rollout(w), **absent), algorithm.init_state())
    out = algorithm.loss(policy_output(algorithm, w), dataclasses.replace(batch(w, advantages), **absent))
    assert out.loss.isfinite()


@every_algorithm
def test_the_loss_is_a_finite_scalar_that_can_be_differentiated(name: str) -> None:
    """The policy gets a gradient, and the critic where there is one."""
    result = evaluate(build(name), experience(3))
    assert result.loss.shape == ()
    assert result.loss.isfinite()
    assert result.grads[0].abs().sum() > 0
    assert (result.grads[1].abs().sum() > 0) == (build(name).needs.critic is not None)


@every_algorithm
def test_metrics_are_declared_detached_scalars(name: str) -> None:
    """Every key is declared in the METRICS table."""
    algorithm, w = build(name), experience(4)
    advantages, _ = algorithm.advantages(rollout(w), algorithm.init_state())
    out = algorithm.loss(policy_output(algorithm, w), batch(w, advantages))
    for metrics in (advantages.metrics, out.metrics):
        assert set(metrics) <= set(METRICS)
        assert all(value.shape == () and not value.requires_grad and value.isfinite() for value in metrics.values())
    assert "loss/policy_avg" in out.metrics


@every_algorithm
def test_the_state_survives_a_safe_checkpoint(name: str) -> None:
    """Saved and loaded without unpickling code, it continues as an uninterrupted run does."""
    algorithm, file = build(name), io.BytesIO()
    _, state = algorithm.advantages(rollout(experience(5)), algorithm.init_state())
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    uninterrupted, resumed = (algorithm.advantages(rollout(experience(6)), start) for start in (state, loaded))
    assert torch.equal(uninterrupted[0].advantage, resumed[0].advantage)
    torch.testing.assert_close(uninterrupted[1], resumed[1], rtol=0, atol=0)


@every_algorithm
def test_the_inputs_are_not_modified(name: str) -> None:
    """Neither the rollout nor the state is changed in place."""
    algorithm, w = build(name), experience(7)
    state, w_before = algorithm.init_state(), {key: x.clone() for key, x in w.items()}
    state_before = {key: x.clone() for key, x in dict(state).items()}
    algorithm.advantages(rollout(w), state)
    evaluate(algorithm, w)
    torch.testing.assert_close(w, w_before, rtol=0, atol=0)
    torch.testing.assert_close(dict(state), state_before, rtol=0, atol=0)


@pytest.mark.parametrize("name, field, value", values_out_of_bounds())
def test_a_value_outside_its_bounds_is_rejected(name: str, field: str, value: object) -> None:
    """The message names the field and the value."""
    with pytest.raises(ConfigError, match=field):
        registry.build("algo", {"name": name, field: value})


def test_a_schema_can_be_read_without_torch() -> None:
    """Importing every algorithm's module in a fresh interpreter loads no torch."""
    modules = sorted({registry.lookup("algo", name).__module__ for name in NAMES})
    command = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
