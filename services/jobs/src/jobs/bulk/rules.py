"""Why an item was not created although it could have been."""

from typing import ClassVar

from shared.errors import WaybillError


class NotDone(WaybillError):
    """It could have been done; what it was to be done together with could not."""

    status: ClassVar[int] = 424
    code: ClassVar[str] = "not_done"
    title: ClassVar[str] = "Not done"
