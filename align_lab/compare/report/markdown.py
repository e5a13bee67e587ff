"""The report as Markdown for a repository: the same tables and samples, with the figures linked from `report/`.

Whatever comes from a model or a user is escaped, so that it stays text: no HTML, no link, no table cell, no list of its
own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from align_lab.compare.audit import nothing_found
from align_lab.compare.document import SCORE, Document, Factorial, Foreign, Sample
from align_lab.compare.headline import ALONE
from align_lab.compare.overoptimization import NOTHING_BESIDE
from align_lab.compare.report import (
    claim_tables,
    factor_tables,
    foreign_tables,
    pair_tables,
    precision_table,
    result_tables,
    setup_tables,
    tuning_tables,
    words,
)
from align_lab.compare.report.charts import HEALTH
from align_lab.compare.report.figures import file_name
from align_lab.compare.report.grid import Cell, Grid, full, shortened

MARKS = re.compile(r"([\\`*_{}\[\]|~#!^@])")  # what CommonMark and GitHub's dialect give a meaning, wherever it stands
STARTS = re.compile(r"^([ \t]*\d*)([-+=.)])(?=\s|\2|$)", re.MULTILINE)  # what begins a list or a heading
Figure = Callable[[str, str], str]  # chart and what it shows -> the image, or nothing where there is no such file
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"}


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line: line ends become <br>."""
    text = MARKS.sub(r"\\\1", text)
    text = "".join(ENTITIES.get(letter, letter) for letter in text)
    text = re.sub(r"(?i)\b(www)\.", r"\1&#46;", text).replace("://", "&#58;//")  # GitHub makes links of bare addresses
    text = STARTS.sub(r"\1\\\2", text)
    return "<br>".join(line.strip() for line in text.strip().splitlines())


def table(grid: Grid) -> str:
    """A caption and a table in GitHub's Markdown; nothing for a table without rows."""
    if not grid.rows:
        return ""
    grid = full(shortened(grid))
    head = [escaped(column.heading) for column in grid.columns]
    rule = ["---:" if column.numeric else ":---" for column in grid.columns]
    lines = [head, rule, *([_cell(cell) for cell in row.cells] for row in grid.rows)]
    return f"{escaped(grid.caption)}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text) or " "
    if cell.href:
        return f"[{text}](<{cell.href}>)"
    return f"**{text}**" if cell.tone not in ("", "soft") and text.strip() else text


