/** The panel on the right: every frame as it came over the wire, and how long events took. */

import { coalesced, el, setText } from "./dom.js";

const KEPT = 200;
const SAMPLES = 50;
const CHART_HEIGHT = 28;

export class FramePanel {
  #list;
  #summary; // {median, slowest, count, chart}
  #pending = []; // rows not yet shown, oldest first
  #latencies = []; // ms, of the last events, oldest first
  #total = 0;
  #render = coalesced(() => this.#renderNow());

  constructor(list, summary) {
    this.#list = list;
    this.#summary = summary;
  }

  /** A frame as the client reports it. */
  add(frame) {
    const sentAt = Date.parse(frame.json?.timestamp);
    // What is older than the connection was caught up with; its age says nothing about the way it took.
    const isReplayed = sentAt < frame.openedAt;
    const latency = Number.isNaN(sentAt) || isReplayed ? null : frame.receivedAt - sentAt;
    if (latency !== null) this.#latencies = [...this.#latencies.slice(1 - SAMPLES), latency];
    this.#total += 1;
    this.#show(() => frameRow(frame, latency, isReplayed));
  }

  /** Something that happened to the connection, in words. */
  note(text) {
    const now = Date.now();
    this.#show(() => el("li", { class: "note", "data-testid": "frame-note" }, el("span", {}, text), clock(now)));
  }

  clear() {
    this.#pending = [];
    this.#latencies = [];
    this.#total = 0;
    this.#list.replaceChildren();
    this.#renderNow();
  }

  #show(makeRow) {
    this.#pending.push(makeRow);
    if (this.#pending.length > KEPT) this.#pending.shift();
    this.#render();
  }

  #renderNow() {
    const rows = this.#pending.map((makeRow) => makeRow()).reverse();
    this.#pending = [];
    this.#list.prepend(...rows);
    while (this.#list.children.length > KEPT) this.#list.lastElementChild.remove();
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    setText(this.#summary.median, sorted.length ? `${median(sorted)} ms` : "–");
    setText(this.#summary.slowest, sorted.length ? `${sorted.at(-1)} ms` : "–");
    setText(this.#summary.count, String(this.#total));
    this.#summary.chart.setAttribute("d", bars(this.#latencies));
  }
}

function frameRow(frame, latency, isReplayed) {
  const kind = kindOf(frame);
  const timing = isReplayed ? "replayed" : latency === null ? "" : `${latency} ms`;
  return el(
    "li",
    {
      class: `frame is-${kind}`,
      "data-testid": "frame",
      "data-event": kind,
      "data-event-type": kind === "event" ? frame.json?.type : null,
      "data-latency-ms": latency,
    },
    el(
      "details",
      {},
      el(
        "summary",
        {},
        el("span", { class: "name" }, kind === "event" ? (frame.json?.type ?? "event") : kind),
        el("span", { class: "latency" }, timing),
        clock(frame.receivedAt),
        el("code", { class: "peek", "aria-hidden": "true" }, frame.data ?? frame.raw),
      ),
      el("pre", {}, ...frame.raw.split("\n").flatMap(rawLine)),
    ),
  );
}

/** `event` for unnamed ones, else the frame's name; blocks that are no event are `heartbeat` or `position`. */
function kindOf({ event, data, id }) {
  if (data !== undefined) return event || "event";
  return id === undefined ? "heartbeat" : "position";
}

function rawLine(line) {
  const colon = line.indexOf(":");
  if (colon <= 0) return [line, "\n"];
  return [el("b", {}, line.slice(0, colon + 1)), line.slice(colon + 1), "\n"];
}

function clock(ms) {
  const at = new Date(ms);
  const pad = (number, width = 2) => String(number).padStart(width, "0");
  return el(
    "time",
    { datetime: at.toISOString() },
    `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}.${pad(at.getMilliseconds(), 3)}`,
  );
}

function median(sorted) {
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : Math.round((sorted[middle - 1] + sorted[middle]) / 2);
}

/** One upright stroke for each sample, the newest at the right. */
function bars(latencies) {
  const top = Math.max(10, ...latencies);
  const first = SAMPLES - latencies.length;
  return latencies
    .map((ms, index) => {
      const height = Math.max(1.5, (Math.max(0, ms) / top) * CHART_HEIGHT);
      return `M${(first + index) * 4 + 2} ${CHART_HEIGHT}v${-height.toFixed(1)}`;
    })
    .join("");
}
