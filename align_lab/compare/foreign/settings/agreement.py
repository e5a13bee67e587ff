"""Field by field: where another program's config agrees with an arm of ours, where it differs, what is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from align_lab.base.roles import role
from align_lab.compare.document import ForeignField, ForeignSettings
from align_lab.compare.foreign.settings.deciding import NAME, NEVER, REST, Deciding, deciding
from align_lab.compare.foreign.settings.plain import plain, same, shown
from align_lab.compare.foreign.settings.programs import MISSING
from align_lab.compare.foreign.settings.translation import Known, TheirSettings, Unknown
from align_lab.compare.values import listed

EQUAL, DIFFERS, UNKNOWN = "equal", "differs", "not known"
STATES = (DIFFERS, UNKNOWN, EQUAL)  # in the order of a table
ALGORITHM, ALGORITHM_FIELD = "algo.name", "algo."
RANK, ALPHA = "model.lora.rank", "model.lora.alpha"


@dataclass(frozen=True, kw_only=True)
class Side:
    """An arm's values by our field; `own`: it is ours, so that a field that it has not is one that we have not."""

    name: str
    fields: Mapping[str, Known | Unknown]
    own: bool = False


def ours(name: str, fields: Mapping[str, Any]) -> Side:
    """An arm of ours, by the leaves of its config."""
    known = {key: Known(value=plain(value), source=key) for key, value in fields.items()}
    return Side(name=name, fields=known, own=True)


def together(runs: Sequence[TheirSettings]) -> TheirSettings:
    """The runs of an arm as one: a field in which they differ has no value."""
    first = runs[0]
    names = dict.fromkeys(name for run in runs for name in run.fields)
    notes = dict.fromkeys(note for run in runs for note in run.notes)
    return TheirSettings(
        program=first.program,
        version=listed(dict.fromkeys(run.version for run in runs)),
        fields={name: _common([run.fields.get(name) for run in runs]) for name in names},
        apart=first.apart,
        unmapped=sorted({name for run in runs for name in run.unmapped}),
        files=list(dict.fromkeys(file for run in runs for file in run.files)),
        notes=list(notes),
    )


def _common(values: Sequence[Known | Unknown | None]) -> Known | Unknown:
    known = [value for value in values if isinstance(value, Known)]
    if len(known) < len(values):
        unknown = next((value for value in values if isinstance(value, Unknown)), None)
        return unknown or Unknown(why="some of its runs do not say it")
    if all(same(value.value, known[0].value) for value in known):
        return known[0]
    differing = dict.fromkeys(shown(value.value) for value in known)
    return Unknown(why=f"its runs differ: {listed(differing, most=6)}")


def agreement(arm: str, theirs: TheirSettings, candidates: Sequence[Side]) -> ForeignSettings | None:
    """Against the arm that it is most alike: of the same algorithm, if there is one. None without any other arm."""
    compared = [(side, list(_rows(side, theirs))) for side in candidates]
    if not compared:
        return None
    side, rows = max(compared, key=lambda one: _alike(one[1]))
    count = {state: sum(row["state"] == state for row in rows) for state in STATES}
    assumed = sum(row["assumed"] for row in rows)
    return {
        "arm": arm,
        "against": side.name,
        "version": theirs.version,
        "sentence": _sentence(arm, side.name, rows, assumed),
        "equal": count[EQUAL],
        "differs": count[DIFFERS],
        "unknown": count[UNKNOWN],
        "assumed": assumed,
        "fields": sorted(rows, key=lambda row: STATES.index(row["state"])),
        "unmapped": list(theirs.unmapped),
        "files": list(theirs.files),
        "notes": list(theirs.notes),
    }


def _alike(rows: Sequence[ForeignField]) -> tuple[bool, int]:
    same_algorithm = any(row["field"] == ALGORITHM and row["state"] == EQUAL for row in rows)
    return same_algorithm, sum(row["state"] == EQUAL for row in rows)


def _rows(side: Side, theirs: TheirSettings) -> Iterator[ForeignField]:
    other_algorithm = _differ(side.fields.get(ALGORITHM), theirs.fields.get(ALGORITHM))
    for one in _fields(side):
        name = one.field
        if any(fnmatchcase(name, pattern) for pattern in theirs.apart) or (
            other_algorithm and name.startswith(ALGORITHM_FIELD) and name != ALGORITHM
        ):
            continue
        a, b = _ours(one, side), theirs.fields.get(name)
        if a is not None and not _idle(one, b, side, theirs):
            yield _row(one, a, b or Unknown(why=f"no field of {theirs.program} is known to be it"))


