"""A model that is held once, however many parts of a run use it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain
from weakref import ref

import torch
from torch import nn

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


class Resting:
    """Loads a model once, into main memory, and gives copies of it on a device: for `Shared`."""

    def __init__(self, load: Callable[[], LanguageModel], device: torch.device) -> None:
        self.load, self.device = load, device
        self.model: LanguageModel | None = None

    def __call__(self) -> LanguageModel:
        """A copy whose weights are on the device."""
        if self.model is None:
            self.model = self.load()
        moved = {id(one): one.detach().to(self.device) for one in chain(self.model.parameters(), self.model.buffers())}
        for parameter in self.model.parameters():
            moved[id(parameter)] = nn.Parameter(moved[id(parameter)], requires_grad=False)
        return copy.deepcopy(self.model, dict(moved))
