"""What can be done with a run's policy: `export` it to a Hugging Face folder, `chat` with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from align_lab.base.errors import ConfigError, near
from align_lab.base.files import publishing
from align_lab.base.paths import runs_folder
from align_lab.record.console import printable
from align_lab.record.layout import CONFIG, RunLayout

if TYPE_CHECKING:
    from align_lab.run.trained import Trained


def run_folder(name: str) -> Path:
    """A run by path, or by its folder's name under runs/. Raises ConfigError with the near match."""
    for folder in (Path(name), runs_folder() / name, *runs_folder().glob(f"*/{name}")):
        if RunLayout(folder).config.exists():
            return folder
    known = [f"{path.parent.parent.name}/{path.parent.name}" for path in runs_folder().glob(f"*/*/{CONFIG}")]
    raise ConfigError(f"there is no run {name!r}: {near(name, known, show_all=5)}")


def _trained(name: str, checkpoint: str) -> Trained:
    from align_lab.run import trained

    return trained.load_trained(run_folder(name), checkpoint)


def _parser(verb: str, text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m align_lab {verb}", description=text)
    parser.add_argument("run", metavar="RUN", help="a run's folder: a path, or STUDY/NAME under runs/")
    parser.add_argument(
        "--checkpoint", default="last", help="last (default), best (highest proxy score), or a step that was kept"
    )
    return parser


def export(args: Sequence[str]) -> int:
    """Write weights, config and tokenizer so that `transformers` loads them."""
    parser = _parser("export", "Write a run's policy as a Hugging Face folder.")
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new folder")
    options = parser.parse_args(args)
    if options.folder.exists():
        raise ConfigError(f"{options.folder} is there already: name a new folder")
    trained = _trained(options.run, options.checkpoint)
    from align_lab.models.policy import save_policy

    with publishing(options.folder) as partial:
        save_policy(trained.policy, partial)
    print(
        f"step {trained.step} of {options.run} is in {options.folder}: "
        f"transformers.AutoModelForCausalLM.from_pretrained({str(options.folder)!r})"
    )
    return 0


def chat(args: Sequence[str]) -> int:
    """Complete prompts from the terminal (or standard input), beside the policy that the run started from."""
    parser = _parser("chat", "Complete your own prompts with a run's policy, beside the policy it started from.")
    parser.add_argument(
        "--temperature", type=float, default=None, help="as in the run, unless given; 0 takes the likeliest token"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(args)
    trained = _trained(options.run, options.checkpoint)
    live = sys.stdin.isatty()
    if live:
        print("Begin a movie review, the policy goes on. An empty line ends.")
    for number, line in enumerate(iter(lambda: _read(live), "")):
        for name, text in trained.complete(line, temperature=options.temperature, seed=options.seed + number):
            print(f"  {name:<8} {printable(line + text)}")
    return 0


def _read(live: bool) -> str:
    try:
        return input("> " if live else "").strip()
    except EOFError:
        return ""
