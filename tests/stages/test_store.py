"""An artefact is built once, published atomically, and rejected if its bytes have changed."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from align_lab.base.content import content_hash
from align_lab.base.errors import DataError
from align_lab.base.lease import lease, stale
from align_lab.base.progress import notice, track
from align_lab.stages.store import Stage, Store


def slow_build(folder: Path, inputs: list[Path]) -> None:
    (folder.parent / f"built-by-{os.getpid()}").touch()
    time.sleep(0.5)
    (folder / "content.txt").write_text("the same bytes")


def recipe(**settings: object) -> Stage:
    return Stage(kind="thing", settings=settings, build=slow_build)


def get_in_process(root: Path) -> str:
    return Store(root).get(recipe(size=1)).content


def test_four_processes_that_need_it_build_it_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        contents = pool.map(get_in_process, [tmp_path] * 4)
    assert len(set(contents)) == 1
    assert len(list(tmp_path.glob("built-by-*"))) == 1
    assert not list(tmp_path.glob("*.lease*")) and not list(tmp_path.glob("building-*"))


@pytest.mark.parametrize(
    ("count", "named"), [(3, "{0}, {1}, {2} changed while"), (4, "{0}, {1}, {2}, ... changed while")]
)
def test_what_files_that_change_meanwhile_gave_is_not_stored_and_three_of_them_are_named(tmp_path, count, named):
    files = tuple(tmp_path / f"{i}.jsonl" for i in range(count))
    for path in files:
        path.write_text("before")

    def build(folder: Path, inputs: list[Path]) -> None:
        files[-1].write_text("after")
        (folder / "content.txt").write_text("of both")

    store = Store(tmp_path / "store")
    stage = Stage(kind="thing", settings={}, build=build, files=files, made_of={"files": content_hash(files)})
    with pytest.raises(DataError) as error:
        store.get(stage)
    assert named.format(*files) in str(error.value) and not store.has(stage.name)
    assert store.get(Stage(kind="thing", settings={}, build=build, files=files, made_of={"files": content_hash(files)}))


def die_with_lease(path: Path) -> None:
    with lease(path, on_wait=print):
        os._exit(9)


def test_a_lease_whose_owner_died_is_taken_over(tmp_path):
    path = tmp_path / "x.lease"
    owner = multiprocessing.get_context("spawn").Process(target=die_with_lease, args=(path,))
    owner.start()
    owner.join()
    assert path.exists() and stale(path)
    with lease(path, on_wait=pytest.fail) as mine:
        assert mine
    assert not path.exists()


def test_the_lease_of_a_builder_that_died_with_its_work_done_is_removed_and_no_live_one(tmp_path):
    store, path = Store(tmp_path), tmp_path / f"{recipe(size=1).name}.lease"
    content = store.get(recipe(size=1)).content
    owner = multiprocessing.get_context("spawn").Process(target=die_with_lease, args=(path,))
    owner.start()
    owner.join()
    assert path.exists() and store.get(recipe(size=1)).content == content
    assert not list(tmp_path.glob("*.lease*"))
    with lease(path, on_wait=pytest.fail):
        assert store.get(recipe(size=1)).content == content and path.exists()


def test_a_failing_build_leaves_nothing(tmp_path):
    def fail(folder, inputs):
        (folder / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Store(tmp_path).get(Stage(kind="thing", settings={}, build=fail))
    assert list(tmp_path.iterdir()) == []


def test_changed_bytes_are_refused_with_the_command_that_helps(tmp_path):
    store = Store(tmp_path)
    artefact = store.get(recipe(size=2))
    (artefact.path / "content.txt").write_text("other bytes")
    with pytest.raises(DataError, match=r"damaged.*content\.txt.*rm -r"):
        store.get(recipe(size=2))


def test_the_key_follows_settings_and_inputs_and_nothing_else():
    base = recipe(a=1, b=2)
    assert base.key == recipe(b=2, a=1).key
    assert base.key != recipe(a=1, b=3).key
    with_input = Stage(kind="thing", settings={}, build=slow_build, inputs=(base,))
    assert with_input.key != Stage(kind="thing", settings={}, build=slow_build, inputs=(recipe(a=2, b=2),)).key


def test_inputs_are_built_first_and_handed_over(tmp_path):
    def combine(folder: Path, inputs: list[Path]) -> None:
        (folder / "out.txt").write_text((inputs[0] / "content.txt").read_text() + "!")

    artefact = Store(tmp_path).get(Stage(kind="sum", settings={}, build=combine, inputs=(recipe(size=3),)))
    assert (artefact.path / "out.txt").read_text() == "the same bytes!"


class Shown:
    """A display that keeps every line, those of a stage's progress with the stage's name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.title = ""

    def notice(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, done: int, total: int) -> None:
        self.lines.append(f"{self.title}: {done}/{total}")

    @contextmanager
    def stage(self, title: str) -> Iterator["Shown"]:
        self.title = title
        yield self
        self.title = "nothing"


def test_a_person_sees_what_is_built_and_how_far_it_is(tmp_path):
    def build(folder: Path, inputs: list[Path]) -> None:
        notice("fetching the corpus")
        for number in track(range(2)):
            (folder / str(number)).touch()

    display = Shown()
    thing = Stage(kind="sft", title="start policy", settings={}, build=build)
    Store(tmp_path, display).get(thing)
    assert display.lines == [
        "building start policy",
        "fetching the corpus",
        "start policy: 0/2",
        "start policy: 1/2",
        "start policy: 2/2",
        "built start policy in 0 s",
    ]
    Store(tmp_path, display).get(thing)
    assert len(display.lines) == 6  # the second time there is nothing to see


def test_the_title_is_for_people_and_changes_no_key():
    plain = Stage(kind="sft", settings={}, build=slow_build)
    titled = Stage(kind="sft", title="start policy", settings={}, build=slow_build)
    assert (plain.key, plain.label, titled.label) == (titled.key, "sft", "start policy")
