// A job's inputs, outputs and events.

import { Refused, content, get } from "./api.js";
import { byId, el, fixed, keyed, setText, show } from "./dom.js";
import { bytes, inputBadge, levelBadge, moment } from "./format.js";
import { pager } from "./pager.js";

const MAKERS = { inputs: makeInput, outputs: makeOutput, events: makeEvent };
const pages = {};
let jobId = "";

/** `changed()` is called when another part of a table is wanted. */
export function watchTables(changed) {
  for (const noun of Object.keys(MAKERS)) pages[noun] = pager(byId(`${noun}-pager`), 50, changed);
}

/** Another job is looked at now. */
export function resetTables(id) {
  jobId = id;
  for (const [noun, page] of Object.entries(pages)) {
    page.reset();
    keyed(byId(noun), [], String, fixed);
  }
}

const pathOf = (noun) => `/batch/jobs/${encodeURIComponent(jobId)}/${noun}`;
const query = (noun) => ({ offset: pages[noun].offset, limit: pages[noun].limit });

/** Where in the tables one is, to notice that it changed. */
export const pagesShown = () => Object.values(pages).map((page) => page.offset).join();

export async function readTables(signal) {
  const nouns = Object.keys(MAKERS);
  return Promise.all(nouns.map(async (noun) => [noun, await get(pathOf(noun), { query: query(noun), signal })]));
}

export function showTables(tables) {
  for (const [noun, answer] of tables) {
    const rows = answer[noun];
    pages[noun].show(answer.total, rows.length);
    show(byId(`${noun}-empty`), answer.total === 0);
    show(byId(`${noun}-table`), rows.length > 0);
    const title = noun[0].toUpperCase() + noun.slice(1);
    setText(byId(`${noun}-title`), answer.total ? `${title} (${answer.total})` : title);
    keyed(byId(noun), rows, (row) => row.id, MAKERS[noun]);
  }
}

function makeInput(input) {
  const [status, completed] = [inputBadge(), moment()];
  const fault = el("p", { class: "fault" });
  const label = input.data.metadata?.class;
  const node = el(
    "tr",
    {},
    el("th", { scope: "row" }, input.data.filename, label ? el("span", { class: "quiet" }, ` class ${label}`) : null, fault),
    el("td", {}, status.node),
    el("td", { class: "wide port" }, input.port_name),
    el("td", { class: "wide number" }, bytes(input.data.num_bytes)),
    el("td", { class: "wide" }, completed.node),
  );
  const update = (current) => {
    status.update(current.status);
    completed.update(current.completed_at);
    setText(fault, current.error_message);
    show(fault, Boolean(current.error_message));
  };
  return { node, update };
}

function makeOutput(output) {
  const { filename, num_bytes } = output.data;
  const fault = el("p", { class: "fault", role: "alert" });
  const button = el("button", { type: "button", "aria-label": `Download ${filename}` }, "Download");
  button.addEventListener("click", () => download(output, button, fault));
  return fixed(
    el(
      "tr",
      {},
      el("th", { scope: "row" }, filename, fault),
      el("td", { class: "wide port" }, output.port_name),
      el("td", { class: "wide" }, output.input_file_id ?? "–"),
      el("td", { class: "number" }, bytes(num_bytes)),
      el("td", { class: "number" }, button),
    ),
  );
}

async function download(output, button, fault) {
  setText(fault, "");
  setText(button, "Loading…");
  try {
    // Links last an hour, and the row may be older.
    const { outputs } = await get(pathOf("outputs"), { query: query("outputs") });
    const fresh = outputs.find(({ id }) => id === output.id) ?? output;
    save(await content(fresh.data.ref), output.data.filename);
  } catch (error) {
    setText(fault, error instanceof Refused ? error.message : "The service cannot be reached.");
  } finally {
    setText(button, "Download");
  }
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // some browsers read it only after the click
}

function makeEvent(event) {
  const time = moment();
  time.update(event.created_at);
  const more = Object.keys(event.payload ?? {}).length
    ? el("details", {}, el("summary", {}, "Payload"), el("pre", {}, JSON.stringify(event.payload, null, 2)))
    : null;
  return fixed(
    el(
      "tr",
      {},
      el("td", {}, time.node),
      el("td", {}, levelBadge(event.level)),
      el("td", { class: "wide type" }, event.event_type),
      el("td", { class: "message" }, event.message ?? event.event_type, more),
    ),
  );
}
