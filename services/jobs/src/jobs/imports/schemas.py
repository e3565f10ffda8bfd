"""The parameters of an import, the import as the API shows it, and its limits."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from jobs.file_formats import Format, Separator
from shared.api import Input
from shared.api.problem_documents import ProblemError
from shared.fields.numbers import QueryFlag
from shared.ids import MerchantId

ROWS_MAX = 1_000_000
"""Rows of one file."""
ERRORS_KEPT_MAX = 10_000
"""Refused rows of one import that are stored."""
CHECK_ROWS_MAX = 100
"""Rows of the beginning of a file that are checked at once."""
CHECK_BYTES_MAX = 256 * 1024
"""Size of the beginning of a file that is checked."""
ImportStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class MerchantOfRows(Input):
    """Whose jobs the rows of a file are."""

    merchant_id: MerchantId | None = Field(
        None, description="Merchant of the rows that name none. Administrators only."
    )


class ImportQuery(MerchantOfRows):
    """The parameters of an import."""

    dry_run: QueryFlag = Field(False, description="True: only check the rows; no jobs are created.")


class ImportCheckQuery(MerchantOfRows):
    """The parameters of a check."""

    partial: QueryFlag = Field(
        False, description="True: the body is the beginning of a larger file, and its last row may be cut off."
    )


class CheckedRow(BaseModel):
    """One of the first rows of a file, and what would refuse it."""

    object: Literal["import_check_row"] = "import_check_row"
    line: int = Field(description="First line of the row in the file, from 1.")
    cells: list[str] = Field(
        description="The cells of a CSV row; of NDJSON the line.", examples=[["A-1001", "Ada", "+15145550100"]]
    )
    reference_id: str | None = Field(description="Reference of the row, if it could be read.")
    code: str | None = Field(description="Why it would be refused; null: it would become a job.", examples=["invalid"])
    detail: str | None = Field(description="The same as a sentence.")
    errors: list[ProblemError] = Field(description="Violations of the row, with pointers into the job.")


class ImportCheck(BaseModel):
    """The first rows of a file, checked."""

    object: Literal["import_check"] = "import_check"
    format: Format
    separator: Separator | None = Field(description="What is between the cells of a CSV file, as it was found.")
    charset: str = Field(description="Charset in which the file was read: as the request named it, or as it was found.")
    columns: list[str] = Field(description="Columns of a CSV file, in their order.", examples=[["reference_id"]])
    rows_valid: int = Field(description="Number of checked rows that would become jobs.")
    rows_failed: int = Field(description="Number of checked rows that would be refused.")
    rows: list[CheckedRow] = Field(description=f"The first rows, at most {CHECK_ROWS_MAX}.")


class Import(BaseModel):
    """A file of jobs that is read in the background."""

    object: Literal["import"] = "import"
    id: str
    status: ImportStatus
    format: Format
    separator: Separator | None = Field(description="What is between the cells of a CSV file, as it was found.")
    charset: str = Field(description="Charset in which the file was read: as the request named it, or as it was found.")
    dry_run: bool = Field(description="True if rows are only checked.")
    merchant_id: str | None = Field(description="Merchant of the rows that name none.")
    rows_total: int | None = Field(description="Number of rows of the file; null until they are counted.")
    rows_done: int = Field(description="Number of rows handled so far.")
    jobs_created: int = Field(description="Number of jobs created so far; 0 in a dry run.")
    rows_failed: int = Field(
        description=f"Number of refused rows; the first {ERRORS_KEPT_MAX} are listed under `errors`."
    )
    bytes_total: int = Field(description="Size of the file in bytes.")
    bytes_done: int = Field(description="Bytes of the file that were handled.")
    reason: str | None = Field(description="Why the import failed.")
    reason_code: str | None = Field(description="Code of the reason.")
    created_by: str = Field(description="Id of the principal that requested the import.")
    livemode: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class ImportProblem(BaseModel):
    """Why one row of a file was refused."""

    object: Literal["import_error"] = "import_error"
    line: int = Field(description="First line of the row in the file, from 1.")
    reference_id: str | None = Field(description="Reference of the row, if it could be read.")
    status: int = Field(description="Status that `POST /v1/jobs` would have.")
    code: str
    detail: str
    errors: list[ProblemError] = Field(description="Violations of the row, with pointers into the job.")
