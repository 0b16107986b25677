// The list of jobs, with its filter.

import { byId, el, keyed, setText, show } from "./dom.js";
import { STATUSES, badge, duration, moment, spans } from "./format.js";
import { inputsText } from "./progress.js";
import { pager } from "./pager.js";
import { jobLink } from "./running.js";

const PAUSE = 250; // milliseconds after a key stroke before the service is asked
let pages;

/** `changed()` is called when another part of the jobs is wanted. */
export function watchList(changed) {
  const [q, status] = [byId("filter-q"), byId("filter-status")];
  status.append(el("option", { value: "" }, "Any"));
  status.append(...Object.entries(STATUSES).map(([value, [, word]]) => el("option", { value }, word)));
  pages = pager(byId("jobs-pager"), 20, changed);
  const anew = () => {
    pages.reset();
    changed();
  };
  let timer;
  q.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(anew, PAUSE);
  });
  status.addEventListener("change", anew);
  byId("filter").addEventListener("submit", (event) => event.preventDefault());
  byId("filter-clear").addEventListener("click", () => {
    q.value = status.value = "";
    q.focus();
    anew();
  });
  setText(byId("how"), `export ATAI_API_KEY="$(cat .reconciler/service/api-key)"
reconciler --endpoint ${location.origin} --state .reconciler/serve.json apply --wait`);
  return {
    choose(wanted) {
      q.value = "";
      status.value = wanted;
      anew();
      byId("jobs-title").scrollIntoView({ block: "start" });
      status.focus({ preventScroll: true });
    },
  };
}

/** What to ask for. */
export const wantedJobs = () => ({
  q: byId("filter-q").value.trim(),
  status: byId("filter-status").value,
  offset: pages.offset,
  limit: pages.limit,
});

export function showJobs({ jobs, total }) {
  const { q, status } = wantedJobs();
  const filtered = Boolean(q || status);
  pages.show(total, jobs.length);
  show(byId("jobs-none"), total === 0 && filtered);
  show(byId("jobs-empty"), total === 0 && !filtered);
  show(byId("jobs-table"), jobs.length > 0);
  keyed(byId("jobs"), jobs, (job) => job.id, makeRow);
}

function makeRow(job) {
  const [status, created] = [badge(), moment()];
  const [waited, ran, inputs] = ["Waited", "Ran", "Inputs"].map(() => el("td", { class: "wide number" }));
  const again = el("span", { class: "quiet" });
  const node = el(
    "tr",
    {},
    el("th", { scope: "row" }, jobLink(job), " ", again),
    el("td", {}, status.node),
    el("td", { class: "wide pipeline" }, `${job.pipeline_key} `, el("span", { class: "quiet" }, job.pipeline_version)),
    el("td", {}, created.node),
    waited,
    ran,
    inputs,
  );
  const update = (current) => {
    const span = spans(current);
    status.update(current.status);
    created.update(current.created_at);
    setText(again, current.retry_count ? `retried ${current.retry_count}×` : "");
    setText(waited, duration(span.waited));
    setText(ran, duration(span.ran));
    setText(inputs, inputsText(current).replace(/ inputs?/, "").replace("no to count", "–"));
  };
  return { node, update };
}
