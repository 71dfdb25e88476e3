/** The left of the page: communities, their articles, and a switch to follow each. */

import { el, icon, setText, sync } from "./dom.js";

const keyed = (key, create) => ({ key, create, update: (node, item) => node.show(item) });

export class CommunityList {
  #root;
  #onPick;
  #onToggle;
  #state;

  /** Both handlers are called with `{community, article}`. */
  constructor({ root, onPick, onToggle }) {
    this.#root = root;
    this.#onPick = onPick;
    this.#onToggle = onToggle;
  }

  /** `chosen`: id of the community article shown; `unread`: the same ids → how many events; `busy`: those being switched. */
  render(state) {
    this.#state = state;
    sync(this.#root, state.communities, keyed(({ id }) => id, (community) => this.#community(community)));
  }

  #community({ id }) {
    const name = el("h2", { id: `community-${id}` });
    const about = el("p", { class: "about" });
    const lock = icon("lock");
    const list = el("ul", { "aria-labelledby": name.id });
    const empty = el("p", { class: "empty" });
    const node = el(
      "section",
      { class: "community", "data-testid": "community", "data-community-id": id, "aria-labelledby": name.id },
      el("header", {}, name, lock, about),
      list,
      empty,
    );
    node.show = (community) => {
      const articles = community.articles ?? [];
      setText(name, community.name);
      lock.toggleAttribute("hidden", community.type === "public");
      setText(about, aboutOf(community));
      setText(empty, community.role === null ? "Its members see the articles." : "No articles yet.");
      empty.hidden = articles.length > 0;
      sync(
        list,
        articles.map((article) => ({ community, article })),
        keyed(({ article }) => article.community_article_id, (place) => this.#article(place)),
      );
    };
    return node;
  }

  #article({ article: { article_slug: slug } }) {
    const unread = el("span", { class: "unread", hidden: true });
    const title = el("span", {});
    const status = el("span", { class: "chip" });
    const pick = el("button", { type: "button", class: "pick", "data-testid": "article-link" }, title, " ", status, " ", unread);
    const follow = el("button", { type: "button", role: "switch", class: "switch", "data-testid": "subscribe-toggle" }, el("i", { "aria-hidden": "true" }));
    const node = el("li", { class: "article", "data-testid": "article", "data-article-slug": slug }, pick, follow);
    node.show = ({ community, article }) => {
      const id = article.community_article_id;
      const count = this.#state.unread.get(id) ?? 0;
      const isChosen = this.#state.chosen === id;
      pick.onclick = () => this.#onPick({ community, article });
      if (isChosen) pick.setAttribute("aria-current", "page");
      else pick.removeAttribute("aria-current");
      setText(title, article.article_title);
      setText(status, article.status);
      status.hidden = article.status === "published";
      setText(unread, count ? `${count} new` : "");
      unread.hidden = !count;
      follow.hidden = community.type === "public" || community.role === null;
      follow.setAttribute("aria-checked", String(Boolean(article.is_subscribed)));
      follow.setAttribute("aria-label", `Follow ${article.article_title}`);
      follow.title = article.is_subscribed ? "You follow this article" : "You don’t follow this article";
      follow.toggleAttribute("aria-busy", this.#state.busy.has(id));
      follow.onclick = () => this.#onToggle({ community, article });
    };
    return node;
  }
}

function aboutOf({ type, role, member_count: members }) {
  const count = members === 1 ? "1 member" : `${members ?? "?"} members`;
  return `${type} · ${count} · ${role ? `you: ${role}` : "not a member"}`;
}
