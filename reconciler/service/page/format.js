// Values of the API as people read them.

import { now } from "./api.js";
import { el, setAttribute, setText } from "./dom.js";

// The mark says the status without colour; U+FE0E keeps phones from making a picture of it.
export const STATUSES = {
  PENDING: ["○", "Waiting"],
  ADMITTED: ["◐", "Admitted"],
  RUNNING: ["▶\uFE0E", "Running"],
  COMPLETED: ["✓", "Completed"],
  FAILED: ["✕", "Failed"],
  PREEMPTED: ["‖", "Preempted"],
  CANCELLED: ["–", "Cancelled"],
};
export const ACTIVE = ["ADMITTED", "RUNNING", "PREEMPTED"];
const INPUTS = { pending: "PENDING", processing: "RUNNING", completed: "COMPLETED", failed: "FAILED" };
const LEVELS = { INFO: ["i", ""], SUCCESS: ["✓", "COMPLETED"], WARN: ["!", "PREEMPTED"], ERROR: ["✕", "FAILED"] };

export const ended = (job) => ["COMPLETED", "FAILED", "CANCELLED"].includes(job.status);
export const cancellable = (job) => job.status === "PENDING" || ACTIVE.includes(job.status);
export const retryable = (job) => job.status === "FAILED" || job.status === "CANCELLED";

function marked() {
  const mark = el("span", { class: "mark", "aria-hidden": "true" });
  const word = el("span");
  const node = el("span", { class: "status" }, mark, word);
  return {
    node,
    set(status, sign, text) {
      setAttribute(node, "data-status", status);
      setText(mark, sign);
      setText(word, text);
    },
  };
}

/** A job's status: mark, word and colour. */
export function badge() {
  const part = marked();
  return { node: part.node, update: (status) => part.set(status, ...(STATUSES[status] ?? ["?", status])) };
}

export function inputBadge() {
  const part = marked();
  return {
    node: part.node,
    update: (status) => part.set(INPUTS[status] ?? "", STATUSES[INPUTS[status]]?.[0] ?? "·", status),
  };
}

export function levelBadge(level) {
  const part = marked();
  const [sign, status] = LEVELS[level === "FAILED" ? "ERROR" : level] ?? ["·", ""];
  part.set(status, sign, level);
  return part.node;
}

/** A moment in the viewer's zone, with the UTC stamp as its title. */
export function moment() {
  const node = el("time");
  return {
    node,
    update(stamp) {
      setText(node, stamp ? clock(Date.parse(stamp)) : "–");
      setAttribute(node, "datetime", stamp);
      setAttribute(node, "title", stamp ? `${stamp.slice(0, 19).replace("T", " ")} UTC` : null);
    },
  };
}

// The day as the viewer writes it; hours from 0 to 23, as on the axis of the timeline, since columns are narrow.
const HOUR = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const TIME = new Intl.DateTimeFormat(undefined, { ...HOUR, second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { ...HOUR, day: "numeric", month: "short" });

export function clock(at) {
  const today = new Date(now()).toDateString() === new Date(at).toDateString();
  return (today ? TIME : DAY).format(at);
}

export function duration(milliseconds) {
  if (milliseconds === null) return "–";
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 0.05) return "0 s";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${whole % 60} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} m`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const power = Math.min(4, Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** power;
  return `${value.toFixed(value < 99.95 ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** When the job waited and ran. What is still going on ends now. */
export function spans(job) {
  const created = Date.parse(job.created_at);
  const stamp = { PREEMPTED: job.updated_at }[job.status] ?? job.completed_at ?? job.failed_at ?? job.cancelled_at;
  const end = stamp ? Date.parse(stamp) : now();
  const started = job.started_at && job.status !== "PENDING" ? Date.parse(job.started_at) : null;
  return {
    created,
    started,
    end,
    waited: Math.max(0, (started ?? end) - created),
    ran: started === null ? null : Math.max(0, end - started),
  };
}
