"""What other programs call their metrics: one small yaml a source (`maps/`), and a user's own with map=FILE."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from align_lab.base.errors import ConfigError, near
from align_lab.base.metrics import METRICS

MAPS = Path(__file__).parent / "maps"
SCORES = ("eval/score", "objective/scores")  # what may decide, the first that all runs have; a judge goes before them
JUDGE = re.compile(r"eval/\w+")
FIELDS = ("title", "files", "silent", "step", "arm", "seed", "metrics")


@dataclass(frozen=True, kw_only=True)
class MetricMap:
    """How a program names things. Each list is in order of preference; a metric's may hold patterns with *."""

    name: str
    title: str
    files: Sequence[str]  # patterns of file names
    step: Sequence[str]
    arm: Sequence[str]  # fields of a config beside the file
    seed: Sequence[str]
    metrics: Mapping[str, Sequence[str]]  # ours -> theirs
    silent: Sequence[str] = ()  # names of files and folders that every run has: they tell nothing of it

    def columns(self, table: Iterable[str]) -> dict[str, str]:
        """Our metric -> the column that holds it; a judge's of the same name in both is found without being mapped.

        Raises ConfigError where several columns fit one pattern.
        """
        names = list(table)
        judged = {name: name for name in names if JUDGE.fullmatch(name)}
        return judged | {
            ours: column for ours, theirs in self.metrics.items() if (column := _first(ours, theirs, names))
        }


def _first(ours: str, theirs: Sequence[str], names: Sequence[str]) -> str | None:
    for pattern in theirs:
        fit = [name for name in names if name == pattern or fnmatchcase(name, pattern)]
        if len(fit) > 1:
            raise ConfigError(
                f"{ours} could be any of {', '.join(fit)}. Pick one in a file of your own, given as map=FILE:\n"
                f"metrics:\n  {ours}: [{fit[0]}]"
            )
        if fit:
            return fit[0]
    return None


def names() -> list[str]:
    """Every source that there is a mapping for."""
    return sorted(path.stem for path in MAPS.glob("*.yaml"))


def named(name: str, own: str | None = None) -> MetricMap:
    """The source of this name; `own`: a yaml whose entries come before those of the source."""
    if name not in names():
        raise ConfigError(f"--from={name} is not known: {near(name, names())}")
    source = MetricMap(name=name, **_read(MAPS / f"{name}.yaml"))
    return _with(source, _read(Path(own))) if own else source


def _with(source: MetricMap, own: Mapping[str, Any]) -> MetricMap:
    metrics = dict(source.metrics)
    for ours, theirs in own.get("metrics", {}).items():
        metrics[ours] = [*theirs, *metrics.get(ours, [])]
    lists = {field: [*own.get(field, []), *getattr(source, field)] for field in ("step", "arm", "seed")}
    return replace(
        source, metrics=metrics, title=own.get("title", source.title), files=own.get("files", source.files), **lists
    )


def _read(path: Path) -> dict[str, Any]:
    """A mapping file, checked. Raises ConfigError that says what is wrong with it."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no mapping file {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is no mapping file: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("metrics", {}), dict):
        raise ConfigError(f"{path} is no mapping file. It needs, for example:\nmetrics:\n  eval/score: [my_reward]")
    _check(path, content, FIELDS)
    _check(path, content.get("metrics", {}), METRICS)
    return {key: value if key in ("title", "metrics") else _listed(value) for key, value in content.items()} | {
        "metrics": {ours: _listed(theirs) for ours, theirs in content.get("metrics", {}).items()}
    }


def _check(path: Path, content: Mapping[str, Any], known: Collection[str]) -> None:
    for key in content:
        if key not in known:
            raise ConfigError(f"{path}: {key!r} is not known: {near(str(key), known)}")


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
