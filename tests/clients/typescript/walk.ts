// What every client does: create jobs, page through them, be refused, import a file. The types are made by openapi-typescript.
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import { setTimeout } from "node:timers/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./jobs.js";

type JobIn = components["schemas"]["JobIn"];

const { WAYBILL_URL: url, WAYBILL_ACCOUNT_ID: account, WAYBILL_AUTH_KEY: key, WAYBILL_FILE: path = "" } = process.env;
const client = createClient<paths>({
  baseUrl: url,
  headers: { Authorization: `Basic ${Buffer.from(`${account}:${key}`).toString("base64")}` },
});

function newJob(reference_id: string, phone: string): JobIn {
  return { reference_id, contact: { first_name: "Ada", phone }, address: { raw: "1 Rue Sherbrooke, Montréal" } };
}

function present<T>(found: T | undefined, error: unknown): T {
  if (found === undefined) throw new Error(JSON.stringify(error));
  return found;
}

for (const number of [1, 2, 3]) {
  const { data, error } = await client.POST("/v1/jobs", { body: newJob(`C-${number}`, "+15145550100") });
  const job = present(data, error);
  console.log("created", job.reference_id, job.status, job.priority);
}

let pages = 0;
let found = 0;
let cursor: string | undefined;
do {
  const { data, error } = await client.GET("/v1/jobs", { params: { query: { limit: 2, cursor } } });
  const page = present(data, error);
  pages += 1;
  found += page.data.length;
  cursor = page.next_cursor ?? undefined;
} while (cursor !== undefined);
console.log("paged", pages, found);

const { error: refused } = await client.POST("/v1/jobs", { body: newJob("C-4", "12") });
if (refused === undefined || !("errors" in refused)) throw new Error("no refusal");
console.log("refused", refused.status, refused.code, refused.errors?.[0]?.pointer);

const form = new FormData();
form.append("file", await openAsBlob(path), basename(path));
const started = await client.POST("/v1/job-imports", {
  params: { header: { "Idempotency-Key": "import-1" } },
  // The document calls a file a string: what is sent is the form.
  body: { file: path },
  bodySerializer: () => form,
});
let begun = present(started.data, started.error);
while (begun.finished_at === null) {
  await setTimeout(100);
  const { data, error } = await client.GET("/v1/job-imports/{import_id}", { params: { path: { import_id: begun.id } } });
  begun = present(data, error);
}
console.log("imported", begun.status, begun.jobs_created, begun.rows_failed);
