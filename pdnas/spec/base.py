"""What every part of a scale file is made of: strict models, number types, one-line errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from pdnas.spec import limits


def _fraction(value: Any) -> Any:
    """Let a temperature be written the way the paper does, ``1/5``."""
    if not isinstance(value, str) or "/" not in value:
        return value
    try:
        return float(Fraction(value))
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise ValueError("write a number, or a fraction like 1/5") from error


Probability = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0), BeforeValidator(_fraction)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=limits.MOST)]
Natural = Annotated[int, Field(ge=0, le=limits.MOST)]
Depth = Annotated[int, Field(ge=1, le=limits.DEPTH)]
Width = Annotated[int, Field(ge=1, le=limits.WIDTH)]
Seed = Annotated[int, Field(ge=0, le=limits.SEED)]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""Names of scales, studies and variants: they become folders, and words of command lines."""
Name = Annotated[str, Field(pattern=f"^{NAME}$")]


class Strict(BaseModel):
    """Unknown keys are errors: a mistyped key must never silently mean the default.

    The docstring below a key says what it means, to readers of the code and of the reference that
    :mod:`pdnas.spec.reference` makes.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _keys_known(cls, given: Any) -> Any:
        """Before a key that is missing, name the misspelt one that stands for it.

        Truth values, such as YAML's ``on``, would count as the numbers 1 and 0.
        """
        if not isinstance(given, Mapping):
            return given
        for key, value in given.items():
            if key not in cls.model_fields:
                raise _problem(cls, key, value, f"no such key{suggestion(key, cls.model_fields)}")
            values = value if isinstance(value, list) else [value]
            is_switch = cls.model_fields[key].annotation is bool
            if not is_switch and any(isinstance(each, bool) for each in values):
                raise _problem(cls, key, value, "on, off, yes, no, true and false say nothing here")
        return given


def _problem(model: type[BaseModel], key: Any, given: Any, text: str) -> ValidationError:
    """What is wrong with a key of a model."""
    kind = PydanticCustomError("wrong_entry", "{text}", {"text": text})
    where = InitErrorDetails(type=kind, loc=(key,), input=given)
    return ValidationError.from_exception_data(model.__name__, [where])


def suggestion(word: object, known: Collection[str]) -> str:
    """What may have been meant by a word that is not known, or else all that are."""
    if close := get_close_matches(str(word), known, 1, 0.7):
        return f"; did you mean {close[0]!r}?"
    return f"; choose one of {', '.join(known)}"


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, in one line: where, what, and what was given."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    got = problem.get("input")
    if problem["type"] == "union_tag_not_found" and isinstance(got, Mapping):
        close = get_close_matches("name", map(str, got), 1)
        message = f"needs a name; did you mean it by {close[0]!r}?" if close else "needs a name"
    shown = f" (got {got!r:.100})" if isinstance(got, (str, int, float)) else ""
    text = f"{place}: {message}{shown}" if place else message
    return " ".join(text.split())


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """``override`` laid over ``base``, mapping by mapping."""
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged
