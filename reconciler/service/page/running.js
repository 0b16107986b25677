// What runs, and what waits.

import { byId, el, keyed, setAttribute, setText, show } from "./dom.js";
import { badge, duration, plural, spans } from "./format.js";
import { progressBar } from "./progress.js";

export const jobLink = (job) => el("a", { href: `#${new URLSearchParams({ job: job.id })}` }, job.name);
const pipeline = (job) => el("span", { class: "quiet" }, `${job.pipeline_key} ${job.pipeline_version}`);
const NOTES = { PREEMPTED: "stopped by the service, will run again", ADMITTED: "about to start" };

/** `said` maps a job's id to what its workers said. */
export function showRunning({ jobs, total }, said) {
  show(byId("running-empty"), jobs.length === 0);
  show(byId("running-more"), total > jobs.length);
  setText(byId("running-more"), `and ${total - jobs.length} more`);
  const entries = jobs.map((job) => ({ job, said: said.get(job.id) }));
  keyed(byId("running"), entries, (entry) => entry.job.id, makeRunning);
}

function makeRunning({ job }) {
  const [status, bar] = [badge(), progressBar(`Progress of ${job.name}`)];
  const time = el("span", { class: "number" });
  const node = el(
    "li",
    {},
    el("div", { class: "line" }, jobLink(job), status.node),
    bar.node,
    el("div", { class: "line" }, pipeline(job), time),
  );
  const update = ({ job: current, said }) => {
    status.update(current.status);
    bar.update(current, said);
    setText(time, NOTES[current.status] ?? duration(spans(current).ran));
  };
  return { node, update };
}

export function showQueue({ jobs, total }) {
  const inOrder = [...jobs].sort((a, b) => a.queue_position - b.queue_position);
  show(byId("queue-empty"), inOrder.length === 0);
  show(byId("queue-more"), total > inOrder.length);
  setText(byId("queue-more"), `${plural(total - inOrder.length, "job")} more in the queue`);
  keyed(byId("queue"), inOrder, (job) => job.id, makeWaiting);
}

function makeWaiting(job) {
  const position = el("span", { class: "position number" });
  const time = el("span", { class: "number" });
  const node = el(
    "li",
    {},
    el("div", { class: "line" }, position, jobLink(job), time),
    el("div", { class: "line" }, pipeline(job)),
  );
  const update = (current) => {
    setText(position, current.queue_position ?? "–");
    setAttribute(position, "title", `Place ${current.queue_position} of ${current.queue_depth}`);
    setText(time, `waits ${duration(spans(current).waited)}`);
  };
  return { node, update };
}
