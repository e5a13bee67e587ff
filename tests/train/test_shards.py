"""A state in slices: any number of processes reads what any number has written, and each its own part alone."""

import json

import pytest
import torch

from align_lab.base.errors import DataError
from align_lab.base.files import sha256
from align_lab.base.world import World
from align_lab.train import checkpoint
from align_lab.train.checkpoint import Checkpoints
from align_lab.train.shards import Parts, Slice, extent, of_ranks, own, sliced, whole
from tests.train.ranks import ranks, together
from tests.train.small import algorithm, loop

SHAPES = [(1,), (2, 3), (7,), (4, 4), (5, 0), (3, 1, 2)]


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {f"w{number}": torch.randn(shape, generator=generator) for number, shape in enumerate(SHAPES)}


def state_of(world):
    """What a process saves: slices, and what all have."""
    slices = {name: sliced(value, world) for name, value in tensors().items()}
    return {"learner": {"policy": {"model": slices, "steps": {0: torch.tensor(3.0)}}}, "step": 7, "algo": (1, 2)}


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_slices_are_those_of_zero_3_and_cover_each_number_once(size):
    for n in (0, 1, 5, 8, 17):
        extents = [extent(n, World(rank=rank, size=size)) for rank in range(size)]
        assert [i for start, end in extents for i in range(start, end)] == list(range(n))
        assert all(end - start <= -(-n // size) for start, end in extents)


@pytest.mark.parametrize("written", [1, 2, 3])
@pytest.mark.parametrize("read", [1, 2, 4])
def test_a_process_reads_its_slice_of_what_others_have_written(written, read):
    for value in tensors().values():
        slices = [sliced(value, World(rank=rank, size=written)) for rank in range(written)]
        parts = Parts([s.flat for s in slices], value.shape) if written > 1 else slices[0]
        assert torch.equal(whole(parts), value)
        for rank in range(read):
            world = World(rank=rank, size=read)
            assert torch.equal(own(parts, world), value.reshape(-1)[slice(*extent(value.numel(), world))])


def saved(folder, count, *, step=1):
    """A checkpoint that `count` processes have written."""
    worlds = ranks(count)
    works = [
        lambda world=world: Checkpoints(folder).save(step, state_of(world), keep=2, world=world) for world in worlds
    ]
    assert together(works, worlds[0].meeting) == [None] * count
    return Checkpoints(folder)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_several_processes_have_saved_is_the_state_of_one(tmp_path, count):
    state = saved(tmp_path, count).load(1)
    assert state["step"] == 7 and state["algo"] == (1, 2)
    assert torch.equal(state["learner"]["policy"]["steps"][0], torch.tensor(3.0))
    model = state["learner"]["policy"]["model"]
    for name, value in tensors().items():
        assert torch.equal(whole(model[name]), value) and model[name].shape == value.shape
    expected = {"card.json", "state.pt"} | ({f"part-{r:03d}.safetensors" for r in range(count)} if count > 1 else set())
    assert {file.name for file in (tmp_path / "step-000001").iterdir()} == expected


def test_no_process_writes_more_than_its_share(tmp_path):
    folder = saved(tmp_path, 3).folder(1)
    sizes = [(folder / f"part-{rank:03d}.safetensors").stat().st_size for rank in range(3)]
    numbers = sum(value.numel() for value in tensors().values())
    assert all(size < 4 * numbers / 3 + 1000 for size in sizes)
    small = torch.load(folder / "state.pt", weights_only=True)["learner"]["policy"]["model"]
    assert not any(isinstance(value, torch.Tensor) for value in small.values())


@pytest.mark.parametrize("file", ["part-000.safetensors", "part-001.safetensors", "state.pt"])
@pytest.mark.parametrize("readers", [1, 2, 3])
def test_a_damaged_file_is_found_by_whoever_reads_it_and_all_continue_from_the_step_before(tmp_path, file, readers):
    saved(tmp_path, 2)
    path = saved(tmp_path, 2, step=2).folder(2) / file
    path.write_bytes(path.read_bytes()[:-5])
    worlds, said = ranks(readers), []
    works = [lambda world=world: Checkpoints(tmp_path).latest(said.append, world)[0] for world in worlds]
    assert together(works, worlds[0].meeting) == [1] * readers
    assert len(said) == readers and all("step-000002 is damaged" in text for text in said)


def test_each_process_hashes_its_share_of_the_files(tmp_path, monkeypatch):
    saved(tmp_path, 3)
    worlds, hashed = ranks(2), []
    monkeypatch.setattr(checkpoint, "sha256", lambda path: hashed.append(path.name) or sha256(path))
    works = [lambda world=world: Checkpoints(tmp_path).load(1, world)["step"] for world in worlds]
    assert together(works, worlds[0].meeting) == [7, 7]
    assert sorted(hashed) == [*(f"part-{rank:03d}.safetensors" for rank in range(3)), "state.pt"]


def test_when_one_process_cannot_write_none_has_saved_and_all_say_so(tmp_path, monkeypatch):
    worlds, write = ranks(2), checkpoint.save_file

    def full(slices, path):
        if path.name == "part-001.safetensors":
            raise OSError(28, "No space left on device")
        write(slices, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    works = [
        lambda world=world: Checkpoints(tmp_path).save(1, state_of(world), keep=1, world=world) for world in worlds
    ]
    errors = together(works, worlds[0].meeting)
    assert all(isinstance(error, OSError) and "No space left" in str(error) for error in errors)
    assert list(tmp_path.iterdir()) == [] and Checkpoints(tmp_path).latest(print) is None


def test_a_missing_part_is_damage(tmp_path):
    checkpoints = saved(tmp_path, 2)
    (checkpoints.folder(1) / "part-001.safetensors").unlink()
    with pytest.raises(DataError, match="damaged"):
        checkpoints.load(1)


def test_the_identity_of_a_checkpoint_depends_on_every_file(tmp_path):
    checkpoints = saved(tmp_path, 2)
    before = checkpoints.identity(1)
    card = checkpoints.folder(1) / "card.json"
    content = json.loads(card.read_text())
    content["parts"]["part-001.safetensors"] = "another"
    card.write_text(json.dumps(content))
    assert checkpoints.identity(1) != before and Checkpoints(tmp_path).identity(9) is None


def test_the_states_of_all_ranks_are_the_whole_one():
    joined = of_ranks([state_of(World(rank=rank, size=3)) for rank in range(3)])
    alone = state_of(World())
    assert joined["algo"] == alone["algo"] and not any(isinstance(v, Slice) for v in joined["learner"].values())
    for name, value in alone["learner"]["policy"]["model"].items():
        assert torch.equal(joined["learner"]["policy"]["model"][name], value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_single_process_continues_from_what_several_have_saved(tmp_path, monkeypatch, dtype):
    it = loop(algorithm("ppo"), dtype=dtype)
    it.advance()
    worlds, states = ranks(3), []
    for world in worlds:
        with monkeypatch.context() as patched:
            patched.setattr(World, "current", classmethod(lambda cls, world=world: World(rank=world.rank, size=3)))
            states.append({"learner": it.learner.state_dict()})
    works = [
        lambda world=world, state=state: Checkpoints(tmp_path).save(1, state, keep=1, world=world)
        for world, state in zip(worlds, states, strict=True)
    ]
    together(works, worlds[0].meeting)
    other = loop(algorithm("ppo"), dtype=dtype)
    other.learner.load_state_dict(Checkpoints(tmp_path).load(1)["learner"])
    expected, found = it.learner.state_dict(), other.learner.state_dict()
    for model in ("policy", "critic"):
        assert found[model]["model"].keys() == expected[model]["model"].keys()
        for name, value in expected[model]["model"].items():
            assert torch.equal(found[model]["model"][name], value), name
        moments = expected[model]["optimizer"]["state"]
        assert moments
        for number, state in moments.items():
            for key, value in state.items():
                assert torch.equal(found[model]["optimizer"]["state"][number][key], value), (number, key)
