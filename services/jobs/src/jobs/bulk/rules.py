"""The refusal of an item because of another item."""

from typing import ClassVar

from shared.errors import WaybillError


class NotDone(WaybillError):
    """The item could have been created, but another item of an atomic request could not."""

    status: ClassVar[int] = 424
    code: ClassVar[str] = "not_done"
    title: ClassVar[str] = "Not done"
