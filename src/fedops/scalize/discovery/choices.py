"""What ``fedops init`` decided, each choice with its evidence, and what it has to ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean


class Option(BaseModel):
    """One of the answers to a question."""

    model_config = ConfigDict(frozen=True)

    value: str
    meaning: str = ""


class Choice(BaseModel):
    """One decision. Its key is what ``--answer KEY=VALUE`` takes."""

    model_config = ConfigDict(frozen=True)

    key: str
    value: str
    #: What it rests on.
    why: str
    #: ``file:line`` of the project, if the evidence stands there.
    where: str = ""
    #: What a person is asked, if it could not be seen; empty: nothing.
    question: str = ""
    #: What can be answered; none listed: anything of the value's kind.
    options: list[Option] = []
    #: What is taken unless somebody answers.
    default: str = ""
    by: Literal["seen", "default", "answer"] = "seen"

    @property
    def open(self) -> bool:
        """Whether nobody has answered the question yet."""
        return bool(self.question) and self.by != "answer"

    def line(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.key}: {self.value or 'none'}: {self.why}{place}"


@dataclass
class Choices:
    """Collects the choices of one proposal, and lets answers win."""

    answers: Mapping[str, str]
    made: list[Choice] = field(default_factory=list)

    def choose(
        self,
        key: str,
        default: str,
        why: str,
        *,
        where: str = "",
        question: str = "",
        options: Sequence[Option] = (),
        valid: Callable[[str], bool] = lambda value: True,
        takes: str = "",
    ) -> str:
        """The value of ``key``: what was answered, else the default.

        Raises:
            Invalid: the answer is none of the options, or not ``valid`` (then ``takes`` says what is).
        """
        given = self.answers.get(key)
        value = default if given is None else given.strip()
        known = [option.value for option in options]
        if given is not None and ((known and value not in known) or not valid(value)):
            wanted = f"one of {comma_list(known)}" if known else takes
            raise Invalid(f"--answer {key}={given}: must be {wanted}")
        by: Literal["seen", "default", "answer"] = "default" if question else "seen"
        self.made.append(
            Choice(
                key=key,
                value=value,
                why=why if given is None else "chosen by hand",
                where=where if given is None else "",
                question=question,
                options=list(options),
                default=default,
                by=by if given is None else "answer",
            )
        )
        return value

    def require_used(self) -> None:
        """Every answer was to something that there is to choose. ``Invalid`` names the first that was not."""
        keys = [choice.key for choice in self.made]
        for key in self.answers:
            if key not in keys:
                hint = did_you_mean(key, keys) or f"; there is: {comma_list(keys)}"
                raise Invalid(f"--answer {key}=...: nothing of that name is to be chosen{hint}")
