"""The report: every number of the document arrives, and nothing that a model or a user wrote becomes markup."""

from __future__ import annotations

import copy
import csv
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from align_lab.compare.report import charts, clean, csv_tables, figures, markdown, page, palette, words, write
from tests.browser.example import bare, document, renamed
from tests.browser.example_parts import HOSTILE, TITLES

EXAMPLE = clean.ordered(clean.cleaned(document()))
MARKED = "|<b>`*_[x](y)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study's folder with one run folder and a written report."""
    path = tmp_path_factory.mktemp("runs") / "five_algorithms"
    (path / "ppo-tiny-s0-00").mkdir(parents=True)
    write(document(), path)
    return path


def test_reading_the_package_loads_neither_charts_nor_templates():
    code = "import sys, align_lab.compare.report; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"vl_convert", "jinja2", "torch", "numpy"} & set(loaded)


def test_what_was_written_is_there_and_nothing_else(folder):
    written = write(document(), folder, figures=False)
    assert [path.name for path in written[:2]] == ["report.html", "report.md"]
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)
    assert "![" not in (folder / "report.md").read_text()  # no figures now, so none is shown
    write(document(), folder)


def test_the_document_is_not_changed(tmp_path):
    given = document()
    before = copy.deepcopy(given)
    write(given, tmp_path, figures=False)
    assert given == before


def test_every_seed_stands_in_the_csv_file(folder):
    rows = _rows(folder, "seeds")
    result = {(row["arm"], row["metric"], int(row["seed"])): float(row["value"]) for row in rows}
    for arm in document()["arms"]:
        for metric, summary in arm["metrics"].items():
            for seed, value in zip(arm["seeds"], summary["values"], strict=True):
                assert result.pop((arm["name"], metric, seed)) == value
    assert not result


def test_long_tables_arrive_whole(folder):
    for name in ("curves", "bands", "frontier"):
        assert len(_rows(folder, name)) == len(document()[name])


def test_a_spreadsheet_computes_nothing():
    text = csv_tables.as_csv(
        [{"completion": "=HYPERLINK(1)", "decides": -0.5}, {"completion": "- fine", "decides": None}]
    )
    assert text == "completion,decides\n'=HYPERLINK(1),-0.5\n'- fine,\n"


