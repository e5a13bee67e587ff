"""`align_lab init FOLDER`: a small project of the user's own: prompts, a reward function, a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from align_lab.base import answer
from align_lab.base.errors import ConfigError
from align_lab.base.files import publishing
from align_lab.cli.arguments import Arguments

TEMPLATE = Path(__file__).with_name("project")
DURATION = "about 5 minutes of processor time on one core"  # measured: docs/benchmarks.md
SUFFIX = ".template"  # of files that are neither code nor configs of this package


def init(args: Sequence[str]) -> int:
    """Write the project into a new folder. Raises ConfigError if the folder exists."""
    parser = Arguments(
        prog="align_lab init",
        description="Write a small project that runs: ten prompts, a reward function in Python, configs, and a study "
        "that compares three algorithms in minutes.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a new folder, for example my_project")
    folder: Path = parser.parse_args(args).folder
    place = folder.resolve()
    if place.exists():
        raise ConfigError(f"{folder} exists already, and nothing in it was changed. Name a new folder")
    if not place.parent.is_dir():
        raise ConfigError(f"{place.parent} does not exist. Create it, or name a folder in an existing one")
    with publishing(place) as partial:
        for file, name in files():
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    answer.give({"folder": str(folder), "files": [name for _, name in files()]})
    print(f"{folder} holds a project:")
    for _, name in files():
        print(f"  {name}")
    print(f"Start with: cd {folder} && align_lab my_study.yaml, and read its README.md")
    print(f"The study takes {DURATION}, and once a download of about 90 MB.")
    return 0


def files() -> list[tuple[Path, str]]:
    """(file of the template, its path in the project), in the order in which a reader meets them."""
    templates = sorted(path for path in TEMPLATE.rglob(f"*{SUFFIX}"))
    named = [(path, path.relative_to(TEMPLATE).as_posix().removesuffix(SUFFIX)) for path in templates]
    return sorted(named, key=lambda item: (item[1] != "README.md", item[1]))
