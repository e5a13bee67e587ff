"""The page: one file that opens from disk and asks the network for nothing.

Jinja2 escapes whatever the document holds. A content security policy allows the two scripts written here, by their
hashes, and nothing else: no other script, no handler, no address outside the file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from align_lab.base.files import write_text
from align_lab.base.paths import cache_folder
from align_lab.compare.document import SCORE, Document
from align_lab.compare.overoptimization import NOTHING_BESIDE
from align_lab.compare.report import (
    answer,
    claim_tables,
    factor_figure,
    factor_tables,
    foreign_tables,
    pair_tables,
    palette,
    precision_table,
    result_tables,
    setup_tables,
    trust,
    tuning_tables,
    words,
)
from align_lab.compare.report.charts import (
    FOR_PAPERS,
    HEALTH,
    bands_shown,
    charts,
    curve_choices,
    datasets,
    final_metrics,
    frontier_scores,
)
from align_lab.compare.report.csv_tables import Row
from align_lab.compare.report.grid import Grid, full, shortened

HERE = Path(__file__).parent
LONGEST = 24  # letters of a word that is kept whole on a narrow screen
EMBED = "window.vegaEmbed = vegaEmbed;"
INTERVAL = re.compile(r"(\[[−\d., ]{3,30}\])")
SCRIPTS = ("draw.js", "numbers.js", "app.js")
VEGA_LITE = "6.4"
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "script-src 'unsafe-eval' {hashes}"  # Vega compiles the expressions of its specs, which are written in Python here
)


def html(document: Document, *, drawn: bool = False) -> str:
    """The whole page as text. drawn: its charts lie beside it as figures."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    arms = [arm["name"] for arm in document["arms"]]
    environment.globals |= {"words": words, "marker": _marker, "places": partial(_places, arms)}
    environment.globals |= {"label": partial(words.metric, document), "short": partial(words.short, document)}
    environment.filters |= {
        "whole": partial(_whole, arms),
        "named": lambda names: [(name, words.metric(document, name)) for name in names],
        "named_axes": lambda names: [(name, words.axis(name)) for name in names],
    }
    scripts = [_library(), _own_script()]
    policy = POLICY.format(hashes=" ".join(f"'sha256-{_hash(script)}'" for script in scripts))
    return environment.get_template("template.html").render(
        doc=document,
        arms=arms,
        grids=_grids(document),
        figures={
            "levels": factor_figure.levels(document),
            "seeds": answer.seeds(document),
            "pairs": answer.pairs(document),
        },
        reasons=trust.reasons(document),
        iqm=result_tables.has_iqm(document),
        drawn=drawn,
        bands=bands_shown(document),
        several=any(arm["n"] > 1 for arm in document["arms"]),
        choices=_choices(document),
        optimized=SCORE,
        nothing_beside=NOTHING_BESIDE,
        policy=policy,
        style=Markup(_style()),
        data=Markup(_embedded(document)),
        scripts=[Markup(script) for script in scripts],
    )


def _grids(document: Document) -> dict[str, Any]:
    """Every table of the page by name; `arms` is one a metric."""
    single = [
        claim_tables.claims, pair_tables.pairs, precision_table.precision, precision_table.purchases,
        precision_table.studies,
        result_tables.axes, result_tables.overoptimization,
        result_tables.health, result_tables.audit,
        setup_tables.equal, setup_tables.differing, setup_tables.recipes, setup_tables.budgets,
        setup_tables.charged, setup_tables.runs, setup_tables.unfinished,
    ]  # fmt: skip
    grids: dict[str, Grid] = {make.__name__: shortened(make(document)) for make in single}
    if document["wins"]["arms"]:
        grids["wins"] = pair_tables.wins(document)
    if factorial := document["factors"]:
        grids |= {make.__name__: shortened(make(factorial)) for make in factor_tables.GRIDS}
    if tuned := document["tuning"]:
        grids |= {make.__name__: shortened(make(tuned)) for make in tuning_tables.GRIDS}
    if foreign := document["foreign"]:
        every = (
            foreign_tables.foreign_arms,
            foreign_tables.foreign_pairs,
            foreign_tables.foreign_columns,
            foreign_tables.foreign_left_out,
            foreign_tables.foreign_unmapped,
        )
        grids |= {make.__name__: shortened(make(foreign)) for make in every}
    settings = foreign_tables.foreign_settings(foreign) if foreign else []
    arms = {metric: result_tables.arms(document, metric) for metric in final_metrics(document)}
    whole = {name: full(grid) for name, grid in grids.items()}
    return {
        **whole,
        "foreign_settings": [full(grid) for grid in settings],
        "arms": {metric: full(grid) for metric, grid in arms.items()},
    }


