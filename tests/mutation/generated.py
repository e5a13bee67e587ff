"""Small changes of a module that are made from its syntax tree: other operators, comparisons, constants, lost calls.

Left alone are what computes nothing: docstrings and messages, fields of classes, annotations, decorators, raises.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

BINARY = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.BitAnd: "|", ast.BitOr: "&", ast.FloorDiv: "%"}
COMPARED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
LOST = {"abs", "clamp", "detach", "square", "exp", "sign", "sqrt", "log_", "flip", "long", "strip", "lower", "double"}
COMPOUND = (ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp)  # operands that need parentheses
SILENT = {"notice", "report", "track", "print", "param", "section", "print_"}


@dataclass(frozen=True)
class Change:
    """A replacement of the characters from `start` to before `end` of a file."""

    start: int
    end: int
    old: str
    new: str
    line: int

    @property
    def words(self) -> str:
        """For a table."""
        return f"`{self.old}` -> `{self.new}`"


def changes(source: str) -> list[Change]:
    """Every change of a module, in the order of its text."""
    lines = source.splitlines(keepends=True)
    firsts = [0]
    for line in lines:
        firsts.append(firsts[-1] + len(line))

    def at(line: int, column: int) -> int:
        return firsts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    result: list[Change] = []
    for node, text in _edits(ast.parse(source), source):
        start, end = at(node.lineno, node.col_offset), at(node.end_lineno or 0, node.end_col_offset or 0)
        result.append(Change(start, end, source[start:end], text, node.lineno))
    return sorted({(c.start, c.end, c.new): c for c in result}.values(), key=lambda c: (c.start, c.end))


def chosen(source: str, count: int) -> list[Change]:
    """At most `count` of them, by a hash of each: the same ones whenever the line is the same."""
    ranked = sorted(changes(source), key=lambda c: hashlib.sha256(f"{c.old}|{c.new}".encode()).hexdigest())
    return sorted(ranked[:count], key=lambda c: c.start)


def _edits(tree: ast.AST, source: str) -> Iterator[tuple[ast.expr, str]]:
    for node in _computing(tree):
        if isinstance(node, ast.expr):
            yield from ((node, text) for text in _changed(node, source))


def _computing(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below that compute something."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Raise, ast.JoinedStr, ast.Assert)) or _is_silent(child):
            continue
        if isinstance(child, (ast.AnnAssign, ast.arg)):
            if isinstance(node, ast.ClassDef) or isinstance(child, ast.arg) or child.value is None:
                continue
            yield from _computing_from(child.value)
            continue
        yield child
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            of_class = isinstance(child, ast.ClassDef)
            for statement in child.body:
                if not (of_class and isinstance(statement, (ast.Assign, ast.AnnAssign))):
                    yield from _computing_from(statement)
        else:
            yield from _computing(child)


def _computing_from(node: ast.AST) -> Iterator[ast.AST]:
    yield from _computing(ast.Module(body=[node], type_ignores=[]))  # type: ignore[list-item]


def _is_silent(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        node = node.value
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SILENT


def _changed(node: ast.expr, source: str) -> Iterator[str]:
    def text(part: ast.AST) -> str:
        found = ast.get_source_segment(source, part) or ""
        return f"({found})" if isinstance(part, COMPOUND) else found

    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY and not _is_text(left, right):
            yield f"{text(left)} {BINARY[type(op)]} {text(right)}"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield f"{text(left)} {COMPARED[type(op)]} {text(right)}"
        case ast.BoolOp(op=op, values=[first, *others]):
            word = " or " if isinstance(op, ast.And) else " and "
            yield "(" + word.join([text(first), *map(text, others)]) + ")"
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
            yield text(operand)
        case ast.Constant(value=bool() as value):
            yield str(not value)
        case ast.Constant(value=int() | float() as value):
            yield str(value + 1)
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in LOST:
            yield text(value)
        case ast.IfExp(body=body, orelse=other):
            yield f"({text(body)})"
            yield f"({text(other)})"
        case _:
            pass


def _is_text(*nodes: ast.expr) -> bool:
    """Is one of them a text, or the name of a file?"""
    return any(isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str) for node in nodes)
