"""The package's results equal those of the reference implementations, to 1e-6 in float64.

    pytest tests/golden                     the repository's values (provenance: values/index.json and each `source`)
    pytest tests/golden --goldens=DIR       the same table on other inputs, in a folder of the same layout

A row whose file or case is not in the folder is skipped. Of another folder, every value that the table does not name
and every value that no component computes yet is named at the end as file:case.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ..conftest import GOLDENS
from .folder import NUMBER, Folder, MissingError, leaves, number
from .table import NO_COMPONENT_YET, NOT_A_RESULT, TABLE, Row

OWN = Path(__file__).parent / "values"


def pattern(row: Row) -> re.Pattern[str]:
    """Matches the paths of the values that a row compares: the case as group `case_`, numbers in its key by name."""
    case = re.sub(r"\\{(\w+)\\}", lambda name: f"(?P<{name[1]}>{NUMBER})", re.escape(row.case))
    fields = "|".join(map(re.escape, row.fields.split()))
    tail = f"({fields})" if fields else ""
    return re.compile(rf"(?P<case_>{case}){re.escape('.') if case and tail else ''}{tail}")


def cases(row: Row, folder: Folder) -> Iterator[tuple[str, dict[str, float]]]:
    """Each case of the folder that a row covers, once, with the numbers in its key."""
    covered = set()
    for path, _ in leaves(folder.file(row.file)):
        match = pattern(row).fullmatch(path)
        if match and match["case_"] not in covered:
            covered.add(match["case_"])
            yield match["case_"], {name: number(text) for name, text in match.groupdict().items() if name != "case_"}


def compare_params(folder: Folder) -> Iterator[Any]:
    for row in TABLE:
        name = f"{row.file}:{row.case or row.fields.split()[0]}"
        try:
            matches = list(cases(row, folder))
        except MissingError as missing:
            yield pytest.param(row, "", {}, id=name, marks=pytest.mark.skip(reason=str(missing)))
            continue
        if not matches:
            reason = f"{row.file}.json has no case {row.case or row.fields}"
            yield pytest.param(row, "", {}, id=name, marks=pytest.mark.skip(reason=reason))
        for case, numbers in matches:
            identity = f"{row.file}:{case}->{row.compute.__name__}"
            yield pytest.param(row, case, numbers, id=identity)


def not_in_the_table(folder: Folder) -> Iterator[str]:
    """file:path of every result in the folder that no row of the table compares."""
    for file in sorted(folder.path.glob("*.json")):
        rows = [pattern(row) for row in TABLE if row.file == file.stem]
        for path, _ in leaves(folder.file(file.stem)):
            name = f"{file.stem}:{path}"
            if not listed(name, NOT_A_RESULT) and not any(row.fullmatch(path) for row in rows):
                yield name


def listed(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs)


def unknown(folder: Folder) -> list[str]:
    """file:path of everything in the folder that neither the table nor its two lists name."""
    return [name for name in not_in_the_table(folder) if not listed(name, NO_COMPONENT_YET)]


def unclaimed(folder: Folder) -> list[str]:
    """file:path of the results in the folder that no component computes yet."""
    return [name for name in not_in_the_table(folder) if listed(name, NO_COMPONENT_YET)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = Folder(metafunc.config.getoption("--goldens"))
    if not folder.path.is_dir():
        raise pytest.UsageError(f"--goldens={folder.path} is not a folder")
    if "case" in metafunc.fixturenames:
        metafunc.parametrize(("row", "case", "numbers"), list(compare_params(folder)))


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Folder:
    return Folder(request.config.getoption("--goldens"))


def test_value(row: Row, case: str, numbers: dict[str, float], folder: Folder) -> None:
    try:
        computed = row.compute(folder, **numbers)
    except MissingError as missing:
        pytest.skip(str(missing))
    except KeyError as missing:
        if folder.path == GOLDENS:
            raise
        pytest.skip(f"{row.file}.json does not state {missing}")
    computed = computed if row.fields else {"": computed}
    expected = dict(leaves(folder.file(row.file)))
    for field, value in computed.items():
        path = ".".join(filter(None, (case, field)))
        if field in (row.fields.split() or [""]) and path in expected:
            golden = torch.tensor(expected[path], dtype=torch.float64)
            torch.testing.assert_close(value.detach().reshape(golden.shape), golden, rtol=0, atol=1e-6)


def test_every_value_is_named_by_the_table(folder: Folder, record_property: Any) -> None:
    unnamed = unknown(folder)
    if unnamed and folder.path != OWN:
        pytest.skip(f"not in the table of tests/golden, so not compared: {', '.join(unnamed)}")
    assert unnamed == []


def test_every_value_of_another_folder_is_claimed_by_a_component(folder: Folder) -> None:
    without = unclaimed(folder)
    if without and folder.path != OWN:
        pytest.skip(f"no component computes it yet, so not compared: {', '.join(without)}")


def test_what_nothing_compares_is_named_with_its_file_and_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.NO_COMPONENT_YET", ("made_up:later.*",))
    (tmp_path / "made_up.json").write_text('{"later": {"a": 1, "b": [2]}, "other": {"c": 3}, "source": "a paper"}')
    assert unclaimed(Folder(tmp_path)) == ["made_up:later.a", "made_up:later.b"]
    assert unknown(Folder(tmp_path)) == ["made_up:other.c"]


@pytest.mark.parametrize("glob", NO_COMPONENT_YET)
def test_what_no_component_computes_is_there_and_is_compared_by_no_row(glob: str) -> None:
    """The list is true: none of its entries is out of date."""
    folder = Folder(OWN)
    rows = [(row.file, pattern(row)) for row in TABLE]
    named = [
        f"{file.stem}:{path}"
        for file in sorted(OWN.glob("*.json"))
        for path, _ in leaves(folder.file(file.stem))
        if fnmatch.fnmatchcase(f"{file.stem}:{path}", glob) and not listed(f"{file.stem}:{path}", NOT_A_RESULT)
    ]
    assert named, f"{glob}: there is no such value"
    for name in named:
        file, _, path = name.partition(":")
        assert not any(row.fullmatch(path) for of, row in rows if of == file), f"{name} is compared, and listed here"


def test_keys_state_numbers() -> None:
    stated = {"0.95": 0.95, "0_8": 0.8, "1e_6": 1e-6, "1e8": 1e-8, "095": 0.95, "1": 1.0, "0": 0.0}
    assert {text: number(text) for text in stated} == stated
    assert all(re.fullmatch(NUMBER, text) for text in stated)
