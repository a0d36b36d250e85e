"""What all contracts share: names, numbers, digests, and the three kinds of document."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fedops.core.errors import Invalid
from fedops.core.printable import printable
from fedops.core.validation_messages import without_secret

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
#: A JSON number that is really one: neither NaN nor infinite.
Finite = Annotated[float, Field(allow_inf_nan=False)]
ShortText = Annotated[str, Field(max_length=255), AfterValidator(printable)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
#: No spool keeps anything for longer. Seconds.
LONGEST_AGE = 366 * 86_400.0
#: Seconds since something happened; what is beyond is taken to be that old.
Age = Annotated[Finite, Field(ge=0), AfterValidator(lambda age: min(age, LONGEST_AGE))]
#: Text from another machine: what would work in a terminal instead of being read is taken out.
Said = Annotated[str, AfterValidator(printable)]


def _with_words(text: str) -> str:
    if not text.strip():
        raise ValueError("must say something")
    return text.strip()


#: Why a person does something that others will ask about.
Reason = Annotated[Said, Field(min_length=1, max_length=1_000), AfterValidator(_with_words)]
#: A ``key=value`` for a config. Secrets are a device's own: they are taken out on both sides.
Override = Annotated[str, Field(max_length=16_384), AfterValidator(without_secret)]
Overrides = Annotated[list[Override], Field(max_length=256)]


def require_name(text: str) -> str:
    """The text, when it is a name of a task, a device, a version or an alias. ``Invalid`` else."""
    if not re.fullmatch(NAME_PATTERN, text):
        raise Invalid(
            f"'{text[:80]}' is no name: a name is 1 to 63 letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )
    return text


class Request(BaseModel):
    """What an operator sends: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Report(BaseModel):
    """What a device or an engine sends: an unknown key is from a newer one, and does no harm."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Reply(BaseModel):
    """What the server answers: an unknown key is from a newer server."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class BlobRef(Reply):
    """An immutable stored file, named by its content."""

    sha256: str
    size: int
