"""A model that is held once, however many parts of a run use it."""

from __future__ import annotations

from collections.abc import Callable
from weakref import ref

from align_lab.models.language_model import LanguageModel


class Shared:
    """`load` is called for the first who asks; all others get the same model, until nobody holds it any more."""

    def __init__(self, load: Callable[[], LanguageModel]) -> None:
        self.load = load
        self.held: Callable[[], LanguageModel | None] = lambda: None

    def __call__(self) -> LanguageModel:
        """The model. Nobody may change it."""
        model = self.held()
        if model is None:
            model = self.load()
            self.held = ref(model)
        return model
