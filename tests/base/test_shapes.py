"""Records that are read back have the form that their TypedDict declares, or the field that is wrong is named."""

import json
from typing import Any, NotRequired, TypedDict

import pytest

from align_lab.base import shapes
from align_lab.base.errors import DataError
from align_lab.base.files import read_json, read_lines


class Inner(TypedDict):
    name: str


class Record(TypedDict):
    state: str
    step: int
    speed: float | None
    inner: list[Inner]
    table: NotRequired[dict[str, float]]
    free: NotRequired[Any]


RIGHT = {"state": "done", "step": 3, "speed": None, "inner": [{"name": "a"}]}


def test_a_record_of_the_form_fits_with_fields_that_it_does_not_declare():
    assert shapes.fits(RIGHT | {"table": {"a": 1, "b": 0.5}, "free": [[]], "more": 1}, Record)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step": "3"}, "step is '3', and must be a whole number"),
        ({"step": True}, "step is True, and must be a whole number"),
        ({"step": 10**400}, "step is 1000"),
        ({"speed": "fast"}, "speed is 'fast', and must be a number or null"),
        ({"speed": True}, "speed is True"),
        ({"inner": {}}, "inner is {}, and must be a list"),
        ({"inner": [{"name": "a"}, {}]}, "it has no inner[1].name"),
        ({"table": {"a": [1]}}, "table.a is [1], and must be a number"),
        ({"state": ...}, "it has no state"),
    ],
)
def test_the_first_field_that_does_not_fit_is_named(change, words):
    record = {key: value for key, value in (RIGHT | change).items() if value is not ...}
    assert shapes.problem(record, Record).startswith(words)


@pytest.mark.parametrize("content", [None, [], 3, "x", [RIGHT]])
def test_what_is_no_record_at_all(content):
    assert shapes.problem(content, Record).endswith("must be a mapping")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"null", b"[1]", b'"x"'])
def test_a_file_that_holds_no_record_is_named_with_what_to_do(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_bytes(text)
    with pytest.raises(DataError, match=r"record\.json is damaged: .*\. Remove it"):
        shapes.read(path, Record, instead="Remove it")
    assert read_json(path) == {} and read_lines(path) == []


def test_a_file_that_is_not_there_is_another_matter(tmp_path):
    with pytest.raises(FileNotFoundError):
        shapes.read(tmp_path / "record.json", Record, instead="")
    (tmp_path / "record.json").write_text(json.dumps(RIGHT))
    assert shapes.read(tmp_path / "record.json", Record, instead="") == RIGHT
