"""Models."""

from __future__ import annotations

from typing import ClassVar

from align_lab.base.contracts import Model
from align_lab.base.registry import section
from align_lab.models.sft_settings import Sft
from tests.testing.broken.collected import broken


@broken("model", "the start policy is made in one way")
class MadeByNobody(Model):
    def load(self, folder):
        raise NotImplementedError


@broken("model", "the start policy is made in one way")
class FineTunedFromNothing(Model):
    sft: Sft = section(Sft, "supervised fine-tuning")

    def fine_tuning(self):
        return self.sft

    def load(self, folder):
        raise NotImplementedError


@broken("model", "the shape is a shape")
class ShapeAsDict(Model):
    def shape(self):
        return {"width": 4}

    def build(self, folder):
        raise NotImplementedError

    def load(self, folder):
        raise NotImplementedError


class TinyStart(Model):
    """Tiny, but for what a subclass changes."""

    sft: Sft = Sft()

    def fine_tuning(self):
        return self.sft

    def initial(self, texts):
        from align_lab.models.tiny import Tiny

        return Tiny(width=8, layers=1, heads=2, kv_heads=2, mlp=8, vocab=300).initial(texts)

    def load(self, folder):
        from align_lab.models.policy import load_policy

        return load_policy(folder)


@broken("model", "initial gives a policy")
class InitialModelAlone(TinyStart):
    def initial(self, texts):
        return super().initial(texts).model


@broken("model", "log probabilities are finite")
class WeightsThatAreNaN(TinyStart):
    def initial(self, texts):
        policy = super().initial(texts)
        policy.model.head.data.fill_(float("nan"))
        return policy


@broken("model", "the tokenizer returns the text")
class LosesCapitals(TinyStart):
    def initial(self, texts):
        from tokenizers import normalizers

        policy = super().initial(texts)
        policy.tokenizer.normalizer = normalizers.Lowercase()
        return policy


@broken("model", "a saved policy is read anew")
class OneModelForAll(TinyStart):
    memory: ClassVar = {}

    def load(self, folder):
        return self.memory.setdefault("policy", super().load(folder))
