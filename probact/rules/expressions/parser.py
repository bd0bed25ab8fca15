"""Formulas as text: read, written, and brought to one form, in which equal rules have equal texts."""

from __future__ import annotations

import re
from typing import NoReturn

from probact.rules.expressions.grammar import BINARY, COMMUTATIVE, OPERANDS, UNARY, Node

MOST_TOKENS = 250
_TOKEN = re.compile(r"\s*(1e-\d+w|\d*\.?\d+(?:e-?\d+)?|[A-Za-z]\w*|\S)")
_WITH_NUMBER = ("clip", "drop")
_CALLED = [name for name in (*UNARY, *BINARY) if name.isidentifier()]
_RANK = {"+": 1, "-": 1, "*": 2, "/": 2}


def numbers(name: str) -> list[str]:
    """Those that ``clip`` or ``drop`` takes."""
    return [key.split()[1] for key in UNARY if key.startswith(f"{name} ")]


def choices() -> str:
    """Every word, for messages."""
    calls = [f"{name}(x, y)" if name in BINARY else f"{name}(x)" for name in _CALLED]
    calls += [f"{name}(x, {'|'.join(numbers(name))})" for name in _WITH_NUMBER]
    return ", ".join([*OPERANDS, *calls, "+ - * /"])


class _Parser:
    """By recursive descent: sum of products of signed atoms, all of which group from the left."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.at = 0
        if not self.tokens:
            self.refuse("expected expr with a formula", "an empty text")
        if len(self.tokens) > MOST_TOKENS:
            self.refuse(f"expected expr of at most {MOST_TOKENS} words", f"{len(self.tokens)}")

    def refuse(self, what: str, got: str) -> NoReturn:
        raise ValueError(f"formula: {what}, got {got}")

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.next
        if not token or (expected and token != expected):
            self.refuse(f"expected {expected or 'an operand'} at word {self.at + 1}", repr(token or "its end"))
        self.at += 1
        return token

    def whole(self) -> Node:
        tree = self.sum()
        if self.next:
            self.refuse(f"expected + - * / or the end at word {self.at + 1}", repr(self.next))
        return tree

    def sum(self) -> Node:
        tree = self.product()
        while self.next in ("+", "-"):
            tree = Node(self.take(), (tree, self.product()))
        return tree

    def product(self) -> Node:
        tree = self.signed()
        while self.next in ("*", "/"):
            tree = Node(self.take(), (tree, self.signed()))
        return tree

    def signed(self) -> Node:
        if self.next == "-":
            self.take()
            return Node("-", (self.signed(),))
        return self.atom()

    def atom(self) -> Node:
        token = self.take()
        if token == "(":
            tree = self.sum()
            self.take(")")
            return tree
        if token in OPERANDS:
            return Node(token)
        if token in _CALLED or token in _WITH_NUMBER:
            return self.call(token)
        raise ValueError(f"formula: unknown word {token!r}: choose from {choices()}")

    def call(self, name: str) -> Node:
        self.take("(")
        arguments = [self.sum()]
        number = None
        while self.next == ",":
            self.take()
            if name in _WITH_NUMBER and number is None:
                number = self.number(name)
            else:
                arguments.append(self.sum())
        self.take(")")
        arity = 2 if name in BINARY else 1
        if len(arguments) != arity or (name in _WITH_NUMBER and number is None):
            wanted = f"a formula and {' or '.join(numbers(name))}" if name in _WITH_NUMBER else f"{arity} in all"
            got = len(arguments) + (number is not None)
            self.refuse(f"expected of {name} as arguments {wanted}", str(got))
        return Node(f"{name} {number}" if number else name, tuple(arguments))

    def number(self, name: str) -> str:
        token = self.take()
        is_number = re.fullmatch(r"\d*\.?\d+(e-?\d+)?", token)
        found = [known for known in numbers(name) if is_number and float(token) == float(known)]
        if not found:
            self.refuse(f"expected {' or '.join(numbers(name))} as the number of {name}", repr(token))
        return found[0]


def parse(text: str) -> Node:
    """The tree of ``text``, as ``g * exp(sign(g) * sign(m))``.

    :raises ValueError: on a word that is not of the grammar, and on a function of more or fewer arguments than it has.

    >>> parse("g + -m")
    Node(name='+', children=(Node(name='g', children=()), Node(name='-', children=(Node(name='m', children=()),))))
    """
    return _Parser(text).whole()


def written(tree: Node, rank: int = 0) -> str:
    """The text of which ``tree`` is the tree.

    :param rank: of what it stands in, so that it gets brackets where it binds less.
    """
    if not tree.children:
        return tree.name
    if len(tree.children) == 1:
        (child,) = tree.children
        if tree.name == "-":
            return f"-{written(child, 3)}"
        name, _, number = tree.name.partition(" ")
        return f"{name}({written(child)}{f', {number}' if number else ''})"
    left, right = tree.children
    if tree.name not in _RANK:
        return f"{tree.name}({written(left)}, {written(right)})"
    own = _RANK[tree.name]
    text = f"{written(left, own)} {tree.name} {written(right, own + 1)}"
    return f"({text})" if own < rank else text


def canonical(tree: Node) -> Node:
    """The same rule in one form: without ``identity``, ``left`` and factors 1; signs outermost; terms in order.

    A sign goes out of products, numerators and what is odd (``sign``, ``clip``, ``drop``), is lost in what is of |x|,
    and makes a sum a difference: ``x - -y`` is ``x + y``, ``-x + y`` is ``y - x``, ``-x - y`` is ``-(x + y)``.
    """
    return _made(tree.name, *(canonical(child) for child in tree.children))


_EVEN = ("log", "sqrt")
_ODD = ("sign", *(name for name in UNARY if name.startswith(_WITH_NUMBER)))
_SUMS = {("+", False, True): ("-", 1), ("+", True, False): ("-", -1), ("-", False, True): ("+", 1),
         ("-", True, False): ("+", -1), ("+", True, True): ("+", -1), ("-", True, True): ("-", -1)}  # fmt: skip
"""Of a sum of x and y and whether each has a minus: what is of x and y alone, and its sign."""


def _made(name: str, *children: Node) -> Node:
    """The canonical form of a function of what is canonical."""
    if not children:
        return Node(name)
    bare = [child.children[0] if _is_minus(child) else child for child in children]
    minus = [_is_minus(child) for child in children]
    if name in ("identity", "left"):
        return children[0]
    if len(children) == 1:
        return _of_one(name, children[0], bare[0], minus[0])
    if name in ("+", "-") and any(minus):
        joined, sign = _SUMS[name, minus[0], minus[1]]
        return _signed(_made(joined, *bare), sign)
    if name == "*" and any(minus):
        return _signed(_made("*", *bare), 1 if all(minus) else -1)
    if name == "/" and minus[0]:
        return _made("-", _made("/", bare[0], children[1]))
    if name == "*" and Node("1") in children:
        return children[0] if children[1] == Node("1") else children[1]
    return Node(name, tuple(sorted(children, key=written)) if name in COMMUTATIVE else children)


def _of_one(name: str, of: Node, bare: Node, has_minus: bool) -> Node:
    if name == "-":
        swapped = Node("-", of.children[::-1])
        return bare if has_minus else swapped if of.name == "-" else Node("-", (of,))
    if has_minus and name in _EVEN:
        return _made(name, bare)
    if has_minus and name in _ODD:
        return _made("-", _made(name, bare))
    return of if name == of.name == "sign" else Node(name, (of,))


def _is_minus(tree: Node) -> bool:
    return tree.name == "-" and len(tree.children) == 1


def _signed(tree: Node, sign: int) -> Node:
    return tree if sign > 0 else _made("-", tree)


def cache_key(tree: Node) -> str:
    """Its canonical form as text.

    >>> cache_key(parse("exp(sign(m) * identity(sign(g))) * g * 1"))
    'exp(sign(g) * sign(m)) * g'
    """
    return written(canonical(tree))
