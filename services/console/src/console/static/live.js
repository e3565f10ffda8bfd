// Keeps parts of a page up to date: a stream tells the names of records that have changed, and the part is fetched again.
// <div id="x" data-live="jobs" data-live-names="jobs/job_1 job-imports" [data-live-from="/address"]>; without an address it is the page's own.
import { hasEnded } from "./session.js";

const SPACING_MS = 250;
const POLL_MS = 5000;
const streams = new Map();
const waiting = new Map();
const refreshed = new Map();
const polling = new Map();

const matches = (place, notice) =>
  notice.everything ||
  place.dataset.liveNames
    .split(" ")
    .some((wanted) => notice.names.some((name) => name === wanted || wanted === name.split("/")[0] || name === wanted.split("/")[0]));

// Nothing moves under somebody who is typing, choosing or reading what is folded out.
const isInUse = (place) =>
  place.contains(document.activeElement)
    ? document.activeElement.matches("input, select, textarea")
    : place.querySelector("details[open], input:checked") !== null;

// Why a part is not read again stands above the page, once; what it shows stays.
function refused(read) {
  const place = document.getElementById("refused");
  const why = read.querySelector(".alert");
  if (place && why && place.textContent.trim() !== why.textContent.trim()) place.replaceChildren(document.importNode(why, true));
}

async function refresh(place) {
  const address = place.dataset.liveFrom ?? location.href;
  const answer = await fetch(address, { headers: { "HX-Request": "true" } });
  if (answer.status === 401) return hasEnded();
  const read = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!answer.ok) return refused(read);
  document.getElementById("refused")?.replaceChildren();
  const found = read.getElementById(place.id);
  const present = document.getElementById(place.id);
  if (found === null || present === null || isInUse(present)) return;
  const before = present.textContent.trim();
  present.replaceWith(document.importNode(found, true));
  if (found.textContent.trim() !== before) document.dispatchEvent(new CustomEvent("live:changed", { detail: place.id }));
}

// The first notice is followed at once, and those that come close behind it together.
function soon(place) {
  if (waiting.has(place.id)) return;
  const passed = performance.now() - (refreshed.get(place.id) ?? -SPACING_MS);
  const timer = setTimeout(() => {
    waiting.delete(place.id);
    refreshed.set(place.id, performance.now());
    refresh(document.getElementById(place.id) ?? place).catch(() => {});
  }, Math.max(0, SPACING_MS - passed));
  waiting.set(place.id, timer);
}

function hear(service, event) {
  const notice = JSON.parse(event.data);
  for (const place of document.querySelectorAll(`[data-live="${service}"]`)) if (matches(place, notice)) soon(place);
}

function listen(service) {
  if (streams.has(service)) return;
  const stream = new EventSource(`/live/${service}`);
  // The first notice says that anything may have changed: what has, between the page and the stream, is read again.
  stream.addEventListener("changed", (event) => hear(service, event));
  // While the stream is cut, or where it is refused, what has an address of its own is read again every few seconds.
  stream.addEventListener("error", () => poll(service));
  stream.addEventListener("open", () => endPolling(service));
  streams.set(service, stream);
}

function poll(service) {
  if (polling.has(service)) return;
  const again = () => document.querySelectorAll(`[data-live="${service}"][data-live-from]`).forEach(soon);
  polling.set(service, setInterval(again, POLL_MS));
}
function endPolling(service) {
  clearInterval(polling.get(service));
  polling.delete(service);
}

function start() {
  for (const place of document.querySelectorAll("[data-live]")) listen(place.dataset.live);
}
function stop() {
  for (const stream of streams.values()) stream.close();
  for (const service of [...polling.keys()]) endPolling(service);
  streams.clear();
}

// A hidden tab listens to nothing; shown again, it reads what it has missed.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stop();
  else {
    start();
    for (const place of document.querySelectorAll("[data-live]")) soon(place);
  }
});
// A part was added to the page: it may be older than the stream.
document.addEventListener("live:look", () => {
  start();
  for (const place of document.querySelectorAll("[data-live]")) soon(place);
});
addEventListener("pagehide", stop);
if (!document.hidden) start();
