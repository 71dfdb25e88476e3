// `node --test web/crier.test.mjs`: the client against streams cut at every place, and the thread's rules. No packages.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Crier, EventStreamParser } from "./crier.js";
import { Thread } from "./thread.js";

const bytes = (text) => new TextEncoder().encode(text);

function parse(...chunks) {
  const blocks = [];
  const parser = new EventStreamParser((block) => blocks.push(block));
  chunks.forEach((chunk) => parser.push(chunk));
  return blocks;
}

const STREAM = "\uFEFFid: c1\nevent: ready\nretry: 1500\ndata: {\"a\":\ndata: \"ü€😀\"}\n\n: hb\n\nid: c2\n\n\n\ndata\n\ndata:x\nid: c3\n\nevent: cut";

for (const [name, newline] of Object.entries({ LF: "\n", CRLF: "\r\n", CR: "\r" })) {
  test(`a stream with ${name} gives the same blocks wherever it is cut`, () => {
    const all = bytes(STREAM.replaceAll("\n", newline));
    const whole = parse(all);
    assert.deepEqual(
      whole.map(({ raw, ...block }) => block),
      [
        { id: "c1", event: "ready", retry: 1500, data: '{"a":\n"ü€😀"}' },
        { comment: "hb" },
        { id: "c2" },
        { data: "" },
        { data: "x", id: "c3" },
      ],
    );
    assert.equal(whole[1].raw, ": hb");
    for (let cut = 0; cut <= all.length; cut += 1) {
      assert.deepEqual(parse(all.slice(0, cut), all.slice(cut)), whole, `cut at ${cut}`);
    }
    assert.deepEqual(parse(...Array.from(all, (byte) => Uint8Array.of(byte))), whole, "byte by byte");
  });
}

test("fields that the standard ignores are ignored", () => {
  const [block] = parse(bytes("id: a\0b\nretry: 1s\nretry: \nnonsense: 1\nDATA: no\ndata:  two spaces\n\n"));
  assert.deepEqual({ ...block, raw: "" }, { data: " two spaces", raw: "" });
  assert.equal(parse(bytes("id\ndata: x\n\n"))[0].id, "", "an id without a value is an empty one");
});

