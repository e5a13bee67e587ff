"""A language model as the judge, behind any endpoint that speaks OpenAI's chat completions (arXiv 2306.05685)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from align_lab.base.contracts import Data, Reward
from align_lab.base.errors import near
from align_lab.base.registry import param, register, section
from align_lab.base.task import Scorer
from align_lab.rewards.connection import Address, Connection
from align_lab.rewards.judge_prompts import (
    COMPARISON_RUBRIC,
    PAIRWISE,
    POINTWISE,
    RUBRIC,
    Comparison,
    Scale,
    placeholders,
)

EXAMPLE = "https://api.openai.com/v1"


@register("reward", "judge")
@dataclass(frozen=True, kw_only=True)
class Judge(Reward):
    """The opinion of a language model behind an OpenAI-compatible endpoint.

    Pointwise, its answer is a number from `low` to `high`. With `against` it compares the completion with a column of
    the example, in both orders: 1 if the completion wins, ½ for a tie, 0 if it loses, and the mean of the two. What it
    answers is cached on disk. A column that is null for an example gives an abstention.
    """

    label: ClassVar = "judge"
    meaning: ClassVar = "the opinion of a language model"
    repeats: ClassVar = False  # at temperature 0 as well: services batch requests
    on_gpu: ClassVar = False
    package: ClassVar = "httpx2"
    extra: ClassVar = "judge"
    costs: ClassVar = ("judge_tokens", "judge_cost")

    url: str = param(
        "",
        f"address of the endpoint without /chat/completions, for example {EXAMPLE}",
        trust="completions, and the key that key_env names, are sent there",
    )
    model: str = param("", "name of the model at the endpoint")
    key_env: str | None = param(
        "OPENAI_API_KEY", "environment variable that holds the key, never the key; null: the endpoint needs none"
    )
    rubric: str | None = param(None, "what is judged, in your words, at {rubric} in the template; null: helpfulness")
    template: str | None = param(
        None, "the question, with {prompt}, {completion} ({first}, {second} with against) and columns; null: a default"
    )
    against: str | None = param(
        None, "compare with this column of the example, for example reference; null: score the completion alone"
    )
    low: float = param(1.0, "the worst score")
    high: float = param(10.0, "the best score")
    explain: bool = param(False, "the judge states its reasons before its verdict: better, and several times the price")
    structured: str = param(
        "auto",
        "auto: ask for the JSON schema, and without it where the endpoint refuses it; never: JSON in text",
        choices=("auto", "never"),
    )
    temperature: float | None = param(0.0, "sampling temperature of the judge; null: the endpoint's default", low=0)
    max_tokens: int | None = param(512, "longest answer in tokens; null: the endpoint's default", low=1)
    parameters: dict[str, Any] = param({}, "further fields of each request, for example {seed: 1}")
    input_price: float = param(0.0, "price of a million tokens of questions, for reward/judge_cost", low=0)
    output_price: float = param(0.0, "price of a million tokens of answers, for reward/judge_cost", low=0)
    connection: Connection = section(Connection, "how the endpoint is reached")

    @property
    def address(self) -> Address:
        """Where the judge is asked."""
        return Address(url=self.url, key_env=self.key_env)

    @property
    def question_template(self) -> str:
        """The template in use."""
        return self.template or (PAIRWISE if self.against else POINTWISE)

    @property
    def question_rubric(self) -> str:
        """The rubric in use."""
        return self.rubric or (COMPARISON_RUBRIC if self.against else RUBRIC)

    @property
    def completions_shown(self) -> tuple[str, ...]:
        """The placeholders for completions."""
        return ("first", "second") if self.against else ("completion",)

    def problems(self) -> list[str]:
        """Errors in address, key and template."""
        messages = self.address.problems(example=EXAMPLE, allow_http=self.connection.allow_http)
        if self.url.rstrip("/").endswith("/chat/completions"):
            messages.append(f"url={self.url} is asked at url/chat/completions: set url without this ending")
        if not self.model:
            messages.append("it needs a model: set model=NAME, a model of the endpoint")
        if self.low >= self.high:
            messages.append(f"low={self.low:g} must be below high={self.high:g}")
        names = placeholders(self.question_template)
        for name in self.completions_shown:
            if name not in names:
                messages.append(f"template has no {{{name}}}: the judge would not see what it judges")
        if reserved := {"model", "messages", "response_format", "stream", "n"} & self.parameters.keys():
            messages.append(f"parameters may not hold {', '.join(sorted(reserved))}: the judge sets them itself")
        return [f"reward=judge: {text}" for text in messages]

    def columns(self) -> set[str]:
        """The columns of an example that the judge is shown."""
        known = {"rubric", "prompt", *self.completions_shown}
        return placeholders(self.question_template) - known | ({self.against} if self.against else set())

    def data_problem(self, data: Data) -> str:
        """Placeholders of the template that are no columns of the data."""
        known = data.column_names()
        unknown = sorted(self.columns() - set(known)) if known is not None else []
        if not unknown:
            return ""
        field = "against" if unknown[0] == self.against else "template"
        has = f"{near(unknown[0], known)}" if known else "it has no columns besides the prompt"
        return (
            f"reward=judge reads the column {unknown[0]!r} (its field {field}), which the data lacks: {has}. "
            f"Name another column in {field}, or add this one to the data"
        )

    def parts(self) -> tuple[str, ...]:
        """Tokens and price of each verdict; the disagreement of both orders."""
        return ("judge_tokens", "judge_cost", *(("order_bias",) if self.against else ()))

    def load(self, folder: Path | None) -> Scorer:
        """The scorer. Raises RewardError without the key."""
        from align_lab.rewards.judge_scorer import JudgeScorer
        from align_lab.rewards.service import Service

        self.address.headers()
        limits = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return JudgeScorer(
            service=Service(title="the judge", address=self.address, connection=self.connection),
            template=self.question_template,
            rubric=self.question_rubric,
            columns=self.columns(),
            against=self.against,
            verdict=Comparison() if self.against else Scale(low=self.low, high=self.high),
            explain=self.explain,
            structured=self.structured == "auto",
            fields={"model": self.model, **self.parameters, **{k: v for k, v in limits.items() if v is not None}},
            input_price=self.input_price,
            output_price=self.output_price,
        )
