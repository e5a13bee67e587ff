"""The arguments of the verbs: a wrong one is a ConfigError that says what to type, as everywhere else."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from align_lab.base import answer
from align_lab.base.errors import ConfigError, near

MISSING = "the following arguments are required: "
LISTED = {  # a name that is asked for -> where the names are
    "STUDY": "align_lab studies lists them",
    "RUN": "align_lab status STUDY lists those of a study",
}
UNKNOWN = re.compile(r"unrecognized arguments: (?P<words>.*)", re.DOTALL)
CHOICE = re.compile(
    r"argument (?P<name>[^:]*): invalid choice: (?P<word>.*) \(choose from (?P<choices>.*)\)", re.DOTALL
)


class Arguments(argparse.ArgumentParser):
    """The parser of one verb. Each verb has --json, which the command line takes out before it is parsed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self.add_argument(answer.WORD, action="store_true", help="answer with one JSON document, for scripts")

    def print_help(self, file: Any = None) -> None:
        """For people, and as a document for programs."""
        answer.give({"help": self.format_help()})
        super().print_help(file)

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError with what was found, what is near, and where the allowed words are."""
        verb = self.prog.removeprefix("align_lab ")
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        if wrong_choice := CHOICE.fullmatch(message):
            name, word, choices = wrong_choice.groups()
            known = (choice.strip("' ") for choice in choices.split(","))
            message = f"{name}: {word} is not known: {near(word.strip(chr(39)), known)}"
        found = UNKNOWN.fullmatch(message)
        wrong = next((word for word in found["words"].split() if word.startswith("-")), "") if found else ""
        hint = f"; {near(wrong.partition('=')[0], flags)}" if wrong else ""
        if where := LISTED.get(what := message.removeprefix(MISSING)):
            raise ConfigError(f"{verb} needs a {what}, and {where}. Its arguments: {self.prog} --help")
        raise ConfigError(f"{verb}: {message}{hint}. Type {self.prog} --help for its arguments")
