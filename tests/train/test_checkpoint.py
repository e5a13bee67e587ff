"""Checkpoints are complete or absent; old ones are pruned, but never the best one."""

import pytest
import torch

from align_lab.base.errors import DataError
from align_lab.train.checkpoint import Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    written = Checkpoints(tmp_path / "checkpoints")
    for step in (0, 10, 20, 30):
        if step == 10:
            written.mark_best(10, 0.5)
        written.save(step, {"weight": torch.full((3,), float(step)), "step": step}, keep=2)
    return written


def test_the_newest_and_the_best_checkpoints_are_kept(checkpoints):
    assert checkpoints.steps() == [10, 20, 30]
    assert checkpoints.best() == 10


def test_a_loaded_state_equals_the_saved_one(checkpoints):
    step, state = checkpoints.latest(print)
    assert step == 30
    assert torch.equal(state["weight"], torch.full((3,), 30.0))


def test_a_truncated_checkpoint_is_skipped_and_reported(checkpoints):
    path = checkpoints.root / "step-000030" / "state.pt"
    path.write_bytes(path.read_bytes()[:-20])
    notices = []
    step, _ = checkpoints.latest(notices.append)
    assert step == 20
    assert "step-000030 is damaged" in notices[0]
    with pytest.raises(DataError, match="damaged"):
        checkpoints.load(30)


def test_a_checkpoint_that_cannot_be_removed_does_not_end_the_run(checkpoints, tmp_path):
    """Somebody has put an old one elsewhere."""
    old = checkpoints.folder(20).rename(tmp_path / "elsewhere")
    checkpoints.folder(20).symlink_to(old, target_is_directory=True)
    checkpoints.save(40, {"step": 40}, keep=2)
    assert checkpoints.latest(print)[0] == 40 and (old / "state.pt").exists()


def test_a_checkpoint_that_is_saved_after_a_rewind_replaces_the_later_ones(checkpoints):
    checkpoints.save(25, {"step": 25}, keep=2)
    assert checkpoints.steps() == [10, 20, 25] and checkpoints.latest(print)[0] == 25


def test_a_folder_without_checkpoints_has_no_latest_one(tmp_path):
    assert Checkpoints(tmp_path).latest(print) is None
