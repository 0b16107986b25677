// How far a job is: ended inputs, and what the workers last said about those in work.

import { Refused, get } from "./api.js";
import { el, setAttribute, setText } from "./dom.js";
import { plural } from "./format.js";

/** What the workers of the job said last, as `{message, percents}`; null when that is not known. */
export async function saidBy(job, signal) {
  if (job.status !== "RUNNING") return null;
  try {
    const query = { limit: 50 };
    const { entries } = await get(`/batch/jobs/${encodeURIComponent(job.id)}/progress`, { query, signal });
    const percents = new Map();
    for (const entry of entries) {
      const percent = entry.metrics?.percent_complete;
      if (typeof percent === "number" && entry.input_id && !percents.has(entry.input_id)) {
        percents.set(entry.input_id, Math.min(100, Math.max(0, percent)));
      }
    }
    return { message: entries[0]?.message ?? null, percents };
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error;
    return null; // it has been deleted a moment ago
  }
}

/** The share that is done, 0 to 1; null when it cannot be told. */
export function share(job, said) {
  const { pending = 0, processing = 0, completed = 0, failed = 0 } = job.input_progress ?? {};
  const total = pending + processing + completed + failed;
  if (!total) return null;
  // Inputs that have ended said 100 last; of the others only those in work have said anything.
  const open = [...(said?.percents.values() ?? [])].filter((percent) => percent < 100).slice(0, processing);
  const partly = open.reduce((sum, percent) => sum + percent / 100, 0);
  return (completed + failed + partly) / total;
}

export function inputsText(job) {
  const { pending = 0, processing = 0, completed = 0, failed = 0 } = job.input_progress ?? {};
  const total = pending + processing + completed + failed;
  if (!total) return "no inputs to count";
  const text = `${completed + failed} of ${plural(total, "input")}`;
  return failed ? `${text}, ${failed} failed` : text;
}

/** A bar with its text. */
export function progressBar(label) {
  const bar = el("progress", { max: 1, "aria-label": label });
  const text = el("span", { class: "quiet" });
  const node = el("div", { class: "progress" }, bar, text);
  return {
    node,
    update(job, said) {
      const done = share(job, said);
      const percent = done === null ? "" : `${Math.floor(done * 100)} % · `;
      setAttribute(node, "data-status", job.status);
      // Without a value the bar says "under way", which only what runs is.
      setAttribute(bar, "value", done ?? (job.status === "RUNNING" ? null : Number(job.status === "COMPLETED")));
      setText(text, [`${percent}${inputsText(job)}`, said?.message].filter(Boolean).join(" · "));
    },
  };
}
