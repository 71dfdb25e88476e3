/**
 * The demo page: who is here and through which gateway (both in the URL's hash, so that two windows can be
 * two people), and the wiring between the stream, the API and the three columns.
 *
 *   crier.js        the client library: keeps the stream open
 *   api.js          calls to the API service
 *   communities.js  left: communities and articles
 *   article.js      middle: discussions and comments, of which thread.js keeps what is known
 *   frames.js       right: the frames as they arrive
 */

import { Api } from "./api.js";
import { ArticleView } from "./article.js";
import { CommunityList } from "./communities.js";
import { Crier } from "./crier.js";
import { avatar, coalesced, el, icon, setText } from "./dom.js";
import { FramePanel } from "./frames.js";

const PEOPLE = ["alice", "bob", "carol"];
const $ = (id) => document.getElementById(id);

const frames = new FramePanel($("frame-log"), {
  median: $("latency-median"),
  slowest: $("latency-slowest"),
  count: $("frames-count"),
  chart: $("latency-chart"),
});

/** One person in this window, from choosing the name to choosing another. */
class Session {
  #api;
  #stream = null;
  #communities = [];
  #view = null;
  #unread = new Map(); // community article id → events that arrived while it was not shown
  #busy = new Set(); // community article ids whose switch is on its way
  #refreshes = 0;
  #isOver = false;
  #list = new CommunityList({
    root: $("communities"),
    onPick: ({ community, article }) => go({ community: community.id, article: article.article_slug }),
    onToggle: (place) => this.#toggle(place),
  });
  #render = coalesced(() => this.#renderNow());

  constructor(user) {
    this.user = user;
    this.#api = new Api(user);
  }

  /** Signs in, fetches, then streams from the position that the fetched lists stand for. */
  async start() {
    try {
      const { gateways, user_id: userId } = await this.#api.signIn();
      if (this.#isOver) return;
      this.gateways = gateways;
      this.userId = userId;
      showGateways(gateways);
      await this.#refresh();
      if (this.#isOver) return;
      const lastEventId = await this.#show(this.#placeInUrl());
      if (this.#isOver) return;
      this.connect(lastEventId);
      this.follow();
    } catch (problem) {
      if (!this.#isOver) notify(problem.message, "Try again", () => begin(this.user));
    }
  }

  end() {
    this.#isOver = true;
    this.#stream?.close();
    $("communities").replaceChildren();
    $("main").replaceChildren();
  }

  /** Opens the stream at the gateway that the URL names; a cursor of one gateway is good at every other. */
  connect(lastEventId = this.#stream?.lastEventId) {
    this.#stream?.close();
    this.gateway = gatewayInUrl(this.gateways);
    const handlers = {
      onState: (state) => showConnection(state, this.gateway),
      onFrame: (frame) => frames.add(frame),
      onEvent: (event) => this.#onEvent(event),
      onReset: (reset) => this.#onReset(reset),
      onSubscribed: (change) => this.#onSubscription(change, true),
      onUnsubscribed: (change) => this.#onSubscription(change, false),
      onUnauthorized: (problem) => this.#onUnauthorized(problem),
    };
    const gateway = this.gateways[this.gateway - 1];
    this.#stream = new Crier({ gateway, token: () => this.#api.token(), lastEventId, ...handlers });
    this.#stream.open();
    this.#render();
  }

  switchLine() {
    if (!this.#stream) return;
    if (this.#stream.state === "closed") this.#stream.open();
    else this.#stream.close("by you");
  }

  /** Shows the article that the URL names now. */
  async follow() {
    if (!this.#stream) return;
    if (gatewayInUrl(this.gateways) !== this.gateway) this.connect();
    const place = this.#placeInUrl();
    if (place?.article.community_article_id === this.#view?.key) return;
    await this.#show(place).catch((problem) => notify(problem.message));
    if (narrow.matches) $("main").scrollIntoView();
  }

  #placeInUrl() {
    const { community: communityId, article: slug } = parameters();
    const places = this.#communities.flatMap((community) => (community.articles ?? []).map((article) => ({ community, article })));
    const isNamed = ({ community, article }) => article.article_slug === slug && (!communityId || String(community.id) === communityId);
    return places.find(isNamed) ?? places[0] ?? null;
  }

  async #show(place) {
    this.#view = null;
    this.#render();
    if (!place) {
      $("main").replaceChildren(el("p", { class: "empty" }, "There is no article that you may read."));
      return null;
    }
    const view = new ArticleView({
      root: $("main"),
      api: this.#api,
      me: this.userId,
      place,
      onFollow: () => this.#toggle(this.#place(view.key)),
      onProblem: (problem) => notify(problem.message),
    });
    this.#view = view;
    this.#unread.delete(view.key);
    return view.load();
  }

  #place(communityArticleId) {
    for (const community of this.#communities) {
      const article = community.articles?.find(({ community_article_id: id }) => id === communityArticleId);
      if (article) return { community, article };
    }
    return null;
  }

  async #refresh() {
    const turn = ++this.#refreshes;
    const { communities } = await this.#api.list("/api/communities/", "communities");
    const details = await Promise.all(
      communities.map(async (community) => {
        const isMember = community.role !== null;
        const path = `/api/communities/${community.id}/`;
        const more = await this.#api.list(path, "articles", "community_article_id").catch((problem) => {
          if (isMember && problem.status !== 403 && problem.status !== 404) throw problem;
        });
        return { ...community, ...more };
      }),
    );
    if (turn !== this.#refreshes || this.#isOver) return;
    this.#communities = details.sort((a, b) => (a.role === null) - (b.role === null) || a.id - b.id);
    this.#render();
  }

  #refreshSoon() {
    this.#refresh().catch((problem) => notify(problem.message));
  }

  #reload() {
    this.#view?.load().catch((problem) => notify(problem.message, "Try again", () => this.#reload()));
  }

  async #toggle({ community, article }) {
    const id = article.community_article_id;
    if (this.#busy.has(id)) return;
    this.#busy.add(id);
    this.#render();
    try {
      if (article.is_subscribed) {
        await this.#api.delete(`/api/discussions/unsubscribe/${article.subscription_id}/`);
        this.#setSubscription(id, null);
      } else {
        const body = { community_article_id: id, community_id: community.id };
        this.#setSubscription(id, await this.#api.post("/api/discussions/subscribe/", body));
      }
    } catch (problem) {
      notify(problem.message);
    } finally {
      this.#busy.delete(id);
      this.#render();
      this.#refreshSoon(); // an answer that was on its way may have said what was before
    }
  }

  #setSubscription(communityArticleId, subscription) {
    const article = this.#place(communityArticleId)?.article;
    if (!article) return;
    article.is_subscribed = Boolean(subscription);
    article.subscription_id = subscription?.id ?? null;
    if (subscription && this.#view?.key === communityArticleId) this.#reload(); // what was said in the meantime
  }

  #onEvent(event) {
    if (this.#view?.shows(event.community_id, event.article_id)) {
      const sentence = this.#view.apply(event);
      if (!sentence) return;
      announce(sentence);
      countUnseen();
      return;
    }
    const community = this.#communities.find(({ id }) => id === event.community_id);
    const article = community?.articles?.find(({ article_id: id }) => id === event.article_id);
    if (!article || !event.type.startsWith("new_")) return;
    const id = article.community_article_id;
    this.#unread.set(id, (this.#unread.get(id) ?? 0) + 1);
    announce(`New in ${article.article_title}`);
    countUnseen();
    this.#render();
  }

  /** The stream can't tell what happened between: fetch everything it may concern again. */
  #onReset({ reason, communities = [] }) {
    frames.note(`reset (${reason}): fetching again`);
    this.#refreshSoon();
    const isConcerned = communities.length === 0 || communities.some((id) => this.#view?.isIn(id?.id ?? id));
    if (isConcerned) this.#reload();
  }

  /** Most often the echo of this window's own switch; else another window, or an admin, changed something. */
  #onSubscription({ community_id: communityId, article_id: articleId }, isSubscribed) {
    const community = this.#communities.find(({ id }) => id === communityId);
    const article = community?.articles?.find(({ article_id: id }) => id === articleId);
    if (article && Boolean(article.is_subscribed) === isSubscribed) return;
    if (article && this.#busy.has(article.community_article_id)) return;
    this.#refreshSoon();
    if (isSubscribed && this.#view?.shows(communityId, articleId)) this.#reload();
  }

  #onUnauthorized({ detail, status }) {
    notify(detail ?? `The gateway refused the token (${status}).`, "Sign in again", () => {
      this.#api.forget();
      this.#stream.open();
    });
  }

  #renderNow() {
    if (this.#isOver) return;
    const chosen = this.#view?.key;
    this.#list.render({ communities: this.#communities, chosen, unread: this.#unread, busy: this.#busy });
    const place = this.#place(chosen);
    if (place) this.#view.showPlace(place);
    else if (this.#view) this.#leave();
    showOthers(this.user, this.gateway, place);
  }

  /** The article shown is no longer one that this person may read. */
  #leave() {
    notify("You no longer have access to that article.");
    this.#show(this.#placeInUrl()).catch((problem) => notify(problem.message));
  }
}

