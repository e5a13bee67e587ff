"""`python -m align_lab wandb push STUDY`: to Weights & Biases what it lacks of a study."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from align_lab.base import registry
from align_lab.base.errors import AlignLabError, ConfigError
from align_lab.record.layout import MANIFEST


def push(args: list[str]) -> int:
    """Every run of a study, one at a time. Returns 1 when a row is missing there in the end."""
    parser = argparse.ArgumentParser(
        prog="python -m align_lab wandb push",
        description="Send what Weights & Biases lacks of a study: again and again, if you like, each row arrives once.",
    )
    parser.add_argument("study", help="name of a folder under runs/, or a path")
    parser.add_argument("--project", help="default: the runs' record.project, or align_lab")
    parser.add_argument("--entity", help="user or team; default: the runs' record.entity, or the key's owner")
    options = parser.parse_args(args)
    if not registry.installed("wandb"):
        raise ConfigError("this needs the package wandb, which is not installed: pip install 'align_lab[wandb]'")
    from align_lab.boards.push import push as push_run
    from align_lab.boards.push import push_stages
    from align_lab.boards.wandb_key import silence
    from align_lab.boards.wandb_tracker import has_key
    from align_lab.compare.runs import study_folder

    folder, console = study_folder(options.study), Console(highlight=False, soft_wrap=True)
    runs = sorted(path.parent for path in folder.glob(f"[!.]*/{MANIFEST}"))
    if not runs:
        raise ConfigError(f"{folder} holds no run that has begun to train")
    silence()
    if not has_key():
        raise ConfigError("wandb finds no key: wandb login, or set WANDB_API_KEY")
    worst, where = 0, {"project": options.project, "entity": options.entity}
    with _server_needed():
        stages = push_stages(runs, **where)
        console.print(f"{stages} stages sent")
        for run in runs:
            try:
                done = push_run(run, **where)
                console.print(f"{'[red]incomplete[/]' if done.problem else 'whole'} {escape(run.name)}: {done}")
                worst = max(worst, int(bool(done.problem)))
            except AlignLabError as error:
                console.print(f"[yellow]left alone[/] {escape(run.name)}: {escape(str(error))}")
                worst = 1
    return worst


@contextmanager
def _server_needed() -> Iterator[None]:
    """A server that cannot be used for one run cannot be used for the next."""
    try:
        yield
    except Exception as error:
        raise AlignLabError(
            f"{type(error).__name__}: {error}\nWhat has arrived stays there: the same command sends the rest"
        ) from error
