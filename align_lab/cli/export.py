"""`align_lab export RUN DIR`: a run's policy as a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from align_lab.base import answer
from align_lab.base.errors import ConfigError
from align_lab.base.files import publishing
from align_lab.cli import policy_argument


def export(args: Sequence[str]) -> int:
    """Write weights, config and tokenizer so that `transformers` loads them."""
    parser = policy_argument.parser_of(
        "export", "Write a run's policy as a Hugging Face folder, which transformers and vLLM load."
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new folder")
    options = parser.parse_args(args)
    if options.folder.exists():
        raise ConfigError(f"{options.folder} exists already: name a new folder")
    trained = policy_argument.load(options)
    from align_lab.models.policy import save_policy

    with publishing(options.folder) as partial:
        save_policy(trained.policy, partial)
    answer.give({"run": options.run, "step": trained.step, "folder": str(options.folder)})
    print(
        f"step {trained.step} of {options.run} is in {options.folder}: "
        f"transformers.AutoModelForCausalLM.from_pretrained({str(options.folder)!r})"
    )
    return 0
