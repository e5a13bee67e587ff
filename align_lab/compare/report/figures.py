"""The charts as files for papers: SVG and PNG, drawn by the same specs as the page."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from align_lab.base.files import replacing, write_text
from align_lab.compare.document import Document
from align_lab.compare.report import answer_svg
from align_lab.compare.report.charts import Chart, bands_shown, charts, chosen, curve_choices, datasets
from align_lab.compare.report.csv_tables import Row
from align_lab.compare.report.palette import LIGHT, config, paper

WIDTH, SMALL, COLUMNS = 460, 230, 3
PIXELS_PER_INCH = 200
VEGA_LITE = "6.4"


def figures(document: Document) -> dict[str, dict[str, Any]]:
    """File name (without ending) -> complete spec with its data, on white. Of the learning curves those that a paper
    wants: the deciding metric over every axis, the others over episodes.
    """
    drawn, rows = charts(document, paper()), datasets(document)
    rows = {**rows, "areas": rows["bands"] if bands_shown(document) else []}
    specs = {file_name(name): _complete(drawn[name], rows) for name in _single(document, list(drawn))}
    small = [chart for name, chart in drawn.items() if name.startswith("beyond/")]
    if small:
        specs["beyond"] = _side_by_side(small, rows)
    return {name: spec | {"background": "white", "padding": 8, "config": config(LIGHT)} for name, spec in specs.items()}


def _single(document: Document, drawn: Sequence[str]) -> list[str]:
    """Names of the charts that are a figure each."""
    decides = document["metric"]
    curves = {
        f"curves/{metric}/{axis}" for metric, axis in curve_choices(document) if decides == metric or axis == "episode"
    }
    return [name for name in drawn if name in curves or name.split("/")[0] in ("frontier", "ranking", "wins")]


def file_name(chart: str) -> str:
    """`curves/eval/exact_score/episode` → `curves-exact_score-episode`"""
    return chart.replace("eval/", "").replace("/", "-")


def write_figures(document: Document, folder: Path) -> list[Path]:
    """An SVG and a PNG of every figure, those that answer the question first. Nothing is fetched from anywhere."""
    import vl_convert

    written: list[Path] = []
    of_specs = (
        (name, vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, allowed_base_urls=[]))
        for name, spec in figures(document).items()
    )
    for name, svg in chain(answer_svg.drawings(document).items(), of_specs):
        write_text(folder / f"{name}.svg", svg)
        with replacing(folder / f"{name}.png") as partial:
            partial.write_bytes(vl_convert.svg_to_png(svg, scale=1, ppi=PIXELS_PER_INCH))
        written += [folder / f"{name}.svg", folder / f"{name}.png"]
    return written


def _complete(chart: Chart, rows: Mapping[str, Sequence[Row]], width: int = WIDTH) -> dict[str, Any]:
    """The chart's spec with that width (unless it has one of its own) and rows in place of the names of data sets."""
    spec = copy.deepcopy(chart.spec)
    if spec["width"] == "container":
        spec["width"] = width
    spec["layer"] = [layer for layer in spec["layer"] if layer["mark"].get("opacity") != 0]  # those are for the pointer
    for part in _with_data(spec):
        name = part["data"]["name"]
        part["data"] = {"values": chosen(rows[name], chart.rows[name])}
    return spec


def _side_by_side(small: Sequence[Chart], rows: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    specs = [_complete(chart, rows, SMALL) for chart in small]
    for spec, chart in zip(specs, small, strict=True):
        del spec["$schema"]
        spec["title"] = chart.title
    return {"$schema": small[0].spec["$schema"], "concat": specs, "columns": COLUMNS}


def _with_data(spec: Any) -> Iterator[dict[str, Any]]:
    """The parts of a spec that name a data set."""
    if isinstance(spec, dict):
        if "name" in spec.get("data", {}):
            yield spec
        for value in list(spec.values()):
            yield from _with_data(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from _with_data(value)
