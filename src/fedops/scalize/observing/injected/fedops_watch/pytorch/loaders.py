"""Loaders: passes over a data set, and the examples that training used."""

from __future__ import annotations

import collections
import functools
import weakref
from typing import Any

from fedops_watch import places
from fedops_watch.ending import Ending
from fedops_watch.pytorch import part
from fedops_watch.pytorch.result import Result
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded

#: A sampler that draws more examples than this for each that there is stands for a loop without an end.
_MOST_DRAWS = 100


class Stream:
    """What is fetched from one data set, however many loaders are made for it. Nothing is held strongly."""

    def __init__(self, loader: Any, where: str) -> None:
        dataset = getattr(loader, "dataset", None)
        self.of = _weakly(dataset)
        self.kind = _kind(dataset)
        self.where = where
        self.examples = _length(dataset)
        self.batch_size = getattr(loader, "batch_size", None)
        self.divisible = _divisible(loader)
        #: Whether a pass has more than one batch, so that one batch alone is no pass.
        self.batches = _length(loader) or 0
        self.longer = self.batches > 1
        #: File and line of the project where the newest pass began.
        self.begun = ("", 0)
        #: Whether it is drawn from for ever, so that no pass over it ends.
        self.endless = _endless(loader, self.examples)
        self.passes = 0
        self.trains = False
        self.evaluates = False
        self.fetched = 0
        self.stepped = False
        #: Examples in each batch that no backward has followed yet, the oldest first.
        self.sizes: collections.deque[int] = collections.deque(maxlen=64)

    def goes_on_with(self, loader: Any, where: str) -> bool:
        """Whether a loader of another data set continues this one: scripts make theirs anew in each pass."""
        if not where or where != self.where or self.of() is not None:
            return False
        dataset = getattr(loader, "dataset", None)
        same = (self.kind, self.examples, self.batch_size)
        return same == (_kind(dataset), _length(dataset), getattr(loader, "batch_size", None))

    @property
    def completes(self) -> bool:
        """Whether the pass that has begun counts as one, once it is over."""
        return self.stepped and not self.endless and (self.fetched > 1 or not self.longer)


class Loaders:
    def __init__(self, torch: Any, recorder: Recorder, end: Ending, result: Result) -> None:
        self._torch, self._recorder, self._end, self._result = torch, recorder, end, result
        self.streams: list[Stream] = []
        self._by_key: dict[tuple[Any, ...], Stream] = {}
        self._made: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._of_iterator: weakref.WeakKeyDictionary[Any, Stream] = weakref.WeakKeyDictionary()
        #: What was fetched from last, and what the last backward used.
        self._last: Stream | None = None
        self._trained: Stream | None = None
        self.examples = 0
        self.batches = 0
        #: The newest batch, where somebody asks for it.
        self.keeps_batch = False
        self.batch: Any = None

    def install(self) -> None:
        data = self._torch.utils.data
        self._watch_making(data.DataLoader)
        self._watch_begin(data.DataLoader)
        self._watch_fetch(data.dataloader._BaseDataLoaderIter)

    def _watch_making(self, kind: Any) -> None:
        make, made, parted = kind.__init__, shielded(self._note_place), shielded(self._part)

        @functools.wraps(make)
        def __init__(loader: Any, *args: Any, **kwargs: Any) -> None:
            cut = parted(args, kwargs)
            args, kwargs = cut if cut is not None else (args, kwargs)
            make(loader, *args, **kwargs)
            made(loader)

        kind.__init__ = __init__

    def _part(self, args: Any, kwargs: Any) -> Any:
        job = self._recorder.job
        if job.part is None or not job.train_loader or places.of_caller() != job.train_loader:
            return None
        return part.cut(self._torch, self._recorder, args, kwargs)

    def _note_place(self, loader: Any) -> None:
        if not self._recorder.inert:
            self._made[loader] = places.of_caller()

    def _watch_begin(self, kind: Any) -> None:
        begin, begun, known = kind.__iter__, shielded(self._begin), shielded(self._know)

        @functools.wraps(begin)
        def __iter__(loader: Any) -> Any:
            stream = begun(loader)
            iterator = begin(loader)
            if stream is not None:
                known(iterator, stream)
            return iterator

        kind.__iter__ = __iter__

    def _watch_fetch(self, kind: Any) -> None:
        fetch, fetched, end = kind.__next__, shielded(self._fetched), self._end
        ends = shielded(self._result.pass_ends)

        @functools.wraps(fetch)
        def __next__(iterator: Any) -> Any:
            if end.why:
                end.go_on()
            try:
                batch = fetch(iterator)
            except StopIteration:
                ends()
                raise
            fetched(iterator, batch)
            return batch

        kind.__next__ = __next__

    def _know(self, iterator: Any, stream: Stream) -> None:
        self._of_iterator[iterator] = stream

    def _begin(self, loader: Any) -> Stream | None:
        if self._recorder.inert:
            return None
        self._end.go_on()
        stream = self._stream(loader)
        if stream.completes:
            self._complete(stream)
        stream.stepped, stream.fetched = False, 0
        stream.begun = places.of_line()
        stream.sizes.clear()
        return stream

    def _complete(self, stream: Stream) -> None:
        job = self._recorder.job
        stream.passes += 1
        self._result.pass_over()
        if stream.passes == job.keep_pass:
            self._result.keep_pass(stream.passes)
        if job.passes and stream.passes >= job.passes and self._recorder.may_end():
            stream.stepped = False
            self._end.end("passes")

    def _stream(self, loader: Any) -> Stream:
        key = _key(loader)
        stream = self._by_key.get(key)
        dataset = getattr(loader, "dataset", None)
        if stream is None or stream.of() is not dataset:
            stream = self._former(loader, key)
            self._by_key[key] = stream
        return stream

    def _former(self, loader: Any, key: tuple[Any, ...]) -> Stream:
        """Of a data set that is new: the one whose place it takes, or one of its own."""
        where, chosen = self._made.get(loader, ""), key[1:]
        for known, stream in list(self._by_key.items()):
            if known[1:] == chosen and stream.goes_on_with(loader, where):
                del self._by_key[known]
                stream.of = _weakly(getattr(loader, "dataset", None))
                return stream
        stream = Stream(loader, where)
        self.streams.append(stream)
        return stream

    def _fetched(self, iterator: Any, batch: Any) -> None:
        stream = self._of_iterator.get(iterator)
        if stream is None:
            return
        stream.fetched += 1
        if self._torch.is_grad_enabled():
            stream.sizes.append(size_of(batch, stream.batch_size))
            self._last = stream
            if self.keeps_batch:
                self.batch = batch
        else:
            stream.evaluates = True

    def used(self) -> None:
        """A backward: the oldest batch that was fetched for it counts, once."""
        stream = self._last
        if stream is None or not stream.sizes:
            return
        self.examples += stream.sizes.popleft()
        self.batches += 1
        stream.trains = True
        self._trained = stream

    def made(self) -> list[tuple[Any, str]]:
        """Living loaders, with the place where each was made."""
        return list(self._made.items())

    def is_training(self, loader: Any) -> bool:
        stream = self._by_key.get(_key(loader))
        return stream is not None and bool(stream.sizes or stream.trains)

    def stepped(self) -> None:
        if self._trained is not None:
            self._trained.stepped = True

    def unfinished(self) -> bool:
        """Whether the pass that training is in has batches left, or one that was not trained on."""
        stream = self._trained
        if stream is None or not stream.stepped:
            return False
        return stream.fetched < stream.batches or bool(stream.sizes)

    def within_pass(self, trace: Any) -> bool:
        """Whether an error came out of a pass that trains and had batches left."""
        left = [s for s in self.streams if s.stepped and 0 < s.fetched < s.batches]
        return any(places.came_from(trace, *stream.begun) for stream in left)

    def passes(self) -> int:
        return max((s.passes + s.completes for s in self.streams if s.trains), default=0)