// --- the URL's hash: user, gateway, community, article ---

let session = null;
const narrow = matchMedia("(max-width: 760px)");

function parameters() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function hashWith(changes) {
  const all = Object.entries({ ...parameters(), ...changes }).filter(([, value]) => value);
  return `#${new URLSearchParams(all)}`;
}

function go(changes) {
  location.hash = hashWith(changes);
}

function gatewayInUrl(gateways) {
  const number = Number(parameters().gateway);
  return Number.isInteger(number) && number >= 1 && number <= gateways.length ? number : 1;
}

function begin(user) {
  session?.end();
  session = null;
  frames.clear();
  hideNotice();
  $("user").value = user ?? "";
  $("welcome").hidden = Boolean(user);
  $("columns").hidden = !user;
  $("gateway").disabled = true;
  $("line-switch").hidden = true;
  showConnection({ state: "closed", reason: "not connected" });
  nameWindow();
  if (!user) return;
  session = new Session(user);
  session.start();
}

function onRoute() {
  const { user } = parameters();
  const person = PEOPLE.includes(user) ? user : null;
  if (person !== (session?.user ?? null)) begin(person);
  else session?.follow();
  if (session?.gateways) showGateways(session.gateways);
  nameWindow();
}

// --- the header and what is said to the reader ---

