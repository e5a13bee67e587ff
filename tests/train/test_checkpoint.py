"""Checkpoints are complete or absent; old ones are pruned, but never the best one."""

import threading
from functools import partial

import pytest
import torch

from align_lab.base.errors import DataError
from align_lab.base.world import World
from align_lab.train import checkpoint
from align_lab.train.background import Background
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.saver import Saver
from align_lab.train.shards import Slice, snapshot


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


class Slow:
    """A disk that takes its time: writing begins, and ends when it is allowed to."""

    def __init__(self, monkeypatch):
        self.began, self.allowed, self.write = threading.Semaphore(0), threading.Semaphore(0), checkpoint._write
        self.writing = 0
        monkeypatch.setattr(checkpoint, "_write", self._slowly)

    def _slowly(self, state, path):
        self.writing += 1
        assert self.writing == 1  # never two at a time
        self.began.release()
        assert self.allowed.acquire(timeout=60)
        self.write(state, path)
        self.writing -= 1


@pytest.fixture
def saver(tmp_path):
    it = Saver(Checkpoints(tmp_path / "checkpoints"), keep=2, world=World())
    it.go_on()
    return it


def test_the_training_goes_on_while_a_checkpoint_is_written_of_the_state_as_it_was(saver, monkeypatch):
    disk, weight = Slow(monkeypatch), torch.zeros(3)
    saver.save(1, {"weight": weight, "nested": {"counts": [weight, 5]}}, best=0.5)
    assert disk.began.acquire(timeout=60)
    weight += 1  # the next update
    assert saver.checkpoints.steps() == [] and saver.checkpoints.best() is None
    disk.allowed.release()
    saver.settle()
    state = saver.checkpoints.load(1)
    assert state["weight"].tolist() == [0, 0, 0] and state["nested"]["counts"][0].tolist() == [0, 0, 0]
    assert state["nested"]["counts"][1] == 5 and saver.checkpoints.best() == 1


def test_the_next_checkpoint_waits_until_the_one_before_is_on_the_disk(saver, monkeypatch):
    disk, saved = Slow(monkeypatch), []
    saver.save(1, {"step": 1}, best=None)
    assert disk.began.acquire(timeout=60)
    other = threading.Thread(target=lambda: saved.append(saver.save(2, {"step": 2}, best=None)))
    other.start()
    other.join(0.2)
    assert not saved and saver.checkpoints.steps() == []
    for _ in range(2):
        disk.allowed.release()
    other.join(60)
    saver.settle()
    assert saved and saver.checkpoints.steps() == [1, 2]


def test_where_a_checkpoint_cannot_be_written_the_next_one_or_the_end_says_so_and_the_one_before_stays(
    saver, monkeypatch
):
    saver.save(1, {"step": 1}, best=None)
    saver.settle()
    write = checkpoint._write

    def full(state, path):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    for end in (saver.settle, partial(saver.save, 3, {"step": 3}, best=None)):
        monkeypatch.setattr(checkpoint, "_write", full)
        saver.save(2, {"step": 2}, best=None)
        saver.background.thread.join()
        monkeypatch.setattr(checkpoint, "_write", write)
        with pytest.raises(OSError, match="No space left"):
            end()
        saver.settle()  # it is said once
        assert saver.checkpoints.steps() == [1]
        assert [one.name for one in saver.checkpoints.root.iterdir()] == ["step-000001"]


def test_a_snapshot_has_no_memory_of_the_training_and_does_not_copy_what_is_a_copy():
    weight, given = torch.arange(6.0), torch.arange(3.0)
    state = {"a": Slice(weight[2:4], weight.shape), "b": Slice(given, given.shape, copied=True), "c": (weight, "x")}
    taken = snapshot(state)
    assert len({taken["a"].flat.data_ptr(), taken["c"][0].data_ptr(), weight.data_ptr()}) == 3
    assert taken["a"].flat.untyped_storage().nbytes() == 8  # of two numbers, not of the whole tensor
    assert taken["b"].flat.data_ptr() == given.data_ptr() and taken["c"][1] == "x"
    assert taken["a"].shape == weight.shape and taken["a"].flat.tolist() == [2, 3]


def test_the_thread_ends_with_the_process():
    """A second Ctrl-C does not wait for a disk."""
    background, forever = Background(), threading.Event()
    background.start(forever.wait)
    assert background.thread.daemon
    forever.set()
    background.wait()
