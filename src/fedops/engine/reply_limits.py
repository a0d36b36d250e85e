"""What one client's reply may weigh beside the others of its round.

A device says by itself on how many examples it trained, and its update may hold any finite value: either
would let one device take the model over. Each is bounded by a multiple of a median, which no minority moves:
of the round, and for the examples also of what all devices of the task said of themselves when they became
ready, as a round may have too few. What is beyond is rejected and named, and the round goes on without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from fedops.config.schema import Limits
from fedops.engine.update_checks import CheckedUpdate

#: A median says something from so many clients on.
ENOUGH = 3
#: Without a number of the task's own: so many times the usual examples.
EXAMPLES_RATIO = 10


@dataclass(frozen=True)
class ReplyLimits:
    """The limits of one run."""

    limits: Limits

    def beyond(
        self, updates: Sequence[CheckedUpdate], announced: Sequence[int] = ()
    ) -> dict[str, str]:
        """Device -> why its reply is not taken.

        ``announced``: how many examples the devices of the task said that they have to train on.
        """
        found: dict[str, str] = {}
        for device, why in [*self._examples(updates, announced), *self._norms(updates)]:
            found.setdefault(device, why)
        return found

    def _examples(
        self, updates: Sequence[CheckedUpdate], announced: Sequence[int]
    ) -> Iterator[tuple[str, str]]:
        for what, others in (("trained", announced), ("evaluated", ())):
            said = {u.device: part.examples for u in updates if (part := getattr(u, what))}
            allowed, why = self._most(list(said.values()), others)
            for device, examples in said.items():
                if allowed is not None and examples > allowed:
                    yield device, f"it says that it {what} on {examples} examples, {why}"

    def _most(self, *counts: Sequence[int]) -> tuple[float | None, str]:
        most = self.limits.max_examples
        if most is not None:
            return most, f"and server.limits.max_examples = {most}"
        known = [median(found) for found in counts if len(found) >= ENOUGH]
        if not known:
            return None, ""
        usual = max(known)
        why = f"more than {EXAMPLES_RATIO} times the {usual:.0f} that are usual"
        return EXAMPLES_RATIO * usual, f"{why}; if that is right, set server.limits.max_examples"

    def _norms(self, updates: Sequence[CheckedUpdate]) -> Iterator[tuple[str, str]]:
        ratio = self.limits.max_norm_ratio
        norms = {u.device: u.norm for u in updates if u.norm is not None}
        usual = median(norms.values()) if len(norms) >= ENOUGH else 0.0
        if not ratio or not usual:
            return
        for device, norm in norms.items():
            if norm > ratio * usual:
                far = f"more than {ratio:g} times the {usual:.3g} that is usual in this round"
                yield (
                    device,
                    f"it changed the model by {norm:.3g} (L2 norm), {far}; if that is right, raise"
                    " server.limits.max_norm_ratio (0: no limit)",
                )