def test_figures_are_svg_and_png_of_the_same_charts(folder):
    drawn, images = ({path.stem for path in (folder / "report").glob(f"*.{kind}")} for kind in ("svg", "png"))
    assert drawn == images == {*figures.figures(EXAMPLE), "scores-gold_score", "pairs"}
    for name in drawn:
        texts = "\n".join(ElementTree.parse(folder / "report" / f"{name}.svg").getroot().itertext()) + "\n"
        assert all(re.search(rf"{re.escape(title)}$", texts, re.MULTILINE) for title in TITLES.values()), name
        assert (folder / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_markdown_shows_its_figures_and_every_arm(folder):
    text = (folder / "report.md").read_text(encoding="utf-8")
    images = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(images) >= 8 and all((folder / image).is_file() for image in images)
    tokens = _tokens(text)
    assert sum(token.type == "table_open" for token in tokens) >= 12
    assert {arm for arm in TITLES.values() if arm in _text(tokens)} == set(TITLES.values())


def test_markdown_keeps_what_was_written_as_text():
    """Rendered by a Markdown parser: no markup of theirs, the same words, and tables that keep their shape."""
    hostile = clean.cleaned(
        renamed(document(), MARKED) | {"study": HOSTILE, "question": "# a\n- b\n1. c", "notes": ["+ d", "---"]}
    )
    tokens = _tokens(markdown.markdown(hostile, []))
    assert not {"code_inline", "ordered_list_open", "hr", "fence", "s_open", "image"} & {token.type for token in tokens}
    emphasized = {after.content for token, after in pairwise(tokens) if token.type == "em_open"}
    assert emphasized == {"(cut at the length limit)"}
    blocks = {token.content.strip() for token in tokens if token.type == "html_block"}
    assert blocks == {"<details><summary>The 14 that are equal</summary>", "</details>"}
    links = {token.attrs["href"] for token in tokens if token.type == "link_open"}
    assert all(link in ("report.html", "report/") or link.startswith("./") for link in links)
    assert {token.content for token in tokens if token.type == "html_inline"} <= {"<br>"}
    assert "<script>alert(1)</script>" in _text(tokens) and f"ppo{MARKED}" in _text(tokens)


def test_a_table_row_keeps_its_cells():
    text = markdown.table(page.pair_tables.pairs(renamed(EXAMPLE, MARKED)))
    rows = [token for token in _tokens(text) if token.type in ("tr_open", "td_open", "th_open")]
    assert len(rows) == (1 + len(EXAMPLE["verdict"]["pairs"])) * 8


def test_a_bare_address_does_not_become_a_link():
    assert markdown.escaped("see www.x.org, http://x.org, a@b.c") == r"see www&#46;x.org, http&#58;//x.org, a\@b.c"


def test_hidden_characters_are_written_out():
    assert clean.cleaned({"a\x00": ["\x1b[31m\u202e", float("nan"), "\ud800"]}) == {
        "a⟨U+0000⟩": ["⟨U+001B⟩[31m⟨U+202E⟩", None, "⟨U+D800⟩"]
    }


def test_a_completion_that_no_file_can_hold_is_written(tmp_path):
    broken = document()
    broken["samples"][0]["completions"][0]["completion"] = "half a pair \ud83d, and \x00"
    broken["arms"][0]["metrics"]["eval/kl"]["mean"] = float("inf")
    write(broken, tmp_path, figures=False)
    assert "half a pair ⟨U+D83D⟩, and ⟨U+0000⟩" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_only_runs_that_are_there_are_linked(folder):
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert 'href="./ppo-tiny-s0-00"' in html and 'href="./ppo-tiny-s1-00"' not in html


def test_a_link_stays_a_path():
    assert words.href({"r": "javascript:alert(1)"}, "r") == "./javascript%3Aalert%281%29"


def test_the_page_holds_its_data_as_json_that_cannot_end_its_script():
    hostile = clean.cleaned(renamed(document(), "</script><script>alert(1)</script>"))
    html = page.html(hostile)
    data = re.search(r'<script type="application/json" id="content">(.*?)</script>', html, re.DOTALL)
    assert data and "<" not in data[1] and json.loads(data[1])["arms"] == [arm["name"] for arm in hostile["arms"]]
    assert "<script>alert" not in html


def test_the_page_names_settings_that_differ():
    unfair = copy.deepcopy(EXAMPLE)
    unfair["comparability"] |= {
        "fair": False,
        "differing": [{"field": "reward.name", "values": {"a": ["run 1"], "b": ["run 2"]}, "allowed": False}],
    }
    html, text = page.html(unfair), markdown.markdown(unfair, [])
    assert "Not comparable: 1 setting differs" in html and '<span class="bad">reward.name</span>' in html
    assert (
        "**The runs are not comparable: settings differ.**" in text
        and "| **reward.name** | **b** | run 2 | **no** |" in text
    )
    unfair["comparability"]["fair"] = unfair["comparability"]["differing"][0]["allowed"] = True
    assert "Compared although 1 setting differs" in page.html(unfair)


PARTS = ("samples", "curves", "bands", "frontier", "axes", "overoptimization", "health", "improvement", "notes")


@pytest.mark.parametrize("missing", PARTS)
def test_a_document_without_one_of_its_parts_is_shown(missing):
    page.html(EXAMPLE | {missing: []})
    markdown.markdown(EXAMPLE | {missing: []}, [])
    figures.figures(EXAMPLE | {missing: []})


def test_one_arm_with_one_seed_is_shown(tmp_path):
    write(bare(), tmp_path)
    assert "| PPO-max | 1 | 0.500 | 0.500 |\n" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_no_arm_at_all_is_shown(tmp_path):
    write(bare() | {"arms": []}, tmp_path)
    assert "No run has finished." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_many_arms_leave_a_page_of_the_best():
    small = clean.best(EXAMPLE, arms=2)
    kept = {arm["name"] for arm in EXAMPLE["arms"][:2]}
    assert {row["arm"] for name in ("curves", "bands", "frontier", "health") for row in small[name]} == kept
    assert [(pair["a"], pair["b"]) for pair in small["verdict"]["pairs"]] == [("ppo_max", "reinforce_pp")]
    assert set(small["wins"]["arms"]) == kept and len(small["wins"]["matrix"]) == len(small["wins"]["matrix"][0]) == 2
    assert "3 more are in the CSV files" in small["notes"][0]


def test_many_seeds_leave_charts_of_the_first_and_the_page_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(charts, "MOST_ROWS", 120)
    drawn = charts.datasets(EXAMPLE)
    assert {row["seed"] for row in drawn["evaluations"]} == {0, 1}
    assert len(drawn["bands"]) == len(EXAMPLE["bands"])
    write(document(), tmp_path, figures=False)
    assert "Charts draw 10 of 23 runs as single lines" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_charts_are_plain_data_that_needs_no_network():
    for chart in charts.charts(EXAMPLE, palette.screen()).values():
        text = json.dumps(chart.spec)
        assert json.loads(text) == chart.spec and '"url"' not in text
        assert chart.alt and chart.title


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        (None, 2, "–"),
        (-0.001, 2, "0.00"),
        (-1.5, 2, "−1.50"),
        (1234.5, 0, "1,234"),
        (2.61e12, 0, "2.61\u00a0×\u00a010¹²"),
        (0.0, 3, "0.000"),
    ],
)
def test_numbers_read_as_a_reader_expects(value, places, shown):
    assert words.number(value, places) == shown


@pytest.mark.parametrize(("values", "places"), [([0.61, 0.02], 3), ([23.4], 1), ([412.0], 0), ([0.0], 3), ([None], 3)])
def test_decimals_show_three_significant_digits(values, places):
    assert words.digits(values) == places


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "report" / f"{name}.csv").read_text(encoding="utf-8").splitlines()))


def _tokens(text: str) -> list:
    """Tokens of a Markdown text, those inside lines included."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    return [inner for token in tokens for inner in [token, *(token.children or [])]]


def _text(tokens: list) -> str:
    return "".join(token.content for token in tokens if token.type == "text")
