"""The declared type of a field, for people."""

from __future__ import annotations

from typing import Any

LISTS: dict[Any, str] = {str: "a list of texts", int: "a list of whole numbers", float: "a list of numbers"}


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
        "list": LISTS.get(getattr(metadata, "element_type", None), "a list"),
        "List": LISTS.get(getattr(metadata, "element_type", None), "a list"),
    }
    text = words.get(name, str(hint).replace("NoneType", "null").replace(" | ", " or "))
    return text + (" or null" if getattr(metadata, "optional", False) and "null" not in text else "")
