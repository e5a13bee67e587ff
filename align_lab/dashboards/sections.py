"""The texts and tables of a dashboard: those of compare, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from align_lab.compare.document import SCORE
from align_lab.compare.overoptimization import NOTHING_BESIDE
from align_lab.compare.report import (
    claim_tables,
    markdown,
    pair_tables,
    result_tables,
    setup_tables,
    trust,
    tuning_tables,
    words,
)
from align_lab.compare.report.markdown import escaped, facts, proven, samples, table, warned
from align_lab.compare.values import listed
from align_lab.dashboards import forest
from align_lab.dashboards.study_document import StudyDocument

NOT_COMPARABLE = "Not comparable: nothing below ranks the arms."
BANDS = (
    "Charts show means over seeds; bands are one standard deviation, whiskers one standard error. "
    "The intervals that decide stand in the tables."
)


def joined(parts: Iterable[str]) -> str:
    """Paragraphs, without empty ones."""
    return "\n\n".join(part for part in parts if part)


def verdict(study: StudyDocument) -> str:
    """Whether the runs may be compared, then the question and the answer in a sentence."""
    document = study.document
    return joined(
        [
            f"**{NOT_COMPARABLE}**" if study.refused else "",
            escaped(document["question"]),
            f"**{escaped(document['verdict']['sentence'])}**",
            *warned(document),
            facts(document) if document["arms"] else "",
            *(proven(document) if study.refused else []),
        ]
    )


def _in_letters(drawing: str) -> str:
    """A block of code, whose letters have one width; its fence is longer than any that the drawing holds."""
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", drawing))])
    return f"{fence}text\n{drawing}\n{fence}" if drawing else ""


def _renamed(study: StudyDocument) -> Iterable[str]:
    if study.renamed:
        yield f"Charts here call {listed([f'{arm} {known}' for arm, known in study.renamed.items()])}."


def _merged(study: StudyDocument) -> Iterable[str]:
    for name, arms in study.merged.items():
        yield (
            f"{', '.join(arms)} are one curve in the charts here, which know them all as {name}; the tables tell them "
            "apart. Arms of a sweep file have names of their own."
        )


def arms(study: StudyDocument) -> str:
    """Every seed of every arm, with means and intervals."""
    return table(result_tables.arms(study.document, study.metric)) or "No run has finished."


def factors(study: StudyDocument) -> str:
    """What each choice does, in a study of factors."""
    factorial = study.document["factors"]
    return joined(markdown.factors(factorial)) if factorial else ""


def every_pair(study: StudyDocument) -> str:
    """Every pair as the page draws it."""
    return _in_letters(forest.pairs(study.document))


def claims(study: StudyDocument) -> str:
    """What the study was to decide."""
    return table(claim_tables.claims(study.document))


def pairs(study: StudyDocument) -> str:
    """Every pair in numbers, and win rates of arm against arm."""
    document = study.document
    wins = table(pair_tables.wins(document)) if len(document["wins"]["arms"]) > 1 else ""
    return joined([table(pair_tables.pairs(document)) or "No pair to compare.", wins])


def proof(study: StudyDocument) -> str:
    """Why the answer can be trusted, in the words of the page, with the settings that were allowed to differ."""
    document = study.document
    if not document["arms"]:
        return ""
    reasons = (f"- **{about}**: {escaped(text)}" for about, text, _ in trust.reasons(document))
    allowed = document["comparability"]["differing"] and not study.refused  # else the verdict has them
    return joined(["\n".join(reasons), *(proven(document) if allowed else [])])


def notes(study: StudyDocument) -> str:
    """What is worth knowing of the study, and of the charts here."""
    texts = [*study.document["notes"], *_renamed(study), *_merged(study), BANDS]
    return "\n".join(f"- {escaped(note)}" for note in texts)


def equal(study: StudyDocument) -> str:
    """Settings and hashes that all runs share."""
    return table(setup_tables.equal(study.document))


def budgets(study: StudyDocument) -> str:
    """The ranking at equal episodes, tokens, seconds, FLOPs and KL."""
    changes = "\n".join(f"- {escaped(text)}" for text in words.changes_of_order(study.document))
    return joined([changes, table(result_tables.axes(study.document)) if study.document["axes"] else ""])


def overoptimization(study: StudyDocument) -> str:
    """Runs whose deciding score fell while the optimized one rose, or why there are none if the two are one."""
    if study.document["arms"] and study.metric == SCORE:
        return escaped(NOTHING_BESIDE)
    return table(result_tables.overoptimization(study.document))


def health(study: StudyDocument) -> str:
    """Length, entropy and diversity."""
    return table(result_tables.health(study.document))


def charged(study: StudyDocument) -> str:
    """What a run of each arm cost."""
    return table(setup_tables.charged(study.document))


def recipes(study: StudyDocument) -> str:
    """What differs between arms by design."""
    return joined(table(make(study.document)) for make in (setup_tables.recipes, setup_tables.budgets))


def tuning(study: StudyDocument) -> str:
    """What equal tuning found, and what it cost."""
    tuned = study.document["tuning"]
    return joined(table(make(tuned)) for make in tuning_tables.GRIDS) if tuned else ""


def audit(study: StudyDocument) -> str:
    """Where judges disagree, and what they could not judge."""
    return table(result_tables.audit(study.document))


def completions(study: StudyDocument) -> str:
    """One table per prompt with one row per arm, without the heading, which the report has itself."""
    return joined(list(samples(study.document))[1:])


def left_out(study: StudyDocument) -> str:
    """Excluded runs and missing seeds."""
    return table(setup_tables.unfinished(study.document)) or "No run is left out and no seed is missing."
