"""The plan of a sequential study as it was written before its first run: it is never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from align_lab.base.contrast import Contrast
from align_lab.base.errors import ConfigError
from align_lab.base.files import write_json
from align_lab.base.seed_plan import SeedPlan
from align_lab.compare.asked import Asked
from align_lab.compare.sequential import bounds
from align_lab.compare.sequential.looks import RULES
from align_lab.record.layout import StudyLayout

BESIDE = ("control", "metric", "contrasts")  # what a plan says beside its seeds
BEFORE = {"paired": False, "diverged": "wait"}  # what plans of rules 1 did, and did not say
Arms = Mapping[str, Sequence[str]]  # name of an arm -> names of its runs, by seed


@dataclass(frozen=True, kw_only=True)
class WrittenPlan:
    """What a study declared: looks and rules, the level of each look, its arms, and the metric that decides.

    A run's name has the hash of its whole config, so that equal names are equal runs. `rules`: how its looks decide.
    """

    plan: SeedPlan
    levels: tuple[float, ...]
    control: str
    metric: str
    runs: Arms
    contrasts: tuple[Contrast, ...] = ()
    rules: int = RULES

    @property
    def asked(self) -> Asked:
        """What it is to decide."""
        return Asked(
            control=self.control, contrasts=self.contrasts, smallest=self.plan.smallest, paired=self.plan.paired
        )

    @property
    def digest(self) -> str:
        """A hash of all of it."""
        return hashlib.sha256(json.dumps(_as_json(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def longest(self) -> int:
        """Runs of the study if no seed is saved."""
        return self.plan.most * len(self.runs)


def declare(
    folder: Path,
    plan: SeedPlan,
    *,
    control: str,
    contrasts: tuple[Contrast, ...] = (),
    metric: str,
    runs: Arms,
    write: bool = True,
) -> WrittenPlan:
    """Write the plan of a study that has none yet; of one that has, return it. A dry run does not `write`.

    Raises ConfigError where the study was begun with another plan, with every difference.
    """
    if (known := read(folder)) is None:
        known = WrittenPlan(
            plan=plan,
            levels=_levels(plan, len(runs), control, contrasts),
            control=control,
            metric=metric,
            runs=runs,
            contrasts=contrasts,
        )
        if write:
            path = StudyLayout(folder).seed_plan
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {**_as_json(known), "digest": known.digest})
        return known
    plan = replace(plan, **BEFORE) if known.rules == 1 else plan
    asked = replace(known, plan=plan, control=control, metric=metric, runs=runs, contrasts=contrasts)
    if differences := list(_differences(known, asked)):
        listed = "\n".join(f"  {line}" for line in differences)
        raise ConfigError(
            f"the study {folder.name} was begun with another plan, and a plan that changes after results are seen "
            f"promises nothing:\n{listed}\nType the plan that it began with, or give the new one a name of its own: "
            "study=NAME"
        )
    return known


def _levels(plan: SeedPlan, arms: int, control: str, contrasts: Sequence[Contrast]) -> tuple[float, ...]:
    if contrasts:
        return bounds.of_contrasts(plan, contrasts)
    return bounds.levels(plan, arms, control=bool(control))


def read(folder: Path) -> WrittenPlan | None:
    """The plan of a study; None where it has none. Raises ConfigError for a file that was changed."""
    path = StudyLayout(folder).seed_plan
    if not path.exists():
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        content = json.loads(path.read_text(encoding="utf-8"))
        digest = content.pop("digest")
        rules = int(content.get("rules", 1))
        written = WrittenPlan(
            plan=SeedPlan(**{**(BEFORE if rules == 1 else {}), **content["plan"]}),
            levels=tuple(content["levels"]),
            control=content["control"],
            metric=content["metric"],
            runs={arm: tuple(names) for arm, names in content["runs"].items()},
            contrasts=tuple((str(a), str(b)) for a, b in content.get("contrasts", ())),
            rules=rules,
        )
        if written.digest == digest:
            return written
    raise ConfigError(f"{path} is not as the study wrote it: bring it back, or begin again under another study=NAME")


def _as_json(written: WrittenPlan) -> dict[str, Any]:
    """Without contrasts as it was before there were any, and by rules 1 as it was then: such plans keep their hash."""
    plan = asdict(written.plan)
    if written.rules == 1:
        plan = {name: value for name, value in plan.items() if name not in BEFORE}
    return {
        **({"contrasts": [list(pair) for pair in written.contrasts]} if written.contrasts else {}),
        **({"rules": written.rules} if written.rules > 1 else {}),
        "plan": plan,
        "levels": list(written.levels),
        "control": written.control,
        "metric": written.metric,
        "runs": {arm: list(names) for arm, names in written.runs.items()},
    }


def _differences(known: WrittenPlan, asked: WrittenPlan) -> list[str]:
    before, now = ({**asdict(one.plan), **{name: getattr(one, name) for name in BESIDE}} for one in (known, asked))
    lines = [
        f"{'' if name in BESIDE else 'seeds.'}{name}: {before[name]!r}, now {now[name]!r}"
        for name in before
        if before[name] != now[name]
    ]
    lines += [f"arm {arm}: it is no longer there" for arm in known.runs if arm not in asked.runs]
    lines += [f"arm {arm}: it is new" for arm in asked.runs if arm not in known.runs]
    shared = min(known.plan.most, asked.plan.most)
    return lines + [
        f"arm {arm}: its recipe is another one"
        for arm, names in known.runs.items()
        if arm in asked.runs and list(names[:shared]) != list(asked.runs[arm][:shared])
    ]
