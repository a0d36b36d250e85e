"""What every table of ``config.toml`` is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fedops.core.contracts import Finite

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[Finite, Field(gt=0)]
Share = Annotated[Finite, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A table of the file: types are strict, unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)
