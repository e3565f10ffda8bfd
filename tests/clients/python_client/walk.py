"""What every client does: create jobs, page through them, be refused, import a file. The client is made by openapi-python-client."""

import base64
import os
import time
from io import BytesIO
from pathlib import Path

from jobs_httpx_client import AuthenticatedClient
from jobs_httpx_client.api.files import get_import, import_jobs
from jobs_httpx_client.api.jobs import create_job
from jobs_httpx_client.api.search import list_jobs
from jobs_httpx_client.models import (
    AddressIn,
    ContactIn,
    Import,
    ImportJobsFilesBody,
    InvalidProblem,
    Job,
    JobIn,
    JobList,
)
from jobs_httpx_client.types import UNSET, File


def new_job(reference: str, phone: str) -> JobIn:
    return JobIn(
        reference_id=reference,
        contact=ContactIn(first_name="Ada", phone=phone),
        address=AddressIn(raw="1 Rue Sherbrooke, Montréal"),
    )


pair = f"{os.environ['WAYBILL_ACCOUNT_ID']}:{os.environ['WAYBILL_AUTH_KEY']}"
token = base64.b64encode(pair.encode()).decode()
with AuthenticatedClient(base_url=os.environ["WAYBILL_URL"], token=token, prefix="Basic") as client:
    for number in (1, 2, 3):
        job = create_job.sync(client=client, body=new_job(f"C-{number}", "+15145550100"))
        assert isinstance(job, Job), job
        print("created", job.reference_id, job.status, job.priority)

    pages = found = 0
    cursor = UNSET
    more = True
    while more:
        page = list_jobs.sync(client=client, limit=2, cursor=cursor)
        assert isinstance(page, JobList), page
        pages, found = pages + 1, found + len(page.data)
        cursor, more = page.next_cursor, page.has_more
    print("paged", pages, found)

    refused = create_job.sync(client=client, body=new_job("C-4", "12"))
    assert isinstance(refused, InvalidProblem), refused
    print("refused", refused.status, refused.code, refused.errors[0].pointer)

    file = Path(os.environ["WAYBILL_FILE"])
    body = ImportJobsFilesBody(file=File(BytesIO(file.read_bytes()), file_name=file.name))
    begun = import_jobs.sync(client=client, body=body, idempotency_key="import-1")
    assert isinstance(begun, Import), begun
    while begun.finished_at is None:
        time.sleep(0.1)
        begun = get_import.sync(begun.id, client=client)
        assert isinstance(begun, Import), begun
    print("imported", begun.status, begun.jobs_created, begun.rows_failed)