def size_of(batch: Any, otherwise: int | None) -> int:
    """Examples in a batch: its first tensor's first side, wherever that tensor lies in it."""
    graphs = getattr(batch, "num_graphs", None)
    if isinstance(graphs, int):
        return graphs
    found = _first_side(batch, 0)
    return found if found is not None else otherwise or 1


def _first_side(value: Any, depth: int) -> int | None:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    if depth > 4 or isinstance(value, (str, bytes)):
        return None
    values = getattr(value, "values", None)
    parts = list(values()) if callable(values) else value
    if not isinstance(parts, (list, tuple)):
        return None
    for inner in parts:
        found = _first_side(inner, depth + 1)
        if found is not None:
            return found
    return len(parts) if parts and isinstance(value, list) and depth else None


def _key(loader: Any) -> tuple[Any, ...]:
    """By its data set; by its indices too, where training and validation share a data set."""
    indices: Any = getattr(getattr(loader, "sampler", None), "indices", None)
    chosen = (len(indices), *map(int, indices[:3])) if _length(indices) else ()
    return (id(getattr(loader, "dataset", None)), *chosen)


def _kind(dataset: Any) -> str:
    return f"{type(dataset).__module__}.{type(dataset).__qualname__}"


def _weakly(value: Any) -> Any:
    try:
        return weakref.ref(value)
    except TypeError:  # a list, for example: its number tells it as long as it lives
        number = id(value)
        return lambda: value_by_number(number)


def value_by_number(number: int) -> Any:
    import gc

    return next((one for one in gc.get_objects() if id(one) == number), None)


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except Exception:  # what has no length says so in many ways
        return None


def _endless(loader: Any, examples: int | None) -> bool:
    """Whether its sampler draws each example many times, as one whose draws never end."""
    drawn = _length(getattr(loader, "sampler", None))
    return (drawn or 0) > _MOST_DRAWS * (examples or 0) > 0


def _divisible(loader: Any) -> bool:
    dataset, sampler = getattr(loader, "dataset", None), getattr(loader, "sampler", None)
    known = type(sampler).__name__ in ("RandomSampler", "SequentialSampler")
    return known and hasattr(dataset, "__getitem__") and _length(dataset) is not None
