"""A record that is torn, edited or not readable is named with what to do, and spoils no other run."""

import json
import os

import pytest

from align_lab.__main__ import main
from align_lab.base.errors import ConfigError, DataError
from align_lab.base.files import leftovers, publishing, sweep, write_text
from align_lab.cli import gc
from align_lab.compare import lock
from align_lab.compare.reading import read_study
from align_lab.config import recorded
from align_lab.config.composition import compose
from align_lab.dispatch import expected_runs
from align_lab.dispatch.ledger import Ledger
from align_lab.dispatch.states import is_done, states
from align_lab.record.folder import RunFolder, read_config
from align_lab.record.layout import RunLayout
from align_lab.stages.store import Stage, Store
from align_lab.train.checkpoint import Checkpoints
from tests.base.test_sharing import as_another_user
from tests.compare.folders import edit, write_run

JUNK = [b"", b"{", b"null", b"[]", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"\x00" * 9]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of three finished runs, in folders that everybody may enter."""
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if os.access(folder, os.W_OK) and folder.owner() == tmp_path.owner():
            folder.chmod(folder.stat().st_mode | 0o055)
    for seed in range(3):
        write_run(tmp_path / "runs" / "s", seed=seed)
    return tmp_path / "runs" / "s"


def first(study):
    return sorted(study.glob("rloo-*"))[0]


def printed(capsys):
    """All output, whatever the width of the terminal."""
    return " ".join(capsys.readouterr().out.split())


WRONG = [
    {"step": "x"},
    {"state": 3},
    {"steps": [1]},
    {"seconds_per_step": {}},
    {"error": 3, "state": "failed"},
    {"node": 1},
]


@pytest.mark.parametrize("content", JUNK)
def test_a_status_that_is_no_record_is_named_in_every_view(study, capsys, content):
    (first(study) / "status.json").write_bytes(content)
    assert not is_done(first(study)) and RunFolder(first(study)).status() == {"state": "new"}
    one = next(task for task in states(study, {}, None) if task.name == first(study).name)
    assert one.state == "failed" and "status.json is damaged" in one.why
    assert "The same command goes on from the last checkpoint" in one.why
    runs, unfinished = read_study(study)
    assert len(runs) == 2 and "cannot be read" in unfinished[0].why
    assert main(["status", "s"]) == 0 and "is damaged" in printed(capsys)


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_type_in_a_status_is_named(study, capsys, change):
    edit(first(study) / "status.json", **change)
    assert main(["status", "s"]) == 0 and f"damaged: {next(iter(change))} is" in printed(capsys)
    assert main(["status", "s", "--json"]) == 0
    assert [run.name for run in read_study(study)[1]] == [first(study).name]


@pytest.mark.parametrize("content", JUNK)
def test_a_manifest_that_is_no_record_leaves_one_run_out(study, content):
    (first(study) / "manifest.json").write_bytes(content)
    runs, unfinished = read_study(study)
    assert len(runs) == 2 and "cannot be read" in unfinished[0].why and unfinished[0].name == first(study).name


@pytest.mark.parametrize("name", ["", "status.json", "manifest.json", "metrics.jsonl"])
def test_a_run_that_another_user_may_not_read_is_named_and_the_others_are_compared(study, capsys, name):
    main(["status", "s"])  # everything is imported: the other user may not read this package either
    read_study(study)
    path = first(study) / name if name else first(study)
    (study / ".dispatch").mkdir()
    runs = {run.name: {"arm": "rloo", "seed": 0, "steps": 40} for run in study.iterdir() if run.name[0] != "."}
    (study / ".dispatch" / "expected_runs.json").write_text(
        json.dumps({"sweep": None, "question": "", "runs": runs, "left": {}})
    )
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        with as_another_user():
            runs, unfinished = read_study(study)
            tasks = states(study, expected_runs.read(study)["runs"], None)
    finally:
        path.chmod(mode)
    assert len(runs) == 2 and [run.name for run in unfinished] == [first(study).name]
    assert "cannot be read (PermissionError" in unfinished[0].why
    assert len(tasks) == 3 and sum(task.state == "done" for task in tasks) == (2 if name in ("", "status.json") else 3)


@pytest.mark.parametrize("content", [*JUNK, b'{"left": {}}', b'{"sweep": null, "question": "", "runs": 3, "left": {}}'])
def test_what_a_study_expects_is_refused_with_the_file_where_it_is_damaged(study, content):
    file = study / ".dispatch" / "expected_runs.json"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"expected_runs\.json is damaged: .* rm "):
        expected_runs.read(study)


@pytest.mark.parametrize("content", [*JUNK, b'{"token": "a"}'])
def test_a_damaged_submission_is_not_forgotten_in_silence(study, content):
    (study / ".dispatch").mkdir()
    (study / ".dispatch" / "a.submission.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.submission\.json is damaged: .*queued or running, remove it: rm "):
        Ledger.of(study).submissions()


@pytest.mark.parametrize("content", [*JUNK, b'{"version": 1, "runs": [{}]}', b'{"version": 1}'])
def test_a_lock_without_a_field_is_no_lock(tmp_path, content):
    (tmp_path / "comparison.lock").write_bytes(content)
    with pytest.raises(ConfigError, match="lock"):
        lock.read(tmp_path)


@pytest.mark.parametrize("content", [*JUNK, b'{"step": "x"}', b'{"step": true}', b'{"score": 1}'])
def test_a_damaged_best_json_does_not_hide_the_checkpoints(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints(tmp_path / "runs" / "s" / "r" / "checkpoints")
    checkpoints.save(2, {"a": 1}, keep=2)
    checkpoints.best_file.write_bytes(content)
    assert checkpoints.best() is None and checkpoints.steps() == [2] and checkpoints.load(2) == {"a": 1}
    checkpoints.save(4, {"a": 2}, keep=2)
    assert checkpoints.steps() == [2, 4] and len(list(gc.items(everything=False))) >= 2


@pytest.mark.parametrize("content", [*JUNK, b'{"files": 3}', b'{"files": {"x": 1}}'])
def test_a_damaged_card_of_an_artefact_is_named(tmp_path, content):
    store = Store(tmp_path)
    artefact = store.get(Stage(kind="thing", settings={}, build=lambda folder, inputs: None))
    (artefact.path / "artefact.json").write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged \(artefact\.json has changed since it was built\)"):
        store.open(artefact.path.name)


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"\xff", b"a: [b\n", b"a: ???\nb: &x [*x]\n"])
def test_a_config_that_is_no_yaml_is_named(tmp_path, content):
    RunLayout(tmp_path).config.write_bytes(content)
    with pytest.raises(DataError, match=r"config\.yaml: .*Restore it, or remove"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algo": ...}, "it: its config has no algo"),
        ({"algo": 3}, "it: its algo names no component"),
        ({"algo": {"name": "nothing"}}, "algo=nothing is not known"),
        ({"model": {"name": "tiny", "width": "x"}}, "it: model.width=x: it must be a whole number"),
        ({"model": {"name": "tiny", "nothing": 1}}, "it: model.nothing: there is no such field"),
        ({"sampling": 3}, "it: "),
        ({"sampling": {"temperature": "x"}}, "it: sampling.temperature"),
        ({"seed": [1]}, "it: seed"),
        ({"plugins": "os"}, "it: plugins=os must be a list of modules"),
        ({"plugins": ["../x"]}, "plugins=[../x]: not the name of a module"),
    ],
)
def test_a_config_of_a_record_is_checked_before_anything_is_built_of_it(change, message):
    values = compose(["algo=rloo"]).values
    assert recorded.complete(values, "it") == values
    with pytest.raises(ConfigError) as refused:
        recorded.complete({key: value for key, value in {**values, **change}.items() if value is not ...}, "it")
    assert message in str(refused.value)


class Killed(BaseException):
    """As by a signal that cannot be handled: nothing is cleaned up."""


def left_by_a_kill(folder, monkeypatch):
    """A folder, as `publishing` leaves it where it is killed before the rename."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("shutil.rmtree", lambda *args, **more: None)
        with publishing(folder) as partial:
            (partial / "state.pt").write_bytes(b"x" * 1000)
            raise Killed


