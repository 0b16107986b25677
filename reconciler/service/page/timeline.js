// When the newest jobs waited and ran, one below the other on one axis.

import { WINDOWS, lengthText, range, ticks } from "./axis.js";
import { byId, el, keyed, setAttribute, setText, show } from "./dom.js";
import { STATUSES, badge, duration, plural, spans } from "./format.js";
import { jobLink } from "./running.js";

let shown = [];
let axis = { start: 0, end: 1 };

/** Prepares the controls. */
export function watchTimeline() {
  const choice = byId("window");
  choice.append(...WINDOWS.map(([value, text]) => el("option", { value }, text)));
  choice.addEventListener("change", () => showTimeline(shown));
  addEventListener("resize", () => showTimeline(shown));
  byId("legend").append(
    legend("wait", "waiting", "PENDING"),
    ...["RUNNING", "COMPLETED", "FAILED", "CANCELLED", "PREEMPTED"].map((status) =>
      legend("run", STATUSES[status][1].toLowerCase(), status, STATUSES[status][0]),
    ),
  );
}

function legend(kind, text, status, mark = "") {
  const sign = el("span", { class: `bar ${kind}`, "data-status": status, "aria-hidden": "true" });
  return el("span", {}, sign, mark ? `${mark} ${text}` : text);
}

export function showTimeline(jobs) {
  shown = jobs;
  axis = range(jobs, byId("window").value);
  const visible = jobs.filter((job) => spans(job).end >= axis.start);
  const early = jobs.length - visible.length;
  keyed(byId("timeline"), visible, (job) => job.id, makeLane);
  const marks = ticks(axis, byId("axis").clientWidth < 420 ? 3 : 7);
  keyed(byId("axis"), marks, ([at, text]) => `${at} ${text}`, makeTick);
  const parts = jobs.length ? [lengthText(axis)] : ["No jobs yet."];
  if (early) parts.push(`${plural(early, "earlier job")} to the left of it`);
  setText(byId("timeline-note"), parts.join(" · "));
  show(byId("legend"), jobs.length > 0);
  show(byId("axis").parentElement, jobs.length > 0);
}

const place = (at) => `${(100 * Math.min(1, Math.max(0, (at - axis.start) / (axis.end - axis.start)))).toFixed(3)}%`;

function makeTick([at, text]) {
  const node = el("span", { class: "tick" }, text);
  return { node, update: () => node.style.setProperty("left", place(at)) };
}

function makeLane(job) {
  const status = badge();
  const [wait, run] = [el("span", { class: "bar wait" }), el("span", { class: "bar run" })];
  const end = el("span", { class: "end" });
  const track = el("div", { class: "track", "aria-hidden": "true" }, wait, run, end);
  const text = el("span", { class: "times quiet number" });
  const link = jobLink(job);
  link.title = job.name; // it may be cut off
  const name = el("span", { class: "who" }, link, status.node);
  const node = el("li", { class: "lane" }, name, track, text);
  const update = (current) => {
    const span = spans(current);
    status.update(current.status);
    setAttribute(node, "data-status", current.status);
    stretch(wait, span.created, span.started ?? span.end);
    stretch(run, span.started ?? span.end, span.end);
    show(run, span.started !== null);
    setText(end, STATUSES[current.status]?.[0] ?? "?");
    end.style.setProperty("left", place(span.end));
    const ran = span.ran === null ? "" : ` · ran ${duration(span.ran)}`;
    setText(text, `waited ${duration(span.waited)}${ran}`);
  };
  return { node, update };
}

function stretch(bar, from, to) {
  bar.style.setProperty("left", place(from));
  bar.style.setProperty("right", `calc(100% - ${place(to)})`);
}
