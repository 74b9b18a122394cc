"""JSON and YAML as plain data that is safe to walk: finite numbers, bounded depth and size."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from intake.errors import InputError
from intake.files import read_text

MAX_DEPTH = 64
MAX_ITEMS = 1_000_000
MAX_DIGITS = 40
MAX_YAML = 8 * 2**20

# In C where there is one, as fast as JSON; it bounds the depth of nesting itself.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# JSON ----------------------------------------------------------------------------------------
def read_json(path: Path) -> Any:
    """The data of a JSON file; raises `InputError`."""
    return parse_json(read_text(path), str(path))


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds; raises `InputError`."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise InputError(f'{path} holds no JSON object: expected {{"name": value, …}}')
    return data


def parse_json(text: str | bytes, source: str) -> Any:
    """The data of a JSON text, in which every number is finite; raises `InputError`."""
    try:
        data = json.loads(
            text,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_float,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise InputError(f"{source} is nested too deeply") from None
    except UnicodeDecodeError:
        raise InputError(f"{source} is no UTF-8 text: save it as UTF-8") from None
    except ValueError as error:
        raise InputError(f"{source} is not JSON: {error}") from None
    vet(data, source)
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' is set twice in one object: keep one")
    return data


def _constant(word: str) -> float:
    raise ValueError(f"it holds {word}, which is no number")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:MAX_DIGITS]} is too large")
    return value


# YAML ----------------------------------------------------------------------------------------
def read_yaml(path: Path) -> Any:
    """The data of a YAML file; raises `InputError`."""
    return parse_yaml(read_text(path, MAX_YAML), str(path))


def parse_yaml(text: str, source: str, loader: Any = LOADER) -> Any:
    """The data of a YAML text, in which every number is finite; raises `InputError`."""
    refuse_nesting(text, source)
    try:
        reader = loader(text)
        try:
            tree = reader.get_single_node()
            again = _set_twice(tree)  # before its merges are put in
            data = None if tree is None else reader.construct_document(tree)
        finally:
            reader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}" if mark is not None else ""
        what = error.problem or error.context
        raise InputError(f"{source} is not YAML{where}: {what}") from None
    except RecursionError:
        raise InputError(f"{source} is nested too deeply") from None
    # What its own constructors raise on words such as 2001-99-99, !!int "" or !!bool x.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{source} is not YAML: {said}") from None
    vet(data, source)
    if again is not None:
        line = again.start_mark.line + 1
        raise InputError(f"{source}, line {line}: '{again.value}' is set twice: keep one")
    return data


def _set_twice(tree: yaml.Node | None) -> yaml.Node | None:
    """The first key that a mapping holds a second time; YAML takes the last without a word."""
    left, met = [tree], set()
    while left:
        node = left.pop()
        if id(node) in met:  # an alias
            continue
        met.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left += node.value
        elif isinstance(node, yaml.MappingNode):
            if (again := next(keys_set_again(node), None)) is not None:
                return again
            left += [value for _, value in node.value]
    return None


def keys_set_again(mapping: yaml.MappingNode) -> Iterator[yaml.ScalarNode]:
    """The keys that this mapping has held before; ``<<`` may stand in it several times."""
    names: set[tuple[str, str]] = set()
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if (key.tag, key.value) in names:
                yield key
            names.add((key.tag, key.value))


def refuse_nesting(text: str, source: str) -> None:
    """Raise `InputError` if brackets or indents open deeper than any file of ours.

    A loader that walks by calling itself would be at its end; this looks at the text alone.
    """
    depth = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        if bracket.group() in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InputError(f"{source} is nested too deeply")
        else:
            depth = max(0, depth - 1)
    for line in text.splitlines():
        begin = line[: 8 * MAX_DEPTH]
        if sum(begin.count(mark) for mark in ("- ", "? ", ": ")) > MAX_DEPTH:
            raise InputError(f"{source} is nested too deeply")


# both ----------------------------------------------------------------------------------------
def items(data: Any, source: str) -> Iterator[Any]:
    """Every key, value and item within; raises `InputError` if they are too deep or too many."""
    waiting: list[tuple[Any, int]] = [(data, 0)]
    seen = 0
    while waiting:
        item, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_ITEMS:  # a YAML alias may repeat itself without end
            raise InputError(f"{source} is nested too deeply, or repeats itself")
        yield item
        if isinstance(item, dict):
            waiting.extend((key, depth + 1) for key in item)
            waiting.extend((value, depth + 1) for value in item.values())
        elif isinstance(item, list | tuple | set):
            waiting.extend((value, depth + 1) for value in item)


def vet(data: Any, source: str) -> None:
    """Refuse what is too deep, too much, infinite, or text that cannot be written again."""
    for item in items(data, source):
        if isinstance(item, str):
            if not item.isascii() and any("\ud800" <= c <= "\udfff" for c in item):
                raise InputError(f"{source} holds half a character: save it as UTF-8")
        elif isinstance(item, float) and not math.isfinite(item):
            raise InputError(f"{source} holds {item}, which is no number")
        elif isinstance(item, int) and abs(item) >= 10**MAX_DIGITS:
            raise InputError(f"{source} holds a number of more than {MAX_DIGITS} digits")


def finite(value: Any, what: str, low: float = -1e300, high: float = 1e300) -> float:
    """A number within bounds; raises `InputError` naming `what`."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not low <= value <= high:
        raise InputError(f"{what} is {_short(value)}: expected a number{_span(low, high)}")
    return float(value)


def whole(value: Any, what: str, low: int = 0, high: int = 2**31 - 1) -> int:
    """A whole number within bounds (2.0 is one); raises `InputError` naming `what`."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not low <= value <= high or value != int(value):
        raise InputError(f"{what} is {_short(value)}: expected a whole number{_span(low, high)}")
    return int(value)


def number_of(value: Any) -> int:
    """How many entries a list has; 1 for anything else."""
    return len(value) if isinstance(value, list | tuple) else 1


def numbers(value: Any, shape: tuple[int, ...], what: str) -> NDArray[np.float64]:
    """Finite numbers of a shape (given flat or nested); raises `InputError` naming `what`."""
    flat: list[float] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting.extend(reversed(item))
        elif isinstance(item, int | float) and not isinstance(item, bool) and abs(item) < 1e300:
            flat.append(float(item))
        else:
            raise InputError(f"{what} holds {_short(item)}: expected finite numbers")
    if len(flat) != math.prod(shape):
        size = "×".join(map(str, shape))
        raise InputError(f"{what} holds {len(flat)} numbers: expected {size}")
    return np.array(flat, dtype=np.float64).reshape(shape)


def _span(low: float, high: float) -> str:
    return f" of {low:g} to {high:g}" if max(-low, high) < 1e299 else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
