"""What every part of a scale file is made of: strict models, number types, one-line errors."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


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
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
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


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, in one line: where, what, and what was given."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    got = problem.get("input")
    shown = f" (got {got!r:.100})" if isinstance(got, (str, int, float)) else ""
    text = f"{place}: {message}{shown}" if place else message
    return " ".join(text.split())
