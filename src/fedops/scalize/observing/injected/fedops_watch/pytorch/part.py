"""A device's part of a training loader's examples, for experiments on one machine."""

from __future__ import annotations

from typing import Any

from fedops_watch.recorder import Recorder

REFUSED = "the training loader cannot be cut into parts: it has %s; give each device its own data"


def cut(
    torch: Any, recorder: Recorder, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a loader with the part of its data set: every n-th example, from the k-th on."""
    dataset: Any = args[0] if args else kwargs.get("dataset")
    reason = _reason(torch, dataset, args, kwargs)
    if reason:
        recorder.refuse("part_refused", REFUSED % reason)
        return args, kwargs
    index, count = recorder.job.part or (0, 1)
    part = _part_class(torch)(dataset, range(index, len(dataset), count))
    sampler = _sampler(args, kwargs)
    if sampler is not None:
        kwargs = dict(kwargs, sampler=_of_part(sampler, part))
    if args:
        return (part, *args[1:]), kwargs
    return args, dict(kwargs, dataset=part)


def _reason(torch: Any, dataset: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Why it cannot be cut; "" if it can."""
    if isinstance(dataset, torch.utils.data.IterableDataset) or not hasattr(dataset, "__getitem__"):
        return "a data set that is not indexed"
    if not hasattr(dataset, "__len__"):
        return "a data set without a length"
    if kwargs.get("batch_sampler", args[4] if len(args) > 4 else None) is not None:
        return "a sampler of batches"
    sampler = _sampler(args, kwargs)
    known = (torch.utils.data.RandomSampler, torch.utils.data.SequentialSampler)
    if sampler is None or (type(sampler) in known and len(sampler) == len(dataset)):
        return "" if len(args) < 4 or sampler is None else "its sampler among positional arguments"
    return "a sampler of its own"


def _sampler(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kwargs.get("sampler", args[3] if len(args) > 3 else None)


def _of_part(sampler: Any, part: Any) -> Any:
    """The same order over the part: by the same generator where it is random."""
    if hasattr(sampler, "generator"):
        return type(sampler)(part, generator=sampler.generator)
    return type(sampler)(part)


def _part_class(torch: Any) -> Any:
    base: Any = torch.utils.data.Subset

    class Part(base):  # type: ignore[misc]
        """Looks like the whole but for its examples."""

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") or "dataset" not in self.__dict__:
                raise AttributeError(name)
            return getattr(self.dataset, name)

        def __reduce__(self) -> Any:  # workers that are spawned know the class by no name
            return base, (self.dataset, self.indices)

    return Part
