"""Written-out solutions of arithmetic: every operation of an expression on its own, in the order of its evaluation."""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator
from fractions import Fraction

OPERATIONS = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
}


def written_out(expression: str, answer: str) -> str:
    """` 4 - 1 = 3; 3 - 7 = -4 <answer>-4</answer>`: the steps of the expression, then the answer.

    Raises ValueError for what is no expression of whole numbers, + - * / and parentheses, or divides by 0.
    """
    return f" {'; '.join(steps(expression))} {answer_alone(answer).lstrip()}"


def answer_alone(answer: str) -> str:
    """` <answer>-4</answer>`: no steps."""
    return f" <answer>{answer}</answer>"


def steps(expression: str) -> list[str]:
    """`4 - 1 - 7` -> [`4 - 1 = 3`, `3 - 7 = -4`]. Raises ValueError as `written_out` does."""
    try:
        node = ast.parse(expression.strip(), mode="eval").body  # parsed, and never evaluated as code
        return list(_walk(node, {}))
    except (SyntaxError, ZeroDivisionError) as error:
        raise ValueError(f"{expression!r} cannot be written out step by step: {error}") from error


def _walk(node: ast.expr, values: dict[ast.expr, Fraction]) -> Iterator[str]:
    """The steps below a node and its own; its value is then in `values`."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        values[node] = Fraction(node.value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield from _walk(node.operand, values)
        values[node] = -values[node.operand]
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        yield from _walk(node.left, values)
        yield from _walk(node.right, values)
        sign, compute = OPERATIONS[type(node.op)]
        values[node] = compute(values[node.left], values[node.right])
        yield f"{values[node.left]} {sign} {values[node.right]} = {values[node]}"
    else:
        raise ValueError(f"{ast.unparse(node)!r} is neither a whole number nor + - * / of two")