def _choices(document: Document) -> dict[str, Any]:
    """What the choosers of the page offer."""
    pairs = curve_choices(document)
    return {
        "final": final_metrics(document),
        "metrics": list(dict.fromkeys(metric for metric, _ in pairs)),
        "axes": [axis for axis in words.AXES if any(axis == other for _, other in pairs)],
        "frontier": frontier_scores(document),
        "health": [metric for metric in HEALTH if (metric, "episode") in pairs],
    }


def _embedded(document: Document) -> str:
    """Arms, charts and data sets as JSON that cannot end its script element."""
    drawn = charts(document, palette.screen())
    content = {
        "arms": [arm["name"] for arm in document["arms"]],
        "config": palette.config(palette.on_screen()),
        "charts": {name: asdict(chart) for name, chart in drawn.items() if name not in FOR_PAPERS},
        "data": {name: _columns(rows) for name, rows in datasets(document).items() if name not in FOR_PAPERS},
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """A column a key, half the size of rows; numbers to seven significant digits."""
    names = {name: None for row in rows for name in row}
    return {name: [_rounded(row.get(name)) for row in rows] for name in names}


def _rounded(value: Any) -> Any:
    if not isinstance(value, float) or value == 0:
        return value
    rounded = round(value, 6 - math.floor(math.log10(abs(value))))
    return int(rounded) if rounded.is_integer() else rounded


def _style() -> str:
    """The colors, from the palette that charts use too, and the style sheets."""
    light, dark = palette.variables(palette.LIGHT), palette.variables(palette.DARK)
    sheets = [(HERE / name).read_text(encoding="utf-8") for name in ("style.css", "answer.css", "print.css")]
    return "\n".join(
        [f":root {{ color-scheme: light dark; {light} }}",
         f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}", *sheets]
    )  # fmt: skip


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one text, from vl-convert: no download. Putting it together takes a second, so
    it is cached.
    """
    cached = cache_folder() / "page" / f"vega-{version('vl-convert-python')}-{VEGA_LITE}.js"
    if not cached.exists():
        import vl_convert

        bundle = vl_convert.javascript_bundle(EMBED, vl_version=VEGA_LITE)
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_text(cached, f"(() => {{{bundle}}})();".replace("</script", "<\\/script").replace("<!--", "<\\!--"))
    return cached.read_text(encoding="utf-8")


def _own_script() -> str:
    parts = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();'


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _marker(place: int) -> dict[str, Any]:
    """Color and outline of an arm, as charts draw them."""
    from markupsafe import Markup

    outline = Markup(palette.MARKS[palette.SHAPES[place % len(palette.SHAPES)]])
    return {"color": f"var(--arm-{place % palette.COLORS})", "outline": outline}


def _whole(arms: Sequence[str], text: str) -> str:
    """Escaped; words of arms' names that a browser would break at a hyphen or a plus stay whole, as do intervals."""
    from markupsafe import Markup, escape

    words_of = {word for arm in arms for word in arm.split() if len(word) <= LONGEST and not word.isalnum()}
    names = sorted(map(re.escape, words_of), key=len, reverse=True)
    kept = re.compile("|".join([INTERVAL.pattern, *(rf"(?<!\w)({name})(?!\w)" for name in names)]))
    whole, end, parts = Markup('<span class="whole">{}</span>'), 0, []
    for match in kept.finditer(text):
        parts += [escape(text[end : match.start()]), whole.format(match[0])]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def _places(arms: Sequence[str], names: Sequence[str]) -> str:
    """Places of those names among the arms, as the page's script reads them; names of no arm are left out."""
    return " ".join(str(arms.index(name)) for name in names if name in arms)
