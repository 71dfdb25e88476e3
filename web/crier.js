/**
 * Crier's browser client: one ES module, no dependencies. Copy it.
 *
 *     import { Crier } from "./crier.js";
 *
 *     const crier = new Crier({
 *       gateway: "https://events.example.org",
 *       token: () => freshToken(),           // a JWT, or a function that gives one; asked before every attempt
 *       lastEventId: list.last_event_id,     // fetch, then stream from there: nothing falls between
 *       onEvent: (event) => apply(event),    // {event_id, type, community_id, article_id, timestamp, data}
 *       onReset: ({ communities }) => refetch(communities),
 *       onUnauthorized: (problem) => signIn(problem),
 *     });
 *     crier.open();
 *
 * It is built on `fetch` and not on EventSource, because EventSource can send no `Authorization` header,
 * hides the status of a refusal, and never notices a connection that has silently died.
 *
 * What it promises: it comes back after every interruption, from the last cursor it saw, after a jittered
 * wait; a stream that stays silent for 2.5 heartbeats counts as dead; 401 and 403 end it, without a loop.
 * After a resume an event may come twice: apply events by id.
 */

const CONNECT_TIMEOUT_MS = 15_000;
const HEARTBEATS_OF_SILENCE = 2.5;
const MIN_WAIT_MS = 200;
const MAX_BACKOFF_MS = 15_000;
const MAX_WAIT_MS = 3_600_000; // beyond 2^31 ms a timer fires at once
const SETTLED_MS = 10_000; // a stream that lived this long ends a series of failures

/**
 * Parses `text/event-stream` as WHATWG HTML defines it, from bytes cut anywhere.
 *
 * Calls `onBlock` for every block that ends in an empty line, also for those that are no event
 * (heartbeats, a bare `id:`): `{event, data, id, retry, comment, raw}`. What a block does not name is
 * undefined; `data` being undefined means that there is nothing to dispatch. An unfinished block at the
 * end of a stream is never reported, so its cursor does not count.
 */
export class EventStreamParser {
  #decoder = new TextDecoder();
  #onBlock;
  #tail = "";
  #afterCr = false;
  #block = {};
  #lines = [];

  constructor(onBlock) {
    this.#onBlock = onBlock;
  }

  /** @param {Uint8Array} bytes the next chunk */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return;
    if (this.#afterCr && text[0] === "\n") text = text.slice(1); // the other half of a CRLF
    this.#afterCr = false;
    if (text === "") return;
    this.#afterCr = text.endsWith("\r");
    const lines = (this.#tail + text).split(/\r\n|\r|\n/);
    this.#tail = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") return this.#end();
    this.#lines.push(line);
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value[0] === " ") value = value.slice(1);
    const block = this.#block;
    if (field === "") block.comment = value;
    else if (field === "event") block.event = value;
    else if (field === "data") block.data = block.data === undefined ? value : `${block.data}\n${value}`;
    else if (field === "id" && !value.includes("\0")) block.id = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) block.retry = Number(value);
  }

  #end() {
    if (this.#lines.length === 0) return;
    const block = { ...this.#block, raw: this.#lines.join("\n") };
    this.#block = {};
    this.#lines = [];
    this.#onBlock(block);
  }
}

/**
 * One stream that is kept open until `close()`.
 *
 * Options: `gateway` (its URL), `token` (string, or function giving a string or a promise of one),
 * `lastEventId`, `fetch` (another implementation), and handlers, all optional:
 *
 * | handler | called with |
 * |---|---|
 * | `onEvent` | `(event, frame)` for every event of a discussion or comment |
 * | `onReset` | `{reason, communities}`: history does not reach back, fetch these again; the stream goes on |
 * | `onReady` | `{connection_id, heartbeat_seconds, communities}`, first on every connection |
 * | `onSubscribed`, `onUnsubscribed` | `{community_id, article_id?}`, in order with the events |
 * | `onUnauthorized` | `{status, title, detail}`: the token was refused, nothing is tried again |
 * | `onState` | `{state, reason?, wait?}`, state being `connecting`, `open` or `closed`, wait in ms |
 * | `onFrame` | every block as it came: the parser's fields, `json` (parsed data), `receivedAt`, `openedAt` (both in ms since 1970) |
 */
export class Crier {
  /** `connecting`, `open` or `closed`. */
  state = "closed";
  /** The cursor of the last complete block; keep it to resume elsewhere, even at another gateway. */
  lastEventId;
  #options;
  #run = null; // the AbortController of the time between open() and close()
  #retryMs = 2 * MIN_WAIT_MS; // the server's `retry:`, over which the first wait is spread

  constructor(options) {
    this.#options = options;
    this.lastEventId = options.lastEventId ?? "";
  }

