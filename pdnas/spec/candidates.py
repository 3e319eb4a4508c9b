"""Configuration of the draw of candidates and of their judging."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pdnas.spec import limits
from pdnas.spec.base import Count, Strict
from pdnas.spec.names import BatchNormStatistics, Ranking

JUDGED = ("batchnorm", "recalibration_images")
"""The settings that decide how a network is judged."""


class CandidateConfig(Strict):
    """How many candidates are drawn, and how they are judged on validation data."""

    count: Annotated[int, Field(ge=1, le=limits.CANDIDATES)]
    """Candidates drawn from each source."""
    batchnorm: BatchNormStatistics = "running"
    """running: the supernet's BatchNorm statistics; recalibrated: each candidate's own."""
    recalibration_images: Count = 1024
    """Training images that a candidate's own BatchNorm statistics are taken on."""
    ranking: Ranking = "all"
    """all: every candidate is judged on every image; racing: those that clearly trail drop out."""
    band: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    """Supernet natsbench-size: fewest and most parameters of a candidate, which then is a network
    of the space; null: masks of any size."""
    pairs: Count | None = None
    """Pairs of a candidate and an image that go through at once; null: as the device allows."""
