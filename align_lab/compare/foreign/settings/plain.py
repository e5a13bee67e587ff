"""Values as programs and shells write them -> numbers, booleans, None and text, so that they can be compared."""

from __future__ import annotations

import math
import re
from typing import Any

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.?inf", re.IGNORECASE)
WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None}
CLOSE = 1e-9


def plain(value: Any) -> Any:
    """`"1e-6"` -> 1e-06, `"True"` -> True, `"None"` -> None; lists item by item; anything else as it is."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if not NUMBER.fullmatch(text):
        return text
    number = float(text.lower().replace(".inf", "inf"))
    return int(number) if math.isfinite(number) and re.fullmatch(r"[-+]?\d+", text) else number


def same(a: Any, b: Any) -> bool:
    """1 and 1.0 are one number, 1 and true are not; a list of one item is that item."""
    a, b = _single(a), _single(b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b or math.isclose(a, b, rel_tol=CLOSE)
    return a == b


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def shown(value: Any) -> str:
    """As tables show it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value) if isinstance(value, int) else f"{value:.6g}"
    return ", ".join(map(shown, value)) if isinstance(value, list) else str(value)
