"""`align_lab chat RUN`: complete prompts with a run's policy, beside the policy it started from."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from align_lab.base import answer
from align_lab.cli import policy_argument
from align_lab.record.console import printable


def chat(args: Sequence[str]) -> int:
    """Read prompts from the terminal or from standard input, until an empty line."""
    parser = policy_argument.parser_of(
        "chat", "Complete your own prompts with a run's policy, beside the policy it started from."
    )
    parser.add_argument(
        "--temperature", type=float, metavar="T", help="default: the run's; 0 takes the most likely token"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="sampling seed of the first prompt (default 0)"
    )
    options = parser.parse_args(args)
    trained = policy_argument.load(options)
    interactive = sys.stdin.isatty()
    if interactive:
        asked = (
            "a message; the policy answers" if trained.converses else "the beginning of a text; the policy completes"
        )
        print(f"Type {asked} it. An empty line ends.")
    said: list[dict[str, str]] = []
    for number, line in enumerate(iter(lambda: _read_line(interactive), "")):
        said.append({"prompt": line})
        for name, text in trained.complete(line, temperature=options.temperature, seed=options.seed + number):
            said[-1][name] = text
            print(f"  {name:<8} {printable(text if trained.converses else line + text)}")
    answer.give({"run": options.run, "completions": said})
    return 0


def _read_line(interactive: bool) -> str:
    try:
        return input("> " if interactive else "").strip()
    except EOFError:
        return ""
