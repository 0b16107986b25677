// "Newer" and "Older" below a list.

import { el, setText } from "./dom.js";

/** Fills `nav`; `changed()` is called when another part of the list is wanted. */
export function pager(nav, limit, changed) {
  const newer = el("button", { type: "button", onclick: () => turn(-limit) }, "Newer");
  const older = el("button", { type: "button", onclick: () => turn(limit) }, "Older");
  const where = el("span", { class: "quiet" });
  nav.append(newer, older, where);
  const part = {
    limit,
    offset: 0,
    reset() {
      part.offset = 0;
    },
    /** Says where in `total` rows this is. The last part may have gone meanwhile. */
    show(total, count) {
      nav.hidden = total <= limit && part.offset === 0;
      // Disabled would throw the focus away when the end is reached.
      newer.setAttribute("aria-disabled", part.offset === 0);
      older.setAttribute("aria-disabled", part.offset + limit >= total);
      setText(where, count ? `${part.offset + 1}–${part.offset + count} of ${total}` : `none of ${total} left here`);
    },
  };
  function turn(by) {
    const button = by < 0 ? newer : older;
    if (button.getAttribute("aria-disabled") === "true") return;
    part.offset = Math.max(0, part.offset + by);
    changed();
  }
  return part;
}
