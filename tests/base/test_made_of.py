"""What a run is made of beyond its config: which plug-ins and which files count, and as what."""

import importlib
import sys
from dataclasses import dataclass

import pytest

from align_lab.base import made_of, plugin_code, registry
from align_lab.base.component import Component

PLUGIN = """
from dataclasses import dataclass
from pathlib import Path
from align_lab.base.component import Component
from align_lab.base.registry import register
from {module}_words import WORDS

@dataclass(frozen=True, kw_only=True)
class Thing(Component):
    path: str = ""

    def files(self):
        return [Path(self.path)] if self.path else []
"""
CONFIG = {
    "study": "mine",
    "plugins": [],
    "algo": {"name": "plain"},
    "reward": {"name": "plain"},
    "record": {"name": "plain"},
    "evaluation": {"judges": {}},
}


@dataclass(frozen=True, kw_only=True)
class Plain(Component):
    """A component of this package, that reads nothing."""


Plain.__module__ = "align_lab.plain"


def config(**groups):
    return {**CONFIG, **groups}


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes and imports a plug-in that registers a thing under its own name, one for each kind."""
    monkeypatch.setattr(registry, "_components", {})
    monkeypatch.setattr(registry, "_contracts", {}, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    for kind in ("algo", "reward", "record"):
        registry.register(kind, "plain")(Plain)

    def load(name, *kinds):
        (tmp_path / f"{name}_words.py").write_text("WORDS = 1\n")
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(module=name))
        for old in (name, f"{name}_words"):
            monkeypatch.delitem(sys.modules, old, raising=False)
        module = importlib.import_module(name)
        for kind in kinds:
            registry.register(kind, name)(module.Thing)
        return tmp_path / f"{name}_words.py"

    yield load
    plugin_code.source_hash.cache_clear()


def now(values):
    """As a new process computes it."""
    plugin_code.source_hash.cache_clear()
    return made_of.of_run(values)


def test_a_run_without_plug_ins_and_files_has_no_such_hash(plugin):
    plugin("unused_lab", "reward", "algo")
    assert now(config()) == {}


@pytest.mark.parametrize(
    ("kind", "groups", "names"),
    [
        ("reward", {"reward": {"name": "used_lab"}}, {"plugins"}),
        ("reward", {"evaluation": {"judges": {"mine": {"name": "used_lab"}}}}, {"plugins"}),
        ("algo", {"algo": {"name": "used_lab"}}, {"algo.plugins"}),
        ("record", {"record": {"name": "used_lab"}}, set()),
    ],
)
def test_a_plug_in_counts_where_it_is_used_and_as_what_it_is_used_for(plugin, kind, groups, names):
    helper = plugin("used_lab", kind)
    before = now(config(**groups))
    assert before.keys() == names
    helper.write_text("WORDS = 2\n")
    after = now(config(**groups))
    assert {name for name in names if after[name] != before[name]} == names


def test_a_loaded_plug_in_that_registers_nothing_counts_as_a_setting(plugin):
    plugin("silent_lab")
    assert now(config(plugins=["silent_lab"])).keys() == {"plugins"}
    plugin("open_lab", "algo")
    assert now(config(plugins=["open_lab"])) == {}


def test_files_count_as_what_reads_them(plugin, tmp_path):
    plugin("file_lab", "reward", "algo", "record")
    (tmp_path / "words.txt").write_text("good")
    for kind, name in (("reward", "files"), ("algo", "algo.files")):
        values = config(**{kind: {"name": "file_lab", "path": str(tmp_path / "words.txt")}})
        (tmp_path / "words.txt").write_text("good")
        before = now(values)[name]
        (tmp_path / "words.txt").write_text("evil")
        assert now(values)[name] != before
    assert "files" not in now(config(record={"name": "file_lab", "path": str(tmp_path / "words.txt")}))


def test_what_a_process_has_imported_stays_what_it_was(plugin):
    helper = plugin("early_lab", "reward")
    values = config(reward={"name": "early_lab"})
    before = made_of.of_run(values)
    helper.write_text("WORDS = 2\n")
    assert made_of.of_run(values) == before
