"""Small changes to a module's code, one at a time, each of which a test should notice.

Prose is left alone: docstrings, texts with a space in them, what is raised with an error, formats.
So are annotations, decorators, and what only a type checker reads.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
REMOVED = (ast.Raise, ast.AugAssign, ast.Continue, ast.Break, ast.Delete)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LEFT_ALONE = ("decorator_list", "annotation", "returns", "type_params", "bases")
SHOWN = 100
"""Characters of the code around a change that its words have, about."""


@dataclass(frozen=True)
class _Where:
    node: ast.AST
    place: str = ""
    held: bool = False
    line: int = 1
    whole: ast.expr | None = None
    """The largest expression around that can still be shown."""


@dataclass(frozen=True)
class Mutation:
    """`place`: the function or class it is in, dotted; empty at the module's top.
    `held`: it is in a function's body, so that the module need not be imported again.
    `lines`: from its statement's beginning to its end; a constant's own line may never run."""

    place: str
    held: bool
    lines: range
    words: str
    _tree: ast.Module
    _slot: tuple[Any, str, int | None]
    _new: Any

    def apply(self) -> ast.Module:
        """The module so changed. Once only: all mutations of a module change one tree."""
        _put(self._slot, self._new)
        return ast.fix_missing_locations(self._tree)


def mutations(path: Path) -> list[Mutation]:
    """All of a module's, in the order of its text."""
    tree = ast.parse(path.read_text())
    return list(_within(tree, _Where(tree)))


def _within(tree: ast.Module, where: _Where) -> Iterator[Mutation]:
    node = where.node
    for field, value in ast.iter_fields(node):
        if field in LEFT_ALONE:
            continue
        held = where.held or (field == "body" and isinstance(node, FUNCTIONS))
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_prose(node, child):
                continue
            slot, inner = (node, field, index), replace(where, node=child, held=held)
            if isinstance(child, ast.stmt):
                inner = replace(inner, line=child.lineno, whole=None)
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = replace(inner, place=f"{where.place}.{child.name}".strip("."))
            if isinstance(child, ast.expr) and inner.whole is None:
                short = len(ast.unparse(child)) <= SHOWN
                inner = replace(inner, whole=child if short else None)
            for new in _others(node, field, child):
                yield _made(tree, inner, slot, new)
            yield from _within(tree, inner)


def _made(tree: ast.Module, where: _Where, slot: tuple[Any, str, int | None], new: Any) -> Mutation:
    child = where.node
    if where.whole is None or where.whole is child:
        before, after = ast.unparse(child), ast.unparse(new)
    else:
        before = ast.unparse(where.whole)
        _put(slot, new)
        after = ast.unparse(where.whole)
        _put(slot, child)
    lines = range(where.line, getattr(child, "end_lineno", where.line) + 1)
    words = f"{_short(before)} → {_short(after)}"
    return Mutation(where.place, where.held, lines, words, tree, slot, new)


def _others(owner: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in place of `node`."""
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                ops = [*node.ops]
                ops[index] = COMPARED[type(operator)]()
                yield ast.Compare(node.left, ops, node.comparators)
        case ast.BoolOp():
            for index in range(len(node.values)):
                kept = node.values[:index] + node.values[index + 1 :]
                yield ast.BoolOp(node.op, kept) if len(kept) > 1 else kept[0]
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.BinOp() if type(node.op) in COMPUTED:
            yield ast.BinOp(node.left, COMPUTED[type(node.op)](), node.right)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as text):
            yield ast.Constant(text + "~")
        case ast.Constant(value=bytes() as octets):
            yield ast.Constant(octets + b"~")
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant) or (
            isinstance(value.value, str)
        ):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case _ if isinstance(node, REMOVED):
            yield ast.Pass()
    tested = field == "test" or (field == "ifs" and isinstance(owner, ast.comprehension))
    if tested and isinstance(node, ast.Name | ast.Call | ast.Attribute | ast.Await | ast.Subscript):
        yield ast.UnaryOp(ast.Not(), node)


def _is_prose(owner: ast.AST, node: ast.AST) -> bool:
    match owner, node:
        case (ast.JoinedStr(), _) | (ast.Raise(), _):
            return True
        case ast.Expr(), ast.Constant():
            return True
        case ast.Call(func=ast.Attribute(attr="encode" | "decode" | "to_bytes")), ast.Constant():
            return True
        case ast.Return() | ast.IfExp(), ast.Constant(value=str()):
            return " " in str(node.value)  # type: ignore[attr-defined]
        case _, ast.Constant(value=str() as text):
            return " " in text.strip() or not text
        case _, ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.ImportFrom() | ast.Import():
            return True
    return False


def _put(slot: tuple[Any, str, int | None], value: Any) -> None:
    owner, field, index = slot
    if index is None:
        setattr(owner, field, value)
    else:
        getattr(owner, field)[index] = value


def _short(code: str) -> str:
    text = " ".join(code.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
