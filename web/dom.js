/** The few lines of DOM work that every part of the page needs. Text is always inserted as text. */

const SVG = "http://www.w3.org/2000/svg";
const FRESH_MS = 4000;
const PAUSE_MS = 40;

/**
 * Makes an element. `onclick` and the like take functions, booleans set or omit an attribute, children are
 * nodes or text; null, undefined and false are left out.
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node[name] = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

/** A drawing from the sprite in index.html; what it means is said in words beside it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** The first letter of a name, in that person's colour. */
export function avatar(name, id) {
  return el("span", { class: `avatar tone-${id % 6}`, "aria-hidden": "true" }, (name ?? "?").slice(0, 1).toUpperCase());
}

export function time(iso) {
  const at = new Date(iso);
  const isToday = at.toDateString() === new Date().toDateString();
  const text = isToday
    ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : at.toLocaleDateString([], { day: "numeric", month: "short" });
  return el("time", { datetime: iso, title: at.toLocaleString() }, text);
}

/**
 * Makes `parent`'s children show `items`, in order. A child that stays is updated in place and never moved
 * without need, so that what is being typed in it, the focus and the selection survive.
 */
export function sync(parent, items, { key, create, update }) {
  const keys = new Set(items.map((item) => String(key(item))));
  const nodes = new Map();
  for (const node of [...parent.children]) {
    if (keys.has(node.dataset.key)) nodes.set(node.dataset.key, node);
    else node.remove();
  }
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let node = nodes.get(name);
    if (!node) {
      node = create(item);
      node.dataset.key = name;
    }
    update?.(node, item);
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}

/** Sets an element's text, if it is another one. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Marks a node as new for a moment; how that looks, and for whom it moves, is the style sheet's matter. */
export function highlight(node) {
  node.classList.add("fresh");
  setTimeout(() => node.classList.remove("fresh"), FRESH_MS);
}

/**
 * Gathers calls: runs `work` after everything that is happening now, and after a run leaves a pause, so that a
 * burst costs a few runs. Not by animation frame: hidden windows have none.
 */
export function coalesced(work) {
  let isDue = false;
  let lastRun = -PAUSE_MS;
  const run = () => {
    isDue = false;
    work();
    lastRun = performance.now();
  };
  return () => {
    if (isDue) return;
    isDue = true;
    const pause = lastRun + PAUSE_MS - performance.now();
    if (pause > 0) setTimeout(run, pause);
    else queueMicrotask(run);
  };
}
