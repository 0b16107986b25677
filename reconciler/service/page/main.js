// Which view is shown, and the loop that keeps it fresh.

import { Refused, Unauthorized, Unreachable, hasKey } from "./api.js";
import { refreshDetail, watchDetail } from "./detail.js";
import { byId, setAttribute, setText, show } from "./dom.js";
import { clock } from "./format.js";
import { askForKey, takeKeyFromAddress, watchKey } from "./key.js";
import { refreshOverview, watchOverview } from "./overview.js";

const POLL = Number(document.querySelector("meta[name=poll-milliseconds]").content);
let running = new AbortController();
let timer;
let seen = null; // when the service last answered
let left = null; // where one was in the overview: {focused, scroll}

const jobInAddress = () => new URLSearchParams(location.hash.slice(1)).get("job");

/** Looks at once, and then every `POLL` milliseconds. A look that is under way is given up: it asks for what was. */
async function refresh() {
  clearTimeout(timer);
  running.abort();
  const mine = (running = new AbortController());
  const job = jobInAddress();
  try {
    if (!document.hidden) {
      await (job === null ? refreshOverview(mine.signal) : refreshDetail(job, mine.signal));
      if (mine.signal.aborted) return;
      reached(job);
    }
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error instanceof Unauthorized) return locked();
    if (!(error instanceof Unreachable || error instanceof Refused)) console.error(error);
    troubled(error);
  }
  timer = setTimeout(refresh, POLL);
}

function reached(job) {
  seen = Date.now();
  connection("ok", "");
  show(byId("ask"), false);
  show(byId("forget"), hasKey());
  show(byId("overview"), job === null);
  show(byId("detail"), job !== null);
}

function locked() {
  show(byId("overview"), false);
  show(byId("detail"), false);
  connection("ok", "");
  askForKey();
}

function troubled(error) {
  const since = seen === null ? "" : ` What is shown is of ${clock(seen)}.`;
  if (error instanceof Unreachable) return connection("lost", `The service cannot be reached. Trying again…${since}`);
  if (error instanceof Refused) return connection("lost", `${error.message}. Trying again…${since}`);
  return connection("lost", `This page has a fault: ${error.message}.${since}`);
}

function connection(state, text) {
  setAttribute(document.body, "data-connection", state);
  setText(byId("connection"), text);
}

/** Another view: where one was in the overview is found again on the way back. */
async function turned() {
  const job = jobInAddress();
  if (job !== null && !byId("overview").hidden) left = { focused: document.activeElement, scroll: scrollY };
  await refresh();
  if (jobInAddress() !== job) return;
  if (job !== null) {
    scrollTo(0, 0);
    byId(byId("job-missing").hidden ? "job-name" : "back").focus({ preventScroll: true });
  } else if (left) {
    scrollTo(0, left.scroll);
    (left.focused.isConnected ? left.focused : byId("main")).focus({ preventScroll: true });
    left = null;
  }
}

history.scrollRestoration = "manual";
takeKeyFromAddress();
watchKey(refresh);
watchOverview(refresh);
watchDetail(refresh);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part of the address after # says which view it is
  byId("main").focus();
});
addEventListener("hashchange", turned);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();
