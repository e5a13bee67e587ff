"""The declared type of a field, for people."""

from __future__ import annotations

from typing import Any


def type_in_words(node: Any, fallback: str) -> str:
    """The type that a node of a config was declared with, for people; `fallback` where it was not declared."""
    metadata = getattr(node, "_metadata", None)
    hint = getattr(metadata, "ref_type", None) or fallback
    name = getattr(hint, "__name__", str(hint))
    words = {
        "float": "a number",
        "int": "a whole number",
        "bool": "true or false",
        "str": "text",
        "list": "a list",
        "List": "a list",
    }
    text = words.get(name, str(hint).replace("NoneType", "null").replace(" | ", " or "))
    return text + (" or null" if getattr(metadata, "optional", False) and "null" not in text else "")
