"""Colors are computed, not believed: contrast for text and marks, and distance as color-blind readers see it."""

from __future__ import annotations

import numpy as np
import pytest

from align_lab.compare.report import palette


@pytest.mark.parametrize("colors", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_colors_can_be_read(colors):
    for name in ("ink", "soft", "link", "good", "bad", "warn"):
        assert _contrast(colors[name], colors["paper"]) >= 4.5, name
        assert _contrast(colors[name], colors["raised"]) >= 4.5, name
    for name in ("better", "worse"):
        assert _contrast(colors["ink"], colors[name]) >= 4.5, name
    for place in range(palette.COLORS):
        assert _contrast(colors[f"arm-{place}"], colors["paper"]) >= 3, place


@pytest.mark.parametrize("colors", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("sight", ["normal", "protanopia", "deuteranopia", "tritanopia"])
def test_colors_of_arms_differ_for_color_blind_readers(colors, sight):
    seen = np.array([_oklab(SIGHT[sight] @ _linear(colors[f"arm-{place}"])) for place in range(palette.COLORS)])
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(palette.COLORS, 1)]
    assert apart.min() >= 0.1


SIGHT = {  # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def _linear(color: str) -> np.ndarray:
    x = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _contrast(a: str, b: str) -> float:
    """WCAG 2."""
    light, dark = sorted((float(_linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson 2020."""
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.array(lab) @ np.cbrt(np.clip(np.array(cones) @ rgb, 0, None))