  /** Starts streaming; does nothing if it already does. */
  open() {
    if (this.#run) return;
    this.#run = new AbortController();
    this.#keepOpen(this.#run.signal);
  }

  /** Ends the stream; no handler is called after it but `onState`. `open()` resumes where it stopped. */
  close(reason) {
    if (!this.#run) return;
    this.#run.abort();
    this.#run = null;
    this.#become("closed", { reason });
  }

  async #keepOpen(run) {
    for (let failures = 1; ; failures += 1) {
      this.#become("connecting");
      const began = Date.now();
      const end = await this.#stream(run);
      if (run.aborted) return;
      if (end.refused) {
        this.close(end.reason);
        this.#call("onUnauthorized", end.refused);
        return;
      }
      if (Date.now() - began > SETTLED_MS) failures = 1;
      const wait = this.#waitBefore(failures, end.wait ?? 0);
      this.#become("connecting", { reason: end.reason, wait });
      await sleep(wait, run);
      if (run.aborted) return;
    }
  }

  /** What the server asked for, plus full jitter over a window that doubles with each failure. */
  #waitBefore(failures, asked) {
    const window = Math.min(MAX_BACKOFF_MS, Math.max(this.#retryMs, 2 * MIN_WAIT_MS) * 2 ** (failures - 1));
    return Math.min(MAX_WAIT_MS, asked + MIN_WAIT_MS + Math.random() * (window - MIN_WAIT_MS));
  }

  /** One connection from request to end. Never throws: says why it ended, and how long to wait at least. */
  async #stream(run) {
    const attempt = new AbortController();
    const abort = () => attempt.abort();
    run.addEventListener("abort", abort);
    let end = null;
    let watchdog;
    const allowSilence = (ms, reason) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => {
        end ??= { reason };
        attempt.abort();
      }, ms);
    };
    try {
      const { token } = this.#options;
      const bearer = typeof token === "function" ? await token() : token;
      if (run.aborted) return {};
      allowSilence(CONNECT_TIMEOUT_MS, "no answer");
      const openedAt = Date.now();
      const response = await this.#request(bearer, attempt.signal);
      if (response.status === 401 || response.status === 403) {
        const problem = await response.json().catch(() => ({}));
        return { reason: "refused", refused: { ...problem, status: response.status } };
      }
      if (!response.ok || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
        const seconds = Number(response.headers.get("retry-after")) || 0;
        return { reason: `status ${response.status}`, wait: seconds * 1000 };
      }
      let silenceMs = 25_000 * HEARTBEATS_OF_SILENCE;
      const parser = new EventStreamParser((block) => {
        if (run.aborted || end) return;
        const frame = this.#receive(block, openedAt);
        if (block.event === "ready") silenceMs = (frame.json?.heartbeat_seconds || 25) * 1000 * HEARTBEATS_OF_SILENCE;
        if (block.event === "bye") end = { reason: frame.json?.reason ?? "bye", wait: block.retry ?? Math.random() * 2000 };
      });
      for (const reader = response.body.getReader(); !end; ) {
        allowSilence(silenceMs, "silence");
        const { done, value } = await reader.read();
        if (done) break;
        parser.push(value);
      }
      return end ?? { reason: "connection ended" };
    } catch (error) {
      return end ?? { reason: error.message };
    } finally {
      clearTimeout(watchdog);
      run.removeEventListener("abort", abort);
      attempt.abort();
    }
  }

  #request(bearer, signal) {
    const cursor = this.lastEventId ? `?last_event_id=${encodeURIComponent(this.lastEventId)}` : "";
    const ask = this.#options.fetch ?? globalThis.fetch;
    return ask(`${this.#options.gateway.replace(/\/+$/, "")}/events${cursor}`, {
      headers: { Accept: "text/event-stream", Authorization: `Bearer ${bearer}` },
      cache: "no-store",
      credentials: "omit",
      signal,
    });
  }

  #receive(block, openedAt) {
    const frame = { ...block, receivedAt: Date.now(), openedAt, json: parseJson(block.data) };
    if (block.id !== undefined) this.lastEventId = block.id;
    if (block.retry !== undefined && block.event !== "bye") this.#retryMs = block.retry;
    if (block.event === "ready") this.#become("open");
    this.#call("onFrame", frame);
    if (frame.json === undefined) return frame;
    if (!block.event || block.event === "message") this.#call("onEvent", frame.json, frame);
    else if (block.event === "ready") this.#call("onReady", frame.json);
    else if (block.event === "reset") this.#call("onReset", frame.json);
    else if (block.event === "subscribed") this.#call("onSubscribed", frame.json);
    else if (block.event === "unsubscribed") this.#call("onUnsubscribed", frame.json);
    return frame;
  }

  #become(state, detail = {}) {
    this.state = state;
    this.#call("onState", { state, ...detail });
  }

  /** A handler's mistake is reported, and is not the stream's end. */
  #call(handler, ...values) {
    try {
      this.#options[handler]?.(...values);
    } catch (error) {
      console.error(`crier: ${handler} failed`, error);
    }
  }
}

function parseJson(data) {
  if (data === undefined) return undefined;
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

/** Waits, but no longer than until the stream is closed or the machine is back on the network. */
function sleep(ms, signal) {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", wake);
      globalThis.removeEventListener?.("online", wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    signal.addEventListener("abort", wake);
    globalThis.addEventListener?.("online", wake);
  });
}
