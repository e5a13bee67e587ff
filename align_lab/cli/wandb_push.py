"""`align_lab wandb push STUDY`: upload to Weights & Biases the rows of a study that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from align_lab.base import answer, registry
from align_lab.base.errors import AlignLabError, ConfigError
from align_lab.cli.arguments import Arguments
from align_lab.record.layout import MANIFEST
from align_lab.record.terminal import Terminal, escape


def push(args: list[str]) -> int:
    """Upload the runs of a study one by one. Returns 1 when W&B still lacks a row at the end."""
    parser = Arguments(
        prog="align_lab wandb push",
        description="Upload the rows of a study that Weights & Biases lacks, and verify them. No row is duplicated.",
    )
    parser.add_argument("study", metavar="STUDY", help="name of a folder under runs/, or a path")
    parser.add_argument("--project", metavar="NAME", help="default: the runs' record.project, or align_lab")
    parser.add_argument(
        "--entity", metavar="NAME", help="user or team; default: the runs' record.entity, or the owner of the key"
    )
    options = parser.parse_args(args)
    if not registry.installed("wandb"):
        raise ConfigError("wandb push needs the package wandb, which is not installed: pip install 'align_lab[wandb]'")
    from align_lab.boards.push import push as push_run
    from align_lab.boards.push import push_stages
    from align_lab.boards.wandb_key import silence
    from align_lab.boards.wandb_tracker import has_key
    from align_lab.compare.runs import study_folder

    folder, console = study_folder(options.study), Terminal(soft_wrap=True)
    runs = sorted(path.parent for path in folder.glob(f"[!.]*/{MANIFEST}"))
    if not runs:
        raise ConfigError(f"{folder} has no run that has started training")
    silence()
    if not has_key():
        raise ConfigError("there is no W&B key. Type: wandb login (or set WANDB_API_KEY)")
    status, target = 0, {"project": options.project, "entity": options.entity}
    with _server_errors():
        stages = push_stages(runs, **target)
        console.print(f"{stages} stages uploaded")
        told: dict[str, str] = {}
        for run in runs:
            try:
                result = push_run(run, **target)
                told[run.name] = str(result)
                console.print(f"{'[red]incomplete[/]' if result.problem else 'complete'} {escape(run.name)}: {result}")
                status = max(status, int(bool(result.problem)))
            except AlignLabError as error:
                told[run.name] = f"skipped: {error}"
                console.print(f"[yellow]skipped[/] {escape(run.name)}: {escape(str(error))}")
                status = 1
        answer.give({"stages": stages, "runs": told})
    return status


@contextmanager
def _server_errors() -> Iterator[None]:
    """An error of the server ends the command: the next run would meet it too."""
    try:
        yield
    except Exception as error:
        raise AlignLabError(
            f"{type(error).__name__}: {error}\nWhat was uploaded stays; the same command uploads the rest"
        ) from error