def test_what_a_kill_leaves_of_a_checkpoint_is_seen_by_gc_and_swept_with_the_lease(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    run = RunFolder(tmp_path / "runs" / "s" / "r")
    Checkpoints(run.at.checkpoints).save(2, {"a": 1}, keep=2)
    left_by_a_kill(run.at.checkpoints / "step-000004", monkeypatch)
    (run.path / ".status.json.0123abcd").write_text("{")
    (run.path / ".wandb.json.0123abcd").write_text("another process is writing it")
    (left,) = leftovers(run.at.checkpoints)
    item = next(item for item in gc.items(everything=False) if item.path.name == left.name)
    assert item.size == 1000 and item.kind == "checkpoints" and not item.protection
    assert main(["gc", "--only=checkpoints", "--older-than=0s", "--prune"]) == 0 and not left.exists()
    left_by_a_kill(run.at.checkpoints / "step-000004", monkeypatch)
    run.sweep()
    assert leftovers(run.at.checkpoints) == [] and Checkpoints(run.at.checkpoints).load(2) == {"a": 1}
    assert [path.name for path in leftovers(run.path)] == [".wandb.json.0123abcd"]


def test_a_checkpoint_that_was_put_aside_comes_back(tmp_path):
    with publishing(tmp_path / "step-000002") as partial:
        (partial / "state.pt").write_text("old")
    (tmp_path / "step-000002").rename(tmp_path / ".step-000002.0123abcd.old")  # killed between the two renames
    (tmp_path / ".step-000002.0123abcd").mkdir()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000002"]
    assert (tmp_path / "step-000002" / "state.pt").read_text() == "old"
    write_text(tmp_path / ".hidden", "no leftover")
    sweep(tmp_path)
    assert (tmp_path / ".hidden").exists()


def test_what_a_killed_builder_left_is_swept_by_the_next_one_and_seen_by_gc(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALIGN_LAB_CACHE", str(tmp_path / "cache"))
    store, stage = (
        Store(tmp_path / "cache" / "artefacts"),
        Stage(kind="thing", settings={}, build=lambda *folders: None),
    )
    other = store.root / "building-other-0123456789abcdef-00000000"
    for folder in (store.root / f"building-{stage.name}-00000000", other):
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(b"x" * 500)
    found = {item.path.name: item for item in gc.items(everything=False) if item.kind == "artefacts"}
    assert len(found) == 2 and all(item.size == 500 and not item.protection for item in found.values())
    store.get(stage)
    assert sorted(path.name for path in store.root.iterdir()) == sorted([stage.name, other.name])
