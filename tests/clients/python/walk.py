"""What every client does: create jobs, page through them, be refused, import a file. The client is made by openapi-generator."""

import os
import time
from pathlib import Path

from jobs_client import ApiClient, Configuration, FilesApi, JobsApi, SearchApi
from jobs_client.exceptions import UnprocessableEntityException
from jobs_client.models import AddressIn, ContactIn, JobIn


def new_job(reference: str, phone: str) -> JobIn:
    return JobIn(
        reference_id=reference,
        contact=ContactIn(first_name="Ada", phone=phone),
        address=AddressIn(raw="1 Rue Sherbrooke, Montréal"),
    )


configuration = Configuration(
    host=os.environ["WAYBILL_URL"],
    username=os.environ["WAYBILL_ACCOUNT_ID"],
    password=os.environ["WAYBILL_AUTH_KEY"],
)
with ApiClient(configuration) as client:
    jobs, search, files = JobsApi(client), SearchApi(client), FilesApi(client)

    for number in (1, 2, 3):
        job = jobs.create_job(new_job(f"C-{number}", "+15145550100"))
        print("created", job.reference_id, job.status.value, job.priority)

    page = search.list_jobs(limit=2)
    pages, found = 1, len(page.data)
    while page.has_more:
        page = search.list_jobs(limit=2, cursor=page.next_cursor)
        pages, found = pages + 1, found + len(page.data)
    print("paged", pages, found)

    try:
        jobs.create_job(new_job("C-4", "12"))
    except UnprocessableEntityException as refused:
        print("refused", refused.data.status, refused.data.code, refused.data.errors[0].pointer)

    file = Path(os.environ["WAYBILL_FILE"])
    begun = files.import_jobs((file.name, file.read_bytes()), idempotency_key="import-1")
    while begun.finished_at is None:
        time.sleep(0.1)
        begun = files.get_import(begun.id)
    print("imported", begun.status.value, begun.jobs_created, begun.rows_failed)
