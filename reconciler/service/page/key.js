// Asking for the key, and forgetting it.

import { Unauthorized, hasKey, keepKey, tryKey } from "./api.js";
import { byId, setText, show } from "./dom.js";

const WRONG = "The service does not accept this key.";
const GONE = "The service cannot be reached. Try again in a moment.";

/** `entered()` is called once a key has been accepted. */
export function watchKey(entered) {
  const [form, field, fault] = [byId("ask-form"), byId("ask-key"), byId("ask-fault")];
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setText(fault, "");
    try {
      await tryKey(field.value.trim());
    } catch (error) {
      setText(fault, error instanceof Unauthorized ? WRONG : GONE);
      field.select();
      return;
    }
    field.value = "";
    entered();
  });
  byId("forget").addEventListener("click", () => {
    keepKey("");
    location.reload(); // so that nothing of the jobs is left in the page
  });
}

/** Shows the form; a key that was there is no longer good. */
export function askForKey() {
  if (hasKey()) setText(byId("ask-fault"), WRONG);
  keepKey("");
  show(byId("forget"), false);
  if (!byId("ask").hidden) return;
  show(byId("ask"), true);
  byId("ask-key").focus();
}

/** Takes `#key=…` out of the address, so that it is in no history and in no link that is passed on. */
export function takeKeyFromAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  const key = words.get("key");
  if (key === null) return;
  words.delete("key");
  keepKey(key.trim());
  history.replaceState(null, "", words.size ? `#${words}` : location.pathname + location.search);
}
