/** Calls to the API service, as one person: sign in, keep a valid token, turn problems into errors. */

const TIMEOUT_MS = 15_000;
const RENEW_BEFORE_MS = 30_000;
const PAGE = 200; // entries, the most that the API gives at once

/** An answer that was not 2xx, or none at all; `message` is what the server says to the reader. */
export class Problem extends Error {
  constructor({ title, detail, status = 0, request_id: requestId }) {
    super(detail || title || `The API answered ${status}.`);
    this.status = status;
    this.requestId = requestId;
  }
}

/**
 * The token lives in this object alone, never in a cookie: two windows of one browser are two people.
 */
export class Api {
  #user;
  #login = null; // the promise of a login's answer, so that calls at the same time share one

  /** @param {string} user a name the demo login knows */
  constructor(user) {
    this.#user = user;
  }

  /** Who this is and where the gateways are: `{user_id, username, gateways}`. */
  async signIn() {
    this.#login ??= this.#signIn();
    try {
      return await this.#login;
    } catch (error) {
      this.#login = null;
      throw error;
    }
  }

  /** A token that is good for a while yet. */
  async token() {
    const login = await this.signIn();
    if (Date.now() < login.renewAt) return login.token;
    this.forget();
    return (await this.signIn()).token;
  }

  /** Makes the next call sign in anew. */
  forget() {
    this.#login = null;
  }

  get(path) {
    return this.#call("GET", path);
  }

  /**
   * A list, page after page. The rest of the answer is the first page's: its `last_event_id` is the
   * earliest, and what happened while the other pages came is sent from there. `key` names an entry's id.
   */
  async list(path, name, key = "id") {
    const url = new URL(path, location.href);
    url.searchParams.set("limit", PAGE);
    const answer = await this.get(url);
    for (let page = answer[name]; page.length === PAGE; ) {
      url.searchParams.set("after", page.at(-1)[key]);
      page = (await this.get(url))[name];
      answer[name].push(...page);
    }
    return answer;
  }

  post(path, body) {
    return this.#call("POST", path, body);
  }

  put(path, body) {
    return this.#call("PUT", path, body);
  }

  delete(path) {
    return this.#call("DELETE", path);
  }

  async #call(method, path, body) {
    const token = await this.token();
    try {
      return await request(method, path, body, token);
    } catch (error) {
      if (error.status !== 401) throw error;
      this.forget();
      return request(method, path, body, await this.token());
    }
  }

  async #signIn() {
    const login = await request("POST", "/demo/login", { user: this.#user });
    const lifeMs = login.expires_in * 1000;
    return {
      ...login,
      renewAt: Date.now() + lifeMs - Math.min(RENEW_BEFORE_MS, lifeMs / 2),
      gateways: login.gateways.map(asSeenFromHere),
    };
  }
}

async function request(method, path, body, token) {
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new Problem({ title: "The API service does not answer. Is it running?" });
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Problem({ ...answer, status: response.status });
  return answer;
}

/** A gateway on this machine, under the name by which the page itself was reached. */
function asSeenFromHere(gateway) {
  const url = new URL(gateway);
  if (["127.0.0.1", "localhost", "[::1]"].includes(url.hostname)) url.hostname = location.hostname;
  return url.origin;
}
