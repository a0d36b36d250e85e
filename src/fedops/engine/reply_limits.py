"""What one client's reply may weigh beside the others of its round.

A device says by itself on how many examples it trained, and its update may hold any finite value: either
would let one device take the model over. Each is bounded by a multiple of the round's median, which no
minority moves. What is beyond is rejected and named, and the round goes on without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from fedops.config.schema import Limits
from fedops.engine.update_checks import CheckedUpdate

#: A median says something from so many clients on.
ENOUGH = 3
#: Without a number of the task's own: so many times the examples of the round's median.
EXAMPLES_RATIO = 10


@dataclass(frozen=True)
class ReplyLimits:
    """The limits of one run."""

    limits: Limits

    def beyond(self, updates: Sequence[CheckedUpdate]) -> dict[str, str]:
        """Device -> why its reply is not taken."""
        found: dict[str, str] = {}
        for device, why in [*self._examples(updates), *self._norms(updates)]:
            found.setdefault(device, why)
        return found

    def _examples(self, updates: Sequence[CheckedUpdate]) -> Iterator[tuple[str, str]]:
        for what in ("trained", "evaluated"):
            said = {u.device: part.examples for u in updates if (part := getattr(u, what))}
            allowed, why = self._most(list(said.values()))
            for device, examples in said.items():
                if allowed is not None and examples > allowed:
                    yield device, f"it says that it {what} on {examples} examples, {why}"

    def _most(self, counts: Sequence[int]) -> tuple[float | None, str]:
        most = self.limits.max_examples
        if most is not None:
            return most, f"and server.limits.max_examples = {most}"
        if len(counts) < ENOUGH:
            return None, ""
        usual = median(counts)
        why = f"more than {EXAMPLES_RATIO} times the {usual:.0f} that are usual in this round"
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
