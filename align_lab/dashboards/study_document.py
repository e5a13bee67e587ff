"""The content of a dashboard: the comparison document of a study, and the names of its runs on W&B."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Any

from align_lab.base.files import read_json, read_lines
from align_lab.compare.analysis import analyze
from align_lab.compare.asked import Asked
from align_lab.compare.document import SCORE, Document
from align_lab.compare.evaluations import ERROR, LAST
from align_lab.compare.names import displayed
from align_lab.compare.report import MOST_ARMS, clean
from align_lab.compare.report.palette import COLORS, LIGHT
from align_lab.record.layout import MANIFEST, RunLayout

FEWEST_RUNS = 10  # in a panel, W&B's default; a larger study shows all its runs
LONGEST_TITLE = 128  # W&B's limit
REJECTED = {"So", "Sk", "Sm", "Sc", "Cs"}  # Unicode categories that W&B rejects in a workspace's name


@dataclass(frozen=True, kw_only=True)
class StudyDocument:
    """`document` is that of compare, cleaned for display; `arms` maps each arm to `config.arm` of its runs on W&B."""

    name: str
    document: Document
    arms: Mapping[str, str]
    logged: frozenset[str]  # metrics that some arm has; none where no run has finished
    linked: Sequence[str]  # names of runs that another study logged
    runs: int  # finished, unfinished and missing

    @property
    def title(self) -> str:
        """The title of workspace and report, by which they can be found again."""
        plain = "".join(letter for letter in self.name if unicodedata.category(letter) not in REJECTED)
        title = f"align_lab: {plain}"
        if plain == self.name and len(title) <= LONGEST_TITLE:
            return title
        return f"{title[: LONGEST_TITLE - 9]} {sha256(self.name.encode()).hexdigest()[:8]}"

    @property
    def refused(self) -> bool:
        """Are there runs that may not be compared?"""
        return bool(self.document["arms"]) and not self.document["comparability"]["fair"]

    @property
    def metric(self) -> str:
        """The deciding metric."""
        return self.document["metric"]

    @property
    def judged(self) -> list[str]:
        """The scores: the deciding one, the optimized one, then those of other judges."""
        names = [name for name in self.document["metrics"] if name.startswith("eval/") and not name.endswith(ERROR)]
        return list(dict.fromkeys((self.metric, SCORE, *(name for name in names if name not in LAST))))

    @property
    def panel_runs(self) -> int:
        """The number of runs that a panel shows: every seed of every arm."""
        return max(FEWEST_RUNS, self.runs)

    @property
    def colors(self) -> dict[str, str]:
        """`config.arm` -> its color, as in report.html if every arm has a name of its own."""
        palette = cycle(LIGHT[f"arm-{n}"] for n in range(COLORS))
        return dict(zip(dict.fromkeys(self.arms.values()), palette, strict=False))

    @property
    def renamed(self) -> dict[str, str]:
        """Arms whose name in W&B's charts is not plainly theirs -> the name there."""
        others = {arm: known for arm, known in self.arms.items() if known not in self.merged}
        return {arm: known for arm, known in others.items() if arm.casefold() != known.casefold()}

    @property
    def merged(self) -> dict[str, list[str]]:
        """Values of `config.arm` that several arms share, which W&B's charts therefore merge."""
        several = [name for name, n in Counter(self.arms.values()).items() if n > 1]
        return {name: [arm for arm, known in self.arms.items() if known == name] for name in several}


def read(folder: Path, *, allow: Sequence[str] = (), paired: bool | None = None) -> StudyDocument:
    """The study in this folder. Raises ConfigError for a folder without runs."""
    document = analyze([folder], allow=allow, asked=Asked(paired=paired))
    links, document = document["links"], displayed(document)
    firsts = {arm["name"]: folder / links[arm["runs"][0]] for arm in document["arms"]}
    return StudyDocument(
        name=document["study"],
        document=presentable(document),
        arms={arm["name"]: _logged(firsts[arm["name"]]) or arm["algo"] for arm in document["arms"]},
        logged=frozenset(name for run in firsts.values() for row in read_lines(RunLayout(run).metrics) for name in row),
        linked=sorted(path.name for path in folder.iterdir() if path.is_symlink()),
        runs=_size(document),
    )


def presentable(document: Document) -> Document:
    """The document as the page displays it, without links, because the run folders are not on W&B."""
    document = clean.best(clean.ordered(clean.cleaned(document)), arms=MOST_ARMS).copy()
    document["links"] = {}
    return document


def recorded(folder: Path, field: str) -> str | None:
    """The `project` or `entity` that the runs were logged to, from `wandb.json` of a run, else from its config."""
    for run in sorted(path.parent for path in folder.glob(f"*/{MANIFEST}")):
        if value := read_json(run / "wandb.json").get(field) or _config(run).get(f"record.{field}"):
            return str(value)
    return None


def _logged(run: Path) -> str:
    """The name of the run's arm, if a sweep file gave it one."""
    return str(_config(run).get("arm") or "")


def _config(run: Path) -> Mapping[str, Any]:
    """Leaves of a run's config."""
    config = read_json(RunLayout(run).manifest).get("config")
    return config if isinstance(config, dict) else {}


def _size(document: Document) -> int:
    finished = sum(arm["n"] for arm in document["arms"])
    return finished + len(document["unfinished"]) + sum(len(row["seeds"]) for row in document["missing"])
