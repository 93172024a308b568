// Changes a tree of elements into another one, touching only what differs: what has the focus, what is open, what is
// scrolled and what is selected stays so.

// What belongs to the reader, not to the page.
const OWN = new Set(["open"]);

function key(node) {
  if (node.nodeType !== 1) return null;
  if (node.id) return "#" + node.id;
  // Rows of tables are those of what their heading links to.
  if (node.tagName === "TR") return node.querySelector("th a")?.getAttribute("href") ?? null;
  return null;
}

function alike(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);
}

function attributes(from, to) {
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !OWN.has(name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (!OWN.has(name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
}

function change(from, to) {
  if (from.nodeType !== 1) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  // What a script fills, and what is being written, is left alone.
  if (from.hasAttribute("data-keep")) return;
  if (from === document.activeElement && /^(INPUT|SELECT|TEXTAREA)$/.test(from.tagName)) return;
  attributes(from, to);
  children(from, to);
}

function children(from, to) {
  const keyed = new Map();
  for (const child of from.childNodes) {
    const name = key(child);
    if (name && !keyed.has(name)) keyed.set(name, child);
  }
  let at = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const name = key(wanted);
    const known = name ? keyed.get(name) : null;
    if (known && known !== at && known.nodeName === wanted.nodeName) from.insertBefore(known, at);
    const found = known ?? (at && alike(at, wanted) ? at : null);
    if (found && found.nodeName === wanted.nodeName) {
      if (found === at) at = at.nextSibling;
      keyed.delete(name);
      change(found, wanted);
    } else {
      from.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

export function morph(from, to) {
  children(from, to);
}