def markdown(document: Document, figures: Sequence[str]) -> str:
    """The whole report. figures: names (without ending) of those that lie in `report/`."""

    def figure(chart: str, alt: str) -> str:
        name = file_name(chart)
        return f"![{escaped(alt)}](report/{name}.svg)" if name in figures else ""

    foreign = document["foreign"]
    beside = list(_foreign(foreign)) if foreign else []
    if foreign and not document["arms"]:
        return "\n\n".join([f"# {escaped(document['study'])}", *filter(None, beside), _tail(document)]) + "\n"
    parts = [
        f"# {escaped(document['study'])}",
        escaped(document["question"]),
        f"**{escaped(document['verdict']['sentence'])}**",
        *warned(document),
        facts(document),
        "\n".join(f"- {escaped(note)}" for note in document["notes"]),
        *(("## What each choice does", *factors(document["factors"])) if document["factors"] else ()),
        *_results(document, figure),
        *beside,
        *_comparability(document),
        "## Recipes and budgets",
        *(table(make(document)) for make in (setup_tables.recipes, setup_tables.budgets, setup_tables.charged)),
        *_training(document, figure),
        *samples(document),
        "## Runs",
        table(setup_tables.unfinished(document)) or "No run is left out and no seed is missing.",
        _tail(document),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _tail(document: Document) -> str:
    written = escaped(document["written"])
    return (
        f"Interactive charts: [report.html](report.html). Numbers and figures: [report/](report/). Written {written}."
    )


def warned(document: Document) -> list[str]:
    """For what scores the intervals do not hold, where that may be so here."""
    return [f"*{escaped(warning)}*" for warning in document["verdict"]["warnings"]]


def facts(document: Document) -> str:
    """How much was compared, and by what."""
    runs = sum(arm["n"] for arm in document["arms"])
    method = document["verdict"]["method"]
    unfinished = f", {len(document['unfinished'])} unfinished" if document["unfinished"] else ""
    return (
        f"{words.several(len(document['arms']), 'arm')}, {words.several(runs, 'finished run')}{unfinished}, decided by "
        f"{escaped(words.explained(document, document['metric']))}. "
        f"{escaped(words.sentence(words.capitalized(method)))}"
    )


def factors(factorial: Factorial) -> Iterable[str]:
    """How a study of factors was planned, and its tables."""
    yield escaped(" ".join([words.sentence(words.capitalized(factorial["design"])), *factorial["aliases"]]))
    yield from (table(make(factorial)) for make in factor_tables.GRIDS)


def _results(document: Document, figure: Figure) -> Iterable[str]:
    decides = document["metric"]
    yield "## Results"
    yield figure(
        f"scores/{decides}",
        f"Final {words.metric(document, decides)} by arm: every seed, the mean with its t interval",
    )
    yield table(result_tables.arms(document, decides)) or "No run has finished."
    if document["claims"]:
        yield "## Claims"
        yield table(claim_tables.claims(document))
    if tuned := document["tuning"]:
        yield "## Tuning"
        yield words.sentence(words.capitalized(tuned["method"]))
        yield from (text for make in tuning_tables.GRIDS if (text := table(make(tuned))))
    yield "## Pairs"
    yield figure("pairs", "Gap of each pair with its interval, and the gap that matters")
    nothing = "No pair of arms is asked for: the choices are." if document["factors"] else ALONE
    yield table(pair_tables.pairs(document)) or nothing
    yield table(precision_table.precision(document))
    yield table(precision_table.purchases(document))
    yield table(precision_table.studies(document))
    if len(document["wins"]["arms"]) > 1:
        yield figure("wins", "Win rates between arms")
        yield table(pair_tables.wins(document))


def _training(document: Document, figure: Figure) -> Iterable[str]:
    decides = document["metric"]
    yield "## Learning curves"
    yield figure(
        f"curves/{decides}/episode",
        f"{words.metric(document, decides)} over episodes: means with t intervals, thin lines are single seeds",
    )
    yield "## At equal budgets"
    yield "\n".join(f"- {escaped(text)}" for text in words.changes_of_order(document))
    yield figure("ranking", "Ranking of the arms at equal episodes, tokens, device-seconds, FLOPs and KL")
    yield table(result_tables.axes(document))
    yield "## Reward, KL and over-optimization"
    label, optimized = words.capitalized(words.metric(document, decides)), words.metric(document, SCORE)
    yield figure(f"frontier/{decides}", f"{label} against KL, every evaluation of every run")
    if decides == SCORE:
        yield escaped(NOTHING_BESIDE)
    else:
        yield figure("beyond", f"{label} and {optimized} of each arm over the root of the KL")
        yield table(result_tables.overoptimization(document))
    yield "## Length, entropy and diversity"
    yield from (
        figure(f"curves/{metric}/episode", f"{words.metric(document, metric)} over episodes") for metric in HEALTH
    )
    yield table(result_tables.health(document))
    yield "## Instrument audit"
    yield table(result_tables.audit(document)) or escaped(nothing_found(document["arms"]))


def _foreign(foreign: Foreign) -> Iterable[str]:
    yield "## Runs of other programs"
    yield f"**{escaped(foreign['sentence'])}**"
    yield from (table(grid) for grid in foreign_tables.foreign_settings(foreign))
    yield from (table(make(foreign)) for make in (foreign_tables.foreign_arms, foreign_tables.foreign_pairs))
    yield table(foreign_tables.foreign_left_out(foreign))
    yield "\n".join(f"- {escaped(note)}" for note in foreign["notes"])
    yield table(foreign_tables.foreign_columns(foreign))
    yield table(foreign_tables.foreign_unmapped(foreign))


def _comparability(document: Document) -> Iterable[str]:
    proof = setup_tables.equal(document)
    yield "## Comparability"
    yield from proven(document)
    if proof.rows:
        yield f"<details><summary>The {len(proof.rows)} that are equal</summary>\n\n{table(proof)}\n\n</details>"


def proven(document: Document) -> Iterable[str]:
    """Whether all settings are equal, and those that are not."""
    proof, differing = setup_tables.equal(document), setup_tables.differing(document)
    if differing.rows:
        allowed = document["comparability"]["fair"]
        text = "Settings differ, all allowed by hand." if allowed else "The runs are not comparable: settings differ."
        yield f"**{text}**"
        yield table(differing)
    elif document["comparability"]["fair"]:
        yield f"All {len(proof.rows)} settings and hashes are equal in every run."
    else:
        yield "**The runs are not comparable.**"


def samples(document: Document) -> Iterable[str]:
    """A table a prompt, an arm a line, with the score that decides and the one that is optimized."""
    if document["samples"]:
        yield "## Samples"
        yield "Completions of the last evaluation for the same prompt and seed, as they are."
    scores = scores_of_a_sample(document)
    head = " | ".join(["arm", *(escaped(words.short(document, metric)) for metric in scores), "completion"])
    for place, sample in enumerate(document["samples"], 1):
        lines = [f"**Prompt {place}:** {escaped(sample['prompt'])}", "", f"| {head} |"]
        lines.append(f"| :--- |{' ---: |' * len(scores)} :--- |")
        if sample["start"] is not None:
            values = " | ".join(words.number(value, 2) for value in _start(sample)[: len(scores)])
            lines.append(f"| before training | {values} | {escaped(sample['start'])} |")
        for each in sample["completions"]:
            values = " | ".join(words.number(value, 2) for value in (each["decides"], each["score"])[: len(scores)])
            ended = "" if each["ended"] else " *(cut at the length limit)*"
            lines.append(f"| {escaped(each['arm'])} | {values} | {escaped(each['completion'])}{ended} |")
        yield "\n".join(lines)


def _start(sample: Sample) -> tuple[float | None, float | None]:
    return sample["start_decides"], sample["start_score"]


def scores_of_a_sample(document: Document) -> list[str]:
    """The metric that decides, and the one that is optimized where that is another."""
    return list(dict.fromkeys((document["metric"], SCORE)))
