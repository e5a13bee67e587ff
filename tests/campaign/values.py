"""Values that are wrong, odd or too large, for a field of a given type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HUGE = "9" * 400
ESCAPE = "\x1b[2J"


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value as it is typed. `meaningless`: no field of this type may take it."""

    text: str
    what: str
    meaningless: bool = True


EVERYWHERE = (
    Value(text="???", what="a missing value"),
    Value(text="${nothing_there}", what="an interpolation of nothing"),
    Value(text="${oc.env:NO_SUCH_VARIABLE}", what="an interpolation of a variable that is not set"),
    Value(text="${no_such_resolver:1}", what="an interpolation by an unknown resolver"),
    Value(text="${train", what="an interpolation that does not end"),
    Value(text="{a: {b: [1,{c: 2}]}}", what="a nested mapping", meaningless=False),
    Value(text="[[[]]]", what="nested lists", meaningless=False),
    Value(text="null", what="null", meaningless=False),
    Value(text="", what="nothing", meaningless=False),
)
NUMBERS = (
    Value(text=HUGE, what="a whole number of 400 digits"),
    Value(text=f"-{HUGE}", what="a negative whole number of 400 digits"),
    Value(text="9" * 5000, what="a whole number of 5,000 digits"),
    Value(text="nan", what="nan"),
    Value(text=".nan", what=".nan"),
    Value(text="-inf", what="-inf"),
    Value(text="-1e400", what="-1e400"),
    Value(text="abc", what="a word for a number"),
    Value(text="'1'x", what="a broken quote"),
    Value(text="[1]", what="a list for a number"),
    Value(text="[1,nan]", what="a list with nan for a number"),
    Value(text="{a: 1}", what="a mapping for a number"),
    Value(text="true", what="true for a number"),
    Value(text="${study}", what="an interpolation of a text for a number"),
    Value(text="1 2", what="two numbers"),
    Value(text="1..2", what="two points"),
    Value(text="0x10", what="a hexadecimal number", meaningless=False),
    Value(text="1_000", what="a number with an underscore", meaningless=False),
    Value(text="-0", what="-0", meaningless=False),
    Value(text="1e-400", what="1e-400", meaningless=False),
    Value(text="9223372036854775807", what="2**63 - 1", meaningless=False),
    Value(text="-1", what="-1", meaningless=False),
    Value(text="1e18", what="1e18", meaningless=False),
)
TEXTS = (
    Value(text=f"'{ESCAPE}'", what="an escape sequence", meaningless=False),
    Value(text='"a\\nb"', what="a line end", meaningless=False),
    Value(text="../../../x", what="a path upwards", meaningless=False),
    Value(text="/dev/null", what="a device", meaningless=False),
    Value(text="x" * 5000, what="5,000 letters", meaningless=False),
    Value(text="é☃👩‍🔬", what="letters beyond ASCII", meaningless=False),
    Value(text="'\ud800'", what="a lone surrogate", meaningless=False),
    Value(text="a\x00b", what="a zero byte", meaningless=False),
    Value(text="[1,2]", what="a list for a text", meaningless=False),
    Value(text="1.5", what="a number for a text", meaningless=False),
)


def of(default: object) -> Iterator[Value]:
    """For a field with this default."""
    yield from EVERYWHERE
    if isinstance(default, bool):
        yield from (one for one in NUMBERS if one.what not in ("-1", "-0", "true for a number"))
        yield Value(text="2", what="2 for true or false", meaningless=False)
    elif isinstance(default, int | float):
        yield from NUMBERS
        yield Value(text="inf", what="inf", meaningless=isinstance(default, int))
        yield Value(text="1e400", what="1e400, which is inf", meaningless=isinstance(default, int))
        yield Value(text="2.5", what="half a number", meaningless=isinstance(default, int))
    else:
        yield from TEXTS
        yield from (Value(text=one.text, what=one.what, meaningless=False) for one in NUMBERS)
        yield Value(text="inf", what="inf", meaningless=False)
