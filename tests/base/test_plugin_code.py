"""What belongs to a plug-in's source: everything that it imports of its own, nothing else, wherever it lies."""

import shutil
import sys

import pytest

from align_lab.base import plugin_code
from align_lab.base.plugin_code import sources

PACKAGE = {
    "pkg_of_lab/__init__.py": "",
    "pkg_of_lab/rewards.py": "def score():\n    from pkg_of_lab.words import WORDS\n    import beside_lab\n",
    "pkg_of_lab/words.py": "from . import deeper\nWORDS = 1\n",
    "pkg_of_lab/deeper/__init__.py": "from .inside import X\n",
    "pkg_of_lab/deeper/inside.py": "from .. import rewards\nimport json, align_lab.base\nX = 1\n",
    "pkg_of_lab/plots.py": "import pkg_of_lab.rewards\n",
    "beside_lab.py": "import third_lab.part\n",
    "third_lab/part.py": "",
    "third_lab/other.py": "",
    "stranger_lab.py": "",
}
IMPORTED = PACKAGE.keys() - {"pkg_of_lab/plots.py", "third_lab/other.py", "stranger_lab.py"}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def hash_now(*modules):
    """As a new process computes it."""
    plugin_code.source_hash.cache_clear()
    return plugin_code.source_hash(frozenset(modules))


@pytest.fixture
def lab(tmp_path, monkeypatch):
    folder = tmp_path / "lab"
    write(folder, PACKAGE)
    monkeypatch.syspath_prepend(folder)
    yield folder
    plugin_code.source_hash.cache_clear()


def test_a_plug_in_is_all_that_it_imports_of_its_package_and_beside_it_at_any_depth(lab):
    assert set(sources(["pkg_of_lab.rewards"])) == IMPORTED
    assert set(sources(["beside_lab"])) == {"beside_lab.py", "third_lab/part.py"}
    assert sources(["pkg_of_lab.rewards"])["beside_lab.py"] == lab / "beside_lab.py"


@pytest.mark.parametrize("name", sorted(IMPORTED))
def test_a_change_of_any_file_that_is_imported_changes_the_hash(lab, name):
    before = hash_now("pkg_of_lab.rewards")
    (lab / name).write_text(PACKAGE[name] + "# changed\n")
    assert hash_now("pkg_of_lab.rewards") != before


@pytest.mark.parametrize("name", sorted(PACKAGE.keys() - IMPORTED))
def test_a_change_of_a_file_that_is_not_imported_leaves_the_hash(lab, name):
    before = hash_now("pkg_of_lab.rewards")
    (lab / name).write_text("changed = 1\n")
    assert hash_now("pkg_of_lab.rewards") == before


def test_a_package_that_imports_by_name_counts_whole(lab):
    (lab / "pkg_of_lab" / "words.py").write_text("import importlib\nimportlib.import_module('pkg_of_lab.' + 'plots')\n")
    assert "pkg_of_lab/plots.py" in sources(["pkg_of_lab.rewards"])


def test_the_hash_does_not_depend_on_where_the_files_lie(lab, tmp_path, monkeypatch):
    before = hash_now("pkg_of_lab.rewards")
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(lab)])
    shutil.move(lab, tmp_path / "moved")
    monkeypatch.syspath_prepend(tmp_path / "moved")
    assert sources(["pkg_of_lab.rewards"])["beside_lab.py"] == tmp_path / "moved" / "beside_lab.py"
    assert hash_now("pkg_of_lab.rewards") == before


def test_a_helper_elsewhere_on_the_users_path_belongs_to_it_too(lab, tmp_path, monkeypatch):
    write(tmp_path / "lib", {"far_lab.py": "", "kept_out_lab.py": ""})
    monkeypatch.syspath_prepend(tmp_path / "lib")
    (lab / "beside_lab.py").write_text("import far_lab\n")
    assert "far_lab.py" not in sources(["beside_lab"])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    assert set(sources(["beside_lab"])) == {"beside_lab.py", "far_lab.py"}


def test_an_installed_plug_in_counts_without_other_installed_packages_and_is_not_in_a_snapshot(tmp_path, monkeypatch):
    site = tmp_path / "lib" / "site-packages"
    write(
        site, {"bought_lab/__init__.py": "from bought_lab import core\nimport other_bought\n", "bought_lab/core.py": ""}
    )
    write(site, {"other_bought.py": ""})
    monkeypatch.syspath_prepend(site)
    assert set(sources(["bought_lab"])) == {"bought_lab/__init__.py", "bought_lab/core.py"}
    assert plugin_code.places(["bought_lab"]) == set()


def test_a_snapshot_takes_packages_that_a_single_module_imports(lab):
    assert plugin_code.places(["beside_lab"]) == {lab / "beside_lab.py", lab / "third_lab"}


def test_a_file_that_does_not_parse_still_counts(lab):
    (lab / "beside_lab.py").write_text("this is no Python\n")
    assert set(sources(["beside_lab"])) == {"beside_lab.py"}


def test_a_module_that_is_not_there_has_no_source():
    assert sources(["no_such_lab.rewards"]) == {}
