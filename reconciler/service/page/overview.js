// All jobs at once: what is asked for, and which part of the page gets it.

import { get } from "./api.js";
import { showCounts } from "./counts.js";
import { byId, setText } from "./dom.js";
import { ACTIVE, STATUSES, ended, plural } from "./format.js";
import { showJobs, wantedJobs, watchList } from "./list.js";
import { saidBy } from "./progress.js";
import { showQueue, showRunning } from "./running.js";
import { showTimeline, watchTimeline } from "./timeline.js";

const RECENT = 40; // jobs on the timeline
const QUEUE = 25; // places of the queue that are shown
const WATCHED = 10; // running jobs whose workers are asked
const STALE = 15; // refreshes after which totals are read again in any case

let list;
let waiting = 0; // how long the queue was last time: jobs come newest first, and its head is at the end
let totals = { at: "", age: 0, values: null };
let before = new Map();

export function watchOverview(changed) {
  list = watchList(changed);
  watchTimeline();
}

export async function refreshOverview(signal) {
  const jobs = (query) => get("/batch/jobs", { query, signal });
  const [{ queues }, active, pending, recent, listed] = await Promise.all([
    get("/batch/jobs/queue", { signal }),
    jobs({ status: ACTIVE, limit: 100 }),
    jobs({ status: "PENDING", limit: QUEUE, offset: Math.max(0, waiting - QUEUE) }),
    jobs({ limit: RECENT }),
    jobs(wantedJobs()),
  ]);
  waiting = pending.total;
  const asked = active.jobs.slice(0, WATCHED);
  const said = new Map(await Promise.all(asked.map(async (job) => [job.id, await saidBy(job, signal)])));
  const counted = await endedTotals(jobs, active, recent);
  showCounts({ queues, active, ...counted }, list.choose);
  showRunning(active, said);
  showQueue(pending);
  showTimeline(recent.jobs);
  showJobs(listed);
  tell(recent.jobs);
  const title = active.total || waiting ? `${active.total} running, ${waiting} waiting · Batch service` : "Batch service";
  if (document.title !== title) document.title = title;
}

/** The totals of jobs that have ended. They are read only when one may have ended: those lists are long. */
async function endedTotals(jobs, active, recent) {
  const at = [active.jobs.map((job) => job.id), waiting, recent.total, recent.jobs.map((job) => job.updated_at)].join();
  totals.age += 1;
  if (totals.at !== at || totals.age > STALE) {
    const [completed, failed, cancelled] = await Promise.all([
      jobs({ status: "COMPLETED", limit: 100 }),
      jobs({ status: "FAILED", limit: 100 }),
      jobs({ status: "CANCELLED", limit: 1 }),
    ]);
    totals = { at, age: 0, values: { completed, failed, cancelled } };
  }
  return totals.values;
}

/** Says which jobs have ended since the last look, to those who cannot see it. */
function tell(jobs) {
  const news = jobs.filter((job) => ended(job) && before.has(job.id) && before.get(job.id) !== job.status);
  before = new Map(jobs.map((job) => [job.id, job.status]));
  if (!news.length) return;
  const word = (status) => STATUSES[status][1].toLowerCase();
  const counts = ["COMPLETED", "FAILED", "CANCELLED"]
    .map((status) => [news.filter((job) => job.status === status).length, status])
    .filter(([count]) => count)
    .map(([count, status]) => `${plural(count, "job")} ${word(status)}`);
  setText(byId("said"), news.length === 1 ? `${news[0].name}: ${word(news[0].status)}` : counts.join(", "));
}