def _fields(side: Side) -> Iterator[Deciding]:
    """With every further field of the arm's algorithm in the place that is kept for them."""
    listed_fields = deciding()
    named = {one.field for one in listed_fields}
    for one in listed_fields:
        if one.how == REST:
            rest = (name for name in side.fields if name.startswith(ALGORITHM_FIELD) and name not in named)
            yield from (Deciding(field=name, ours=[name]) for name in rest)
        else:
            yield one


def _ours(one: Deciding, side: Side) -> Known | Unknown | None:
    """The first of its names that is recorded; what we always do; None where the arm has no use for it."""
    if one.with_ and side.own and one.with_ not in side.fields:
        return None
    names = one.ours if side.own else [one.field]
    found = [side.fields[name] for name in names if name in side.fields]
    said = next((one for one in found if isinstance(one, Unknown) or one.value is not None), None)
    if said or found:
        return said or found[0]
    if one.fixed is not MISSING and side.own:
        return Known(value=one.fixed, source="")
    return Unknown(why="not in its config") if one.how == NEVER else None


def _idle(one: Deciding, b: Known | Unknown | None, side: Side, theirs: TheirSettings) -> bool:
    """A switch that only we name and they have not; the scale of an adapter that neither has."""
    if one.field == ALPHA:
        ranks = [fields.get(RANK) for fields in (side.fields, theirs.fields)]
        return any(isinstance(rank, Known) and rank.value == 0 for rank in ranks)
    return one.fixed is not MISSING and b is None


def _row(one: Deciding, a: Known | Unknown, b: Known | Unknown) -> ForeignField:
    state, why = _state(one, a, b)
    return {
        "field": one.field,
        "role": role(one.field),
        "state": state,
        "ours": shown(a.value) if isinstance(a, Known) else "not known",
        "theirs": shown(b.value) if isinstance(b, Known) else "not known",
        "source": "; ".join(part for part in (why, b.source if isinstance(b, Known) else "") if part),
        "assumed": isinstance(b, Known) and b.assumed and state != UNKNOWN,
    }


def _state(one: Deciding, a: Known | Unknown, b: Known | Unknown) -> tuple[str, str]:
    """With the reason where it is not known."""
    if one.how == NEVER:
        return UNKNOWN, one.why
    for side in (b, a):
        if isinstance(side, Unknown):
            return UNKNOWN, side.why
    if isinstance(a, Known) and isinstance(b, Known):
        if one.how == NAME and (_is_path(a.value) or _is_path(b.value)):
            return UNKNOWN, "what lies in a folder is in no config"
        return (EQUAL if same(a.value, b.value) else DIFFERS), ""
    return UNKNOWN, ""


def _differ(a: Known | Unknown | None, b: Known | Unknown | None) -> bool:
    return isinstance(a, Known) and isinstance(b, Known) and not same(a.value, b.value)


def _is_path(value: Any) -> bool:
    text = str(value)
    return text.startswith(("/", ".", "~")) or text.count("/") > 1


def _sentence(arm: str, against: str, rows: Sequence[ForeignField], assumed: int) -> str:
    """`Of 23 settings that decide a comparison of A with B, 14 are equal, 6 differ (...) and 3 are not known (...).`"""
    names = {state: [row["field"] for row in rows if row["state"] == state] for state in STATES}
    parts = [
        f"{len(names[EQUAL])} {'is' if len(names[EQUAL]) == 1 else 'are'} equal",
        f"{len(names[DIFFERS])} {'differs' if len(names[DIFFERS]) == 1 else 'differ'}{_few(names[DIFFERS])}",
        f"{len(names[UNKNOWN])} {'is' if len(names[UNKNOWN]) == 1 else 'are'} not known{_few(names[UNKNOWN])}",
    ]
    text = f"Of {len(rows)} settings that decide a comparison of {arm} with {against}, {listed(parts)}."
    if assumed:
        text += f" {assumed} of them rest{'s' if assumed == 1 else ''} on the defaults of another version."
    return text


def _few(names: Iterable[str]) -> str:
    text = listed(names)
    return f" ({text})" if text else ""
