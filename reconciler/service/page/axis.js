// The part of time that the timeline shows.

import { now } from "./api.js";
import { clock, duration, ended, spans } from "./format.js";

const MINUTE = 60_000;
export const WINDOWS = [
  ["auto", "Fitting", null],
  ["2m", "2 minutes", 2 * MINUTE],
  ["15m", "15 minutes", 15 * MINUTE],
  ["1h", "1 hour", 60 * MINUTE],
  ["6h", "6 hours", 360 * MINUTE],
  ["1d", "1 day", 1440 * MINUTE],
  ["7d", "7 days", 10_080 * MINUTE],
  ["all", "Everything", Infinity],
];
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400].map(
  (seconds) => seconds * 1000,
);

/** Where the axis of `jobs` begins and ends; `choice` is one of WINDOWS. */
export function range(jobs, choice) {
  const all = jobs.map(spans);
  // While nothing goes on the picture stands still, and does not shrink into its left corner.
  const end = jobs.every(ended) && all.length ? Math.max(...all.map((span) => span.end)) : now();
  const first = Math.min(...all.map((span) => span.created), end - 1000);
  let length = WINDOWS.find(([name]) => name === choice)[2];
  if (choice === "auto") {
    // One straggler of last week must not make slivers of all the others: four of five jobs have to fit.
    const ages = all.map((span) => end - span.created).sort((a, b) => a - b);
    length = ages[Math.ceil(ages.length * 0.8) - 1] ?? 1000;
  }
  return { start: Math.max(first, end - Math.max(length, 1000)), end };
}

/** At most about `count` marks at round times of the viewer's zone, as `[time, text]`. */
export function ticks({ start, end }, count) {
  const step = STEPS.find((each) => (end - start) / each <= count) ?? 86_400_000 * Math.ceil((end - start) / 86_400_000 / count);
  const zone = new Date(end).getTimezoneOffset() * MINUTE;
  const marks = [];
  for (let at = Math.ceil((start - zone) / step) * step + zone; at <= end; at += step) marks.push([at, tickText(at, step)]);
  return marks;
}

function tickText(at, step) {
  if (step >= 86_400_000) return new Date(at).toLocaleDateString(undefined, { day: "numeric", month: "short" });
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (step < MINUTE) options.second = "2-digit";
  return new Date(at).toLocaleTimeString(undefined, options);
}

export const lengthText = ({ start, end }) => `${clock(start)} to ${clock(end)}, ${duration(end - start)}`;
