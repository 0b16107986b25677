// The only way to the service: its documented API, with the key of this tab.

const BASE = new URL("v0.5", document.baseURI).href;
const LIMIT = 15_000; // milliseconds after which an answer is not waited for any more
const STORED = "reconciler.key";

export class Unauthorized extends Error {}
export class Unreachable extends Error {}
export class Refused extends Error {
  constructor(status, message, suggestion) {
    super(message);
    this.status = status;
    this.suggestion = suggestion;
  }
}

let key = stored();
let skew = 0;

function stored() {
  try {
    return sessionStorage.getItem(STORED) ?? "";
  } catch {
    return ""; // storage is switched off: the key lives as long as the page
  }
}

export const hasKey = () => key !== "";

/** Keeps the key for this tab; "" forgets it. */
export function keepKey(value) {
  key = value;
  try {
    if (value) sessionStorage.setItem(STORED, value);
    else sessionStorage.removeItem(STORED);
  } catch {
    // see stored()
  }
}

/** The time by the clock of the service: waiting and running times must not depend on the viewer's clock. */
export const now = () => Date.now() + skew;

/** Throws `Unauthorized` unless the service takes `candidate`, which is kept from then on. */
export async function tryKey(candidate) {
  if (!/^[\x21-\x7e]+$/.test(candidate)) throw new Unauthorized(); // no header can carry it
  await answerOf("GET", "/batch/jobs/queue", { as: candidate });
  keepKey(candidate);
}

export async function get(path, { query = {}, signal } = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== "" && one !== null) words.append(name, one);
  }
  const answer = await answerOf("GET", words.size ? `${path}?${words}` : path, { signal });
  return body(answer, "json", signal);
}

export async function post(path) {
  return body(await answerOf("POST", path), "json");
}

/** What is behind a `ref` of the API. It is relative and needs the key, so a plain link would not do. */
export async function content(ref) {
  if (!ref.startsWith("/")) throw new Refused(0, "this file is on another host, which this page does not talk to");
  return body(await answerOf("GET", ref, { patient: true }), "blob");
}

async function answerOf(method, path, { as = key, signal, patient = false } = {}) {
  const signals = [signal, patient ? null : AbortSignal.timeout(LIMIT)].filter(Boolean);
  const headers = as ? { Authorization: `Bearer ${as}` } : {};
  let answer;
  try {
    answer = await fetch(BASE + path, {
      method,
      headers,
      signal: AbortSignal.any(signals),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    throw lost(error, signal);
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  // The header has whole seconds; less than two are no difference.
  if (date) skew = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
  if (answer.status === 401) throw new Unauthorized();
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

async function body(answer, kind, signal) {
  try {
    return await answer[kind]();
  } catch (error) {
    throw lost(error, signal);
  }
}

function lost(error, signal) {
  return signal?.aborted ? error : new Unreachable();
}

async function refusal(answer) {
  const text = await answer.text().catch(() => "");
  try {
    const [first] = JSON.parse(text).errors;
    return new Refused(answer.status, first.message, first.suggestion);
  } catch {
    return new Refused(answer.status, `the service answered ${answer.status}`);
  }
}