let unseen = 0;

function nameWindow() {
  const { user, gateway = 1 } = parameters();
  const name = session ? `${user} on gateway ${gateway} · Crier` : "Crier";
  document.title = unseen ? `(${unseen}) ${name}` : name;
}

function countUnseen() {
  if (document.visibilityState === "visible") return;
  unseen += 1;
  nameWindow();
}

function showGateways(gateways) {
  const options = gateways.map((url, index) => el("option", { value: index + 1 }, `Gateway ${index + 1} · ${new URL(url).port}`));
  $("gateway").replaceChildren(...options);
  $("gateway").value = String(gatewayInUrl(gateways));
  $("gateway").disabled = false;
}

function showConnection({ state, reason, wait }, gateway) {
  const isAgain = state === "connecting" && (wait !== undefined || $("connection").dataset.again === "yes");
  $("connection").dataset.state = state;
  $("connection").dataset.again = isAgain ? "yes" : "no";
  $("connection").title = reason ?? "";
  const words = { open: "Live", connecting: isAgain ? "Reconnecting…" : "Connecting…", closed: reason === "by you" ? "Offline" : "Not connected" };
  setText($("connection-text"), words[state]);
  $("line-switch").hidden = !gateway;
  setText($("line-switch"), state === "closed" ? "Go online" : "Go offline");
  if (state === "closed" && gateway) frames.note(`closed${reason ? ` ${reason}` : ""}`);
  if (wait !== undefined) frames.note(`${reason}; again in ${(wait / 1000).toFixed(1)} s`);
  else if (state === "connecting") frames.note(`connecting to gateway ${gateway}`);
}

/** Links that open this page as somebody else, on the next gateway: the quickest way to see it work. */
function showOthers(user, gateway, place) {
  const others = PEOPLE.filter((person) => person !== user);
  const link = (person) => {
    const where = { community: place?.community.id, article: place?.article.article_slug };
    const other = gateway === 1 ? 2 : 1;
    const href = hashWith({ user: person, gateway: other, ...where });
    const image = avatar(person, PEOPLE.indexOf(person) + 1);
    return el("a", { href, target: "_blank", rel: "noopener" }, image, el("span", {}, el("b", {}, person), ` on gateway ${other}`), icon("window"));
  };
  const links = others.map(link);
  if (hrefs($("others")) === hrefs({ children: links })) return;
  $("others").replaceChildren(el("h2", {}, "Open a second window as"), ...links);
}

function hrefs({ children }) {
  return [...children].map((child) => child.getAttribute("href") ?? "").join("");
}

function announce(sentence) {
  $("announcer").textContent = sentence.slice(0, 200);
}

function notify(text, action, onAction) {
  const close = el("button", { type: "button", class: "small quiet", onclick: hideNotice }, "Dismiss");
  const act = action && el("button", { type: "button", class: "small", onclick: () => (hideNotice(), onAction()) }, action);
  $("notice").replaceChildren(el("span", {}, text), ...(act ? [act] : []), close);
  $("notice").hidden = false;
}

function hideNotice() {
  $("notice").hidden = true;
}

$("user").onchange = ({ target }) => go({ user: target.value });
$("gateway").onchange = ({ target }) => go({ gateway: target.value });
$("line-switch").onclick = () => session?.switchLine();
$("frames-clear").onclick = () => frames.clear();
$("frames-drawer").onclick = ({ currentTarget: drawer }) => {
  const isOpen = $("frames").classList.toggle("open");
  drawer.setAttribute("aria-expanded", String(isOpen));
  setText(drawer, isOpen ? "Hide" : "Show");
};
$("skip").onclick = (click) => {
  click.preventDefault(); // the hash is taken
  $("main").focus();
};
document.onvisibilitychange = () => {
  if (document.visibilityState !== "visible") return;
  unseen = 0;
  nameWindow();
};
window.onhashchange = onRoute;

begin(PEOPLE.find((person) => person === parameters().user) ?? null);
