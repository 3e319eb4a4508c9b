"""Configuration of the draw of candidates and of their judging."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pdnas.spec.base import Count, Strict
from pdnas.spec.names import BatchNormStatistics, Ranking


class CandidateConfig(Strict):
    """How many candidates are drawn, and how they are judged on validation data."""

    count: Count
    batchnorm: Annotated[
        BatchNormStatistics,
        Field(description="statistics: the supernet's, or each candidate's own"),
    ] = "running"
    recalibration_images: Count = 1024
    ranking: Annotated[
        Ranking,
        Field(description="judge all on every image, or drop those that clearly trail"),
    ] = "all"
    pairs: Annotated[
        Count | None,
        Field(description="of a candidate and an image that go through at once; null: by device"),
    ] = None
