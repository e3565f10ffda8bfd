"""List imports and their errors, and get one."""

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from jobs.file_formats import UTF_8
from jobs.imports.schemas import Import, ImportProblem
from jobs.imports.tables import ImportErrorRow, ImportRow
from shared.access.principals import Caller
from shared.api import Page, Paging, page
from shared.errors import NotFound


async def list_imports(session: AsyncSession, caller: Caller, paging: Paging) -> Page[Import]:
    """A page of imports, newest first."""
    return await page(
        session,
        visible_to(caller),
        paging,
        by=(col(ImportRow.created_at), col(ImportRow.id)),
        view=view,
        filters=[caller.subject_id if caller.row_scope == "own" else None, caller.livemode],
    )


async def get(session: AsyncSession, caller: Caller, import_id: str) -> Import:
    """One import. Raises `NotFound`."""
    return view(await get_row(session, visible_to(caller), import_id))


async def list_errors(session: AsyncSession, caller: Caller, import_id: str, paging: Paging) -> Page[ImportProblem]:
    """A page of the refused rows of an import, in the order of the file. Raises `NotFound`."""
    found = await get_row(session, visible_to(caller), import_id)
    return await page(
        session,
        select(ImportErrorRow).where(col(ImportErrorRow.import_id) == found.id),
        paging,
        by=(col(ImportErrorRow.line),),
        view=lambda row: ImportProblem.model_validate(row, from_attributes=True),
        descending=False,
        filters=found.id,
    )


def view(row: ImportRow) -> Import:
    """An import as the API shows it."""
    shown = {
        name: getattr(row, name) for name in Import.model_fields if name not in ("object", "merchant_id", "charset")
    }
    return Import(**shown, charset=row.charset or UTF_8, merchant_id=row.for_merchant_id or row.merchant_id)


def visible_to(caller: Caller) -> Select[ImportRow]:
    """The imports that the caller may see, without those whose file is being received."""
    found = select(ImportRow).where(
        col(ImportRow.tenant_id) == caller.tenant_id,
        col(ImportRow.livemode) == caller.livemode,
        col(ImportRow.status) != "uploading",
    )
    return found.where(col(ImportRow.merchant_id) == caller.subject_id) if caller.row_scope == "own" else found


async def get_row(session: AsyncSession, visible: Select[ImportRow], import_id: str) -> ImportRow:
    """One of the visible imports. Raises `NotFound`."""
    row = (await session.execute(visible.where(col(ImportRow.id) == import_id))).scalar_one_or_none()
    if row is None:
        raise NotFound("no such import", code="import_not_found")
    return row
