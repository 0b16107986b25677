// One job.

import { Refused, Unreachable, get, post } from "./api.js";
import { confirmed } from "./confirm.js";
import { byId, el, setText, show } from "./dom.js";
import { badge, cancellable, duration, ended, moment, retryable, spans } from "./format.js";
import { progressBar, saidBy } from "./progress.js";
import { pagesShown, readTables, resetTables, showTables, watchTables } from "./tables.js";

const CALM = 5; // refreshes for which a job that has ended is still read whole: its last lines may come late

let shown = ""; // id
let last = { at: "", times: 0 };
let changed;
const status = badge();
const bar = progressBar("Progress of the job");
const fields = new Map();
const times = Object.fromEntries(["created_at", "started_at", "ended"].map((name) => [name, moment()]));
const cancel = el("button", { type: "button", onclick: () => act("cancel") }, "Cancel the job");
const retry = el("button", { type: "button", onclick: () => act("retry") }, "Retry the job");

export function watchDetail(refresh) {
  changed = refresh;
  watchTables(refresh);
  byId("job-actions").append(status.node, cancel, retry);
  byId("job-progress").append(bar.node);
}

export async function refreshDetail(id, signal) {
  if (id !== shown) reset(id);
  let job;
  try {
    job = await get(`/batch/jobs/${encodeURIComponent(id)}`, { signal });
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error;
    return missing(id);
  }
  const at = `${job.updated_at} ${pagesShown()}`;
  last = last.at === at && ended(job) ? { at, times: last.times + 1 } : { at, times: 0 };
  const [said, tables] = await Promise.all([saidBy(job, signal), last.times > CALM ? [] : readTables(signal)]);
  showJob(job, said);
  showTables(tables);
  show(byId("job-missing"), false);
  show(byId("job-body"), true);
}

function reset(id) {
  shown = id;
  last = { at: "", times: 0 };
  resetTables(id);
  show(byId("job-body"), false);
  show(byId("job-missing"), false);
  setText(byId("job-refused"), "");
}

function missing(id) {
  setText(byId("job-missing"), `There is no job ${id} here. It may have been deleted, or belong to another key.`);
  show(byId("job-missing"), true);
  show(byId("job-body"), false);
}

function showJob(job, said) {
  const span = spans(job);
  setText(byId("job-name"), job.name);
  document.title = `${job.name}: ${job.status.toLowerCase()} · Batch service`;
  status.update(job.status);
  show(cancel, cancellable(job));
  show(retry, retryable(job));
  bar.update(job, said);
  times.created_at.update(job.created_at);
  times.started_at.update(job.started_at);
  times.ended.update(job.completed_at ?? job.failed_at ?? job.cancelled_at);
  const place = job.queue_position === null ? null : `${job.queue_position} of ${job.queue_depth}`;
  field("Place in the queue", place);
  field("Pipeline", `${job.pipeline_key} ${job.pipeline_version} (${job.pipeline_type})`);
  field("Created", times.created_at.node);
  field("Started", job.started_at ? times.started_at.node : null);
  field("Ended", ended(job) ? times.ended.node : null);
  field("Waited", duration(span.waited));
  field("Ran", span.ran === null ? null : duration(span.ran));
  field("Retried", job.retry_count ? `${job.retry_count}×` : null);
  field("Preempted", job.preemption_count ? `${job.preemption_count}×` : null);
  field("Job id", job.id);
  setText(byId("job-parameters"), JSON.stringify(job.parameters, null, 2));
  showError(job.error);
}

/** One line of the fields; null takes it out of sight. */
function field(name, value) {
  if (!fields.has(name)) {
    const node = el("div", {}, el("dt", {}, name), el("dd"));
    fields.set(name, node);
    byId("job-fields").append(node);
  }
  const node = fields.get(name);
  show(node, value !== null);
  if (value instanceof Node) {
    if (!node.lastChild.contains(value)) node.lastChild.replaceChildren(value);
  } else setText(node.lastChild, value);
}

function showError(error) {
  const box = byId("job-error");
  show(box, Boolean(error));
  const text = JSON.stringify(error);
  if (!error || box.dataset.shown === text) return;
  box.dataset.shown = text; // built anew only when it is another one
  const { code, message, suggestion, details, ...rest } = error;
  const more = { ...(details ?? {}), ...rest };
  box.replaceChildren(
    box.firstElementChild,
    el("p", { class: "message" }, message ?? "The job says no more about it."),
    ...(suggestion ? [el("p", {}, el("strong", {}, "What to do: "), suggestion)] : []),
    ...(code ? [el("p", { class: "quiet" }, "Code ", el("code", {}, code))] : []),
    ...(Object.keys(more).length ? [el("pre", { tabindex: 0, "aria-label": "Details" }, JSON.stringify(more, null, 2))] : []),
  );
}

async function act(verb) {
  const [id, name] = [shown, byId("job-name").textContent];
  const question = {
    cancel: ["Cancel this job?", `${name} stops at once. What it has put out so far stays.`, "Yes, cancel the job"],
    retry: ["Run this job again?", `${name} goes to the end of the queue. What it has put out is removed.`, "Yes, run it again"],
  }[verb];
  if (!(await confirmed(...question))) return;
  setText(byId("job-refused"), "");
  try {
    await post(`/batch/jobs/${encodeURIComponent(id)}/${verb}`);
    setText(byId("said"), verb === "cancel" ? `${name} is cancelled` : `${name} waits to run again`);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) return changed();
    const text = error instanceof Refused ? error.message : "The service cannot be reached; nothing is known to have changed.";
    setText(byId("job-refused"), text);
  }
  await changed();
  if (document.activeElement === document.body) byId("job-name").focus({ preventScroll: true }); // its button is gone
}
