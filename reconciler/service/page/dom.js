// Building and updating the page. Text is only ever set as text: nothing that a job says becomes markup.

export const byId = (id) => document.getElementById(id);

/** An element; attributes that are null or false are left out, `onclick` and the like are listeners. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else setAttribute(node, name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Changes nothing when there is nothing to change, so that a selection stays. */
export function setText(node, text) {
  const wanted = String(text ?? "");
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : value);
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

const rowsOf = new WeakMap();

/**
 * Makes the children of `parent` those of `items`, in place: `make(item)` gives `{node, update(item)}` for a new one,
 * and who is there already is updated. Focus stays where it is, or goes to the section's heading with its row.
 */
export function keyed(parent, items, keyOf, make) {
  const rows = rowsOf.get(parent) ?? new Map();
  rowsOf.set(parent, rows);
  const wanted = new Map(items.map((item) => [String(keyOf(item)), item]));
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  for (const [key, row] of rows) {
    if (wanted.has(key)) continue;
    row.node.remove();
    rows.delete(key);
  }
  let place = parent.firstElementChild;
  for (const [key, item] of wanted) {
    if (!rows.has(key)) rows.set(key, make(item));
    const row = rows.get(key);
    row.update(item);
    if (row.node === place) place = place.nextElementSibling;
    else parent.insertBefore(row.node, place);
  }
  if (focused && document.activeElement !== focused) {
    const heading = parent.closest("section")?.querySelector("h2, h3");
    (focused.isConnected ? focused : heading)?.focus({ preventScroll: true });
  }
}

/** For rows whose content never changes. */
export const fixed = (node) => ({ node, update() {} });
