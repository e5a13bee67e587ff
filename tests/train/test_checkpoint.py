"""Checkpoints are whole or not there; old ones are pruned, the best one never."""

import pytest
import torch

from align_lab.base.errors import DataError
from align_lab.train.checkpoint import Checkpoints


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (0, 10, 20, 30):
        if step == 10:
            checkpoints.mark_best(10, 0.5)
        checkpoints.save(step, {"weight": torch.full((3,), float(step)), "step": step}, keep=2)
    return checkpoints


def test_the_newest_and_the_best_are_kept(saved):
    assert saved.steps() == [10, 20, 30]
    assert saved.best() == 10


def test_a_state_comes_back_as_it_was(saved):
    step, state = saved.latest(print)
    assert step == 30
    assert torch.equal(state["weight"], torch.full((3,), 30.0))


def test_a_checkpoint_cut_short_is_passed_over_and_said(saved):
    path = saved.root / "step-000030" / "state.pt"
    path.write_bytes(path.read_bytes()[:-20])
    said = []
    step, _ = saved.latest(said.append)
    assert step == 20
    assert "step-000030 is damaged" in said[0]
    with pytest.raises(DataError, match="damaged"):
        saved.load(30)


def test_none_is_found_where_there_is_none(tmp_path):
    assert Checkpoints(tmp_path).latest(print) is None
