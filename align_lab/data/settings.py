"""The sections of `data=files`: which column has which role, and what is read from the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass, fields

from align_lab.base.registry import checked, param


@checked
@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column of the files has which role; null: the column that has the role's own name."""

    prompt: str | None = param(None, "a text or a list of messages")
    completion: str | None = param(None, "the answer that a demonstration gives")
    chosen: str | None = param(None, "the preferred answer, or the whole dialogue with it")
    rejected: str | None = param(None, "the other answer, or the whole dialogue with it")
    label: str | None = param(None, "of an unpaired preference: is the completion good?")
    messages: str | None = param(None, "a whole conversation")
    answer: str | None = param(None, "the final answer, which rewards read as the column answer")
    key: str | None = param(None, "an identifier of the row; null: a hash of its prompt")

    def renamed(self) -> dict[str, str]:
        """Role -> column, of the roles that are not null."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self) if getattr(self, spec.name) is not None}


@checked
@dataclass(frozen=True, kw_only=True)
class Hub:
    """What is read of a data set of the Hugging Face hub."""

    config: str | None = param(None, "configuration of the data set; null: its only one")
    split: str = param("train", "split to train on")
    evaluation_split: str | None = param(None, "split with held-out examples; null: a share of the training split")
    revision: str | None = param(None, "commit or tag; null: the newest when it is first read")
