"""Why an app's work failed on a device, in one line for whoever operates it."""

from __future__ import annotations

from fedops.core.reasons.shortages import Lack
from fedops.storage.shortages import shortage_of

#: Of a reason. Characters.
_REASON = 1_000
_NO_PART = (
    "the app asks which part of the data is this device's ('partition-id' and 'num-partitions' in its node "
    "config): its owner says so with --set dataset.partition.index=0 --set dataset.partition.of=2"
)


def short(text: str) -> str:
    """The text in one line, of a bounded length."""
    return " ".join(text.split())[:_REASON]


def in_one_line(error: BaseException) -> str:
    """What kind of error it is, and what it says."""
    text = short(str(error))
    return f"{type(error).__name__}: {text}"[:_REASON] if text else type(error).__name__


#: What may also be said of an app's own files.
_OF_THE_APP = (Lack.PERMISSION, Lack.WRITABLE_DISK)


def why_failed(error: BaseException) -> str:
    """A device that lacks something is no mistake of the app, and said first."""
    if isinstance(error, KeyError) and error.args[:1] in (("partition-id",), ("num-partitions",)):
        return _NO_PART
    shortage = shortage_of(error, getattr(error, "filename", None) or "")
    if shortage is None or shortage.lack in _OF_THE_APP:
        return in_one_line(error)
    return f"{shortage.named('the device')}: {shortage.remedy} ({in_one_line(error)})"[:_REASON]
