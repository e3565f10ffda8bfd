"""How an import is requested and shown, and its limits."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from jobs.file_formats import Format
from shared.api import Input
from shared.api.problems import ProblemError
from shared.ids import MerchantId

ROWS_MAX = 1_000_000
ERRORS_KEPT_MAX = 10_000
ImportStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class ImportQuery(Input):
    """How a file is to be taken."""

    dry_run: bool = Field(False, description="Only say what would become of each row; nothing is created.")
    merchant_id: MerchantId | None = Field(
        None, description="Whose jobs they are where a row names no merchant. Administrators only."
    )


class Import(BaseModel):
    """A file of jobs that is worked off in the background."""

    object: Literal["import"] = "import"
    id: str
    status: ImportStatus
    format: Format
    dry_run: bool = Field(description="Whether it only says what would become of each row.")
    merchant_id: str | None = Field(description="Whose jobs they are where a row names no merchant.")
    rows_total: int | None = Field(description="Rows of the file; null until they are counted.")
    rows_done: int = Field(description="Rows that were looked at so far.")
    jobs_created: int = Field(description="Jobs created so far; none in a dry run.")
    rows_failed: int = Field(
        description=f"Rows that are no jobs; the first {ERRORS_KEPT_MAX} of them are listed under `errors`."
    )
    bytes_total: int = Field(description="Bytes of the file.")
    bytes_done: int = Field(description="Bytes of the file that are done.")
    reason: str | None = Field(description="Why it failed.")
    reason_code: str | None = Field(description="The same, as a code.")
    created_by: str = Field(description="Id of the principal that asked for it.")
    livemode: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class ImportProblem(BaseModel):
    """Why one row of a file is no job."""

    object: Literal["import_error"] = "import_error"
    line: int = Field(description="The line of the file on which the row begins, from 1.")
    reference_id: str | None = Field(description="The row's reference, as far as it could be read.")
    status: int = Field(description="What the same job alone would have been answered.")
    code: str
    detail: str
    errors: list[ProblemError] = Field(description="All that is wrong with the row, with pointers into the job.")
