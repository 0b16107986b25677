// The numbers at the top. Each is a button that filters the list.

import { now } from "./api.js";
import { byId, el, keyed, setAttribute, setText } from "./dom.js";
import { STATUSES } from "./format.js";

/** How many of `jobs` ended today; "100+" when the part of the list that was read ends before yesterday. */
function today({ jobs, total }, field) {
  const midnight = new Date(now()).setHours(0, 0, 0, 0);
  const count = jobs.filter((job) => Date.parse(job[field]) >= midnight).length;
  return count === jobs.length && total > count ? `${count}+ today` : `${count} today`;
}

const depths = (queues) =>
  queues
    .filter(({ depth }) => depth > 0)
    .map(({ pipeline_type, depth }) => `${depth} ${pipeline_type}`)
    .join(", ");

export function showCounts({ queues, active, completed, failed, cancelled }, choose) {
  const of = (status) => active.jobs.filter((job) => job.status === status).length;
  const items = [
    { status: "PENDING", count: queues.reduce((sum, { depth }) => sum + depth, 0), note: depths(queues) },
    { status: "ADMITTED", count: of("ADMITTED"), note: "about to start", rare: true },
    { status: "RUNNING", count: of("RUNNING"), note: "" },
    { status: "PREEMPTED", count: of("PREEMPTED"), note: "will run again", rare: true },
    { status: "COMPLETED", count: completed.total, note: today(completed, "completed_at") },
    { status: "FAILED", count: failed.total, note: today(failed, "failed_at") },
    { status: "CANCELLED", count: cancelled.total, note: "", rare: true },
  ];
  const shown = items.filter(({ rare, count }) => count || !rare);
  keyed(byId("counts"), shown, ({ status }) => status, (item) => makeCount(item, choose));
}

function makeCount({ status }, choose) {
  const [mark, word] = STATUSES[status];
  const [number, note] = [el("strong"), el("span", { class: "quiet" })];
  const sign = el("span", { class: "mark", "aria-hidden": "true" }, mark);
  const title = el("span", { class: "status", "data-status": status }, sign, word);
  const button = el("button", { type: "button", onclick: () => choose(status) }, title, number, note);
  const update = (item) => {
    setText(number, item.count);
    setText(note, item.note);
    setAttribute(button, "title", `List the jobs that are ${word.toLowerCase()}`);
  };
  return { node: el("li", {}, button), update };
}