/** A gateway made of answers: each is a list of chunks, then `hold` or the end; or a status. */
function gateway(...answers) {
  const requests = [];
  const fetch = async (url, { headers, signal }) => {
    requests.push({ url: new URL(url), authorization: headers.Authorization });
    const answer = answers[Math.min(requests.length, answers.length) - 1];
    if (answer.fails) throw new TypeError("network error");
    if (answer.status) return Response.json({ detail: "no" }, { status: answer.status, headers: answer.headers });
    const body = new ReadableStream({
      start(controller) {
        signal.addEventListener("abort", () => controller.error(new DOMException("aborted", "AbortError")));
        answer.chunks.forEach((chunk) => controller.enqueue(bytes(chunk)));
        if (!answer.hold) controller.close();
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };
  return { fetch, requests };
}

const READY = 'id: c1\nevent: ready\ndata: {"connection_id":"x","heartbeat_seconds":10,"communities":[1]}\n\n';

/** Lets everything happen that needs no time. */
async function settle() {
  for (let turn = 0; turn < 30; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function open(t, answers, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { fetch, requests } = gateway(...answers);
  const calls = [];
  const record = (name) => (value) => calls.push([name, value]);
  const crier = new Crier({
    gateway: "http://gateway.test/",
    token: "t",
    fetch,
    onEvent: record("event"),
    onReset: record("reset"),
    onSubscribed: record("subscribed"),
    onUnauthorized: record("unauthorized"),
    onState: record("state"),
    ...options,
  });
  crier.open();
  t.after(() => crier.close());
  const waits = () => calls.filter(([name, value]) => name === "state" && value.wait !== undefined).map(([, { wait }]) => wait);
  return { crier, requests, calls, waits };
}

test("frames go to their handlers, and the cursor moves with a bare id as well", async (t) => {
  const frames = 'event: subscribed\ndata: {"community_id":1}\n\nid: c2\ndata: {"type":"new_comment"}\n\nevent: future\ndata: {}\n\nid: c3\n\n';
  const { crier, calls, requests } = open(t, [{ chunks: [READY, frames], hold: true }], { lastEventId: "c 0" });
  await settle();
  assert.equal(requests[0].url.href, "http://gateway.test/events?last_event_id=c%200");
  assert.equal(requests[0].authorization, "Bearer t");
  assert.equal(crier.state, "open");
  assert.equal(crier.lastEventId, "c3");
  assert.deepEqual(
    calls.filter(([name]) => name !== "state"),
    [
      ["subscribed", { community_id: 1 }],
      ["event", { type: "new_comment" }],
    ],
  );
});

test("a broken connection is taken up again from the last whole block", async (t) => {
  const { requests, waits } = open(t, [{ chunks: [READY, "id: c2\n\n", "id: c9\ndata: {"] }, { chunks: [READY], hold: true }]);
  await settle();
  assert.equal(requests.length, 1);
  t.mock.timers.tick(waits()[0]);
  await settle();
  assert.equal(requests[1].url.searchParams.get("last_event_id"), "c2");
});

test("waits are between 0.2 and 15 s, and grow", async (t) => {
  t.mock.method(Math, "random", () => 1);
  const { requests, waits } = open(t, [{ fails: true }]);
  for (let attempt = 1; attempt <= 10; attempt += 1) {
    await settle();
    assert.equal(requests.length, attempt);
    t.mock.timers.tick(waits().at(-1));
  }
  assert.deepEqual(waits(), [400, 800, 1600, 3200, 6400, 12800, 15000, 15000, 15000, 15000]);
});

test("a bye's retry is waited for, and so is Retry-After", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const bye = 'event: bye\nretry: 3000\ndata: {"reason":"drain"}\n\n';
  const { waits } = open(t, [{ chunks: [READY, bye], hold: true }, { status: 503, headers: { "retry-after": "7" } }, { chunks: [], hold: true }]);
  await settle();
  t.mock.timers.tick(waits()[0]);
  await settle();
  assert.deepEqual(waits(), [3200, 7200]);
});

for (const status of [401, 403]) {
  test(`${status} ends it without a loop`, async (t) => {
    const { crier, requests, calls } = open(t, [{ status }]);
    await settle();
    t.mock.timers.tick(3_600_000);
    await settle();
    assert.equal(requests.length, 1);
    assert.equal(crier.state, "closed");
    assert.deepEqual(calls.at(-1), ["unauthorized", { detail: "no", status }]);
  });
}

test("two and a half heartbeats of silence are the end of a connection", async (t) => {
  const { calls, requests, waits } = open(t, [{ chunks: [READY], hold: true }]);
  await settle();
  t.mock.timers.tick(24_999);
  await settle();
  assert.deepEqual(waits(), []);
  t.mock.timers.tick(1);
  await settle();
  assert.equal(calls.at(-1)[1].reason, "silence");
  t.mock.timers.tick(waits()[0]);
  await settle();
  assert.equal(requests.length, 2);
});

test("after close nothing is called and nothing is asked; open goes on from the cursor", async (t) => {
  const { crier, requests, calls } = open(t, [{ chunks: [READY], hold: true }]);
  await settle();
  crier.close();
  const before = calls.length;
  t.mock.timers.tick(3_600_000);
  await settle();
  assert.equal(calls.length, before);
  crier.open();
  await settle();
  assert.equal(requests[1].url.searchParams.get("last_event_id"), "c1");
});

test("a handler's exception does not end the stream", async (t) => {
  const report = t.mock.method(console, "error", () => {});
  const onEvent = () => {
    throw new Error("mine");
  };
  const { crier } = open(t, [{ chunks: [READY, 'data: {"type":"x"}\n\n'], hold: true }], { onEvent });
  await settle();
  assert.equal(crier.state, "open");
  assert.equal(report.mock.callCount(), 1);
});

const comment = (id, parent = null, more = {}) => ({ id, discussion_id: 1, parent_id: parent, content: `c${id}`, updated_at: "2026-01-01T00:00:00.000Z", ...more });
const shape = (nodes) => nodes.map(({ comment: { id }, level, replies }) => [id, level, ...shape(replies)]);

test("comments make one tree, in whatever order and however often they come", () => {
  const thread = new Thread();
  for (const each of [comment(4, 2), comment(2), comment(9, 4), comment(3), comment(4, 2)]) thread.putComment(each);
  assert.deepEqual(shape(thread.tree(1)), [
    [2, 1, [4, 2, [9, 3]]],
    [3, 1],
  ]);
});

test("an older version never replaces a newer one, and what was deleted stays so", () => {
  const thread = new Thread();
  const event = (type, item) => thread.apply({ type, data: { comment: item } });
  event("new_comment", comment(1, null, { content: "new", updated_at: "2026-01-01T00:00:01.000Z" }));
  event("new_comment", comment(1, null, { content: "old" }));
  assert.equal(thread.tree(1)[0].comment.content, "new");
  event("new_comment", comment(2, 1));
  event("deleted_comment", comment(1));
  thread.putComment(comment(1));
  assert.deepEqual(shape(thread.tree(1)), [[1, 1, [2, 2]]], "it keeps its place while it has answers");
  assert.ok(thread.tree(1)[0].comment.is_deleted);
  event("deleted_comment", comment(2));
  assert.deepEqual(thread.tree(1), []);
  thread.putComment(comment(5, null, { is_deleted: true, content: "" }));
  assert.deepEqual(thread.tree(1), [], "a place that a list names, without answers");
  thread.putComment(comment(6, 5));
  assert.deepEqual(shape(thread.tree(1)), [[5, 1, [6, 2]]]);
  assert.equal(thread.apply({ type: "paper_retracted", data: {} }), null);
});
