"""The picture of the packages is that of the code, and the packages stay as separate as docs/structure.md states."""

from tests import picture, structure


def test_the_picture_in_docs_is_made_from_the_packages_docstrings():
    assert picture.in_docs() == picture.picture(), "type: python -m tests.picture --write"


def test_the_picture_has_every_package_of_the_code():
    names = {path.parent.name for path in picture.PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in picture.PACKAGE.glob("*.py")} - {"__init__"}
    assert sorted(picture.layers()) == sorted(names | modules)


def test_a_new_arrow_circle_or_loose_module_is_a_decision_that_docs_structure_records():
    now, documented = structure.measure(structure.CHECKOUT), structure.in_docs()
    grown = {name: (documented[name], count) for name, count in now.rows() if count > documented[name]}
    assert not grown, f"(documented, now): {grown}. If it is meant, type: python -m tests.structure --write"


def test_arrows_and_circles_are_counted_over_imports_of_every_kind(tmp_path):
    package = tmp_path / "align_lab"
    files = {
        "__init__.py": "",
        "loose.py": "",
        "low/__init__.py": "",
        "low/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from align_lab.low import b\n",
        "low/b.py": "def f():\n    import align_lab.low.a\n    import align_lab.high.c\n",
        "high/__init__.py": "",
        "high/c.py": "import align_lab.low.b\nimport align_lab.loose\n",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    counts = structure.measure(tmp_path)
    assert (counts.packages, counts.loose, counts.arrows) == (2, 1, 3)
    assert counts.package_circles == (("high", "low"),)
    assert counts.module_circles == (("align_lab.high.c", "align_lab.low.a", "align_lab.low.b"),)
