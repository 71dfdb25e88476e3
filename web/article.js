/** The middle of the page: one article's discussions, their comments, and the forms to write. */

import { avatar, coalesced, el, highlight, icon, setText, sync, time } from "./dom.js";
import { Thread } from "./thread.js";

const OPEN_AT_FIRST = 10; // discussions whose comments are fetched with the list
const MAX_LEVEL = 3;
const SURE_MS = 4000; // how long a question waits for the second click

const keyed = (key, create) => ({ key, create, update: (node, item) => node.show(item) });

export class ArticleView {
  #root;
  #api;
  #me; // id of the reader
  #place; // {community, article}
  #shownPlace = "";
  #onFollow;
  #onProblem;
  #thread = null; // what is shown
  #loading = null; // what is being fetched; events go to both, so that nothing falls between
  #folds = new Map(); // discussion id → whether its comments show; absent: folded, though not by the reader
  #replyTo = null; // id of the comment being answered
  #editing = null; // key of what is being changed
  #unfolding = new Set(); // ids of the discussions whose comments are on their way
  #fresh = new Set(); // keys of what the next rendering shows as new
  #head = el("div", { class: "article-head" });
  #list = el("ol", { class: "discussions", "aria-label": "Discussions, newest first" });
  #empty = el("p", { class: "empty", hidden: true }, "Nobody has said anything here yet. Begin.");
  #render = coalesced(() => this.#renderNow());

  constructor({ root, api, me, place, onFollow, onProblem }) {
    this.#root = root;
    this.#api = api;
    this.#me = me;
    this.#place = place;
    this.#onFollow = onFollow;
    this.#onProblem = onProblem;
    const form = this.#discussionForm();
    root.replaceChildren(this.#head, form, this.#empty, this.#list);
    this.#list.append(...[1, 2].map(() => el("li", { class: "skeleton", "aria-hidden": "true" })));
    this.showPlace(place);
  }

  get key() {
    return this.#place.article.community_article_id;
  }

  shows(communityId, articleId) {
    return this.#place.community.id === communityId && this.#place.article.article_id === articleId;
  }

  isIn(communityId) {
    return this.#place.community.id === communityId;
  }

  /** What the lists on the left know of this article, again: its title, and whether it is followed. */
  showPlace(place) {
    this.#place = place;
    const { community, article } = place;
    const shown = JSON.stringify([community.name, community.role, community.type, article]);
    if (this.#shownPlace === shown) return;
    this.#shownPlace = shown;
    this.#render(); // another role may do other things
    const canFollow = community.role !== null && community.type !== "public";
    this.#head.replaceChildren(
      el("p", { class: "crumb" }, community.name, el("span", { class: "chip" }, article.status)),
      el("h1", {}, article.article_title),
      !canFollow
        ? el("p", { class: "hint" }, "Articles here can’t be followed: only private and hidden communities have live events, for their members.")
        : !article.is_subscribed
          ? el(
              "p",
              { class: "hint" },
              icon("muted"),
              el("span", {}, "You don’t follow this article: nothing new will appear by itself."),
              el("button", { type: "button", class: "small", "data-testid": "follow-button", onclick: () => this.#onFollow() }, "Follow"),
            )
          : "",
    );
  }

  /**
   * Fetches everything shown. Resolves to the position in the log that the answer stands for, from which
   * a stream misses nothing, or to null if a later call has overtaken this one.
   */
  async load() {
    const thread = (this.#loading = new Thread());
    const { community, article } = this.#place;
    const path = `/api/articles/${encodeURIComponent(article.article_slug)}/discussions/?community_id=${community.id}`;
    this.#root.setAttribute("aria-busy", "true");
    try {
      const { discussions, last_event_id: lastEventId } = await this.#api.list(path, "discussions");
      discussions.forEach((discussion) => thread.putDiscussion(discussion));
      for (const { id } of thread.discussions().slice(0, OPEN_AT_FIRST)) {
        if (!this.#folds.has(id)) this.#folds.set(id, true);
      }
      await Promise.all(discussions.map(({ id }) => this.#folds.get(id) && this.#fetchComments(thread, id)));
      if (this.#loading !== thread) return null;
      if (this.#thread) thread.keysNewSince(this.#thread).forEach((key) => this.#fresh.add(key));
      this.#thread = thread;
      this.#render();
      return lastEventId;
    } finally {
      if (this.#loading === thread) {
        this.#loading = null;
        this.#root.removeAttribute("aria-busy");
      }
    }
  }

  /** An event of this article. Returns a sentence that says what happened, for those who can't see it. */
  apply(event) {
    let change = null;
    for (const thread of [this.#thread, this.#loading]) change = thread?.apply(event) ?? change;
    if (!change) return null;
    const { verb, kind, item } = change;
    if (verb !== "deleted") this.#fresh.add(`${kind} ${item.id}`);
    const discussionId = kind === "discussion" ? item.id : item.discussion_id;
    if (!this.#folds.has(discussionId)) this.#folds.set(discussionId, true);
    this.#render();
    if (verb !== "new") return null;
    if (kind === "discussion") return `${item.author} began a discussion: ${item.topic}`;
    return `${item.author} commented in ${this.#thread?.topic(discussionId) ?? "a discussion"}: ${item.content}`;
  }

  async #fetchComments(thread, discussionId) {
    const { comments } = await this.#api.list(`/api/discussions/${discussionId}/comments/`, "comments");
    comments.forEach((comment) => thread.putComment(comment));
    thread.complete.add(discussionId);
  }

  async #unfold(discussionId) {
    if (this.#unfolding.has(discussionId)) return;
    this.#unfolding.add(discussionId);
    try {
      await this.#fetchComments(this.#thread, discussionId);
    } catch (problem) {
      this.#folds.set(discussionId, false);
      this.#onProblem(problem);
    } finally {
      this.#unfolding.delete(discussionId);
      this.#render();
    }
  }

  #put(kind, item) {
    for (const thread of [this.#thread, this.#loading]) {
      if (kind === "comment") thread?.putComment(item);
      else thread?.putDiscussion(item, { complete: true });
    }
    this.#fresh.add(`${kind} ${item.id}`);
    if (kind === "discussion") this.#folds.set(item.id, true);
    this.#render();
  }

  async #delete(kind, item) {
    try {
      await this.#api.delete(`/api/${kind}s/${item.id}/`);
    } catch (problem) {
      if (problem.status !== 404) return this.#onProblem(problem); // 404: somebody else was faster
    }
    for (const thread of [this.#thread, this.#loading]) thread?.apply({ type: `deleted_${kind}`, data: { [kind]: item } });
    this.#render();
  }

  #renderNow() {
    const thread = this.#thread;
    if (!thread) return;
    const discussions = thread.discussions();
    sync(this.#list, discussions, keyed(({ id }) => id, (discussion) => this.#discussion(discussion)));
    this.#empty.hidden = discussions.length > 0;
    this.#fresh.clear();
  }

  #freshen(key, node) {
    if (this.#fresh.has(key)) highlight(node);
  }

  #discussion({ id, author, author_id: authorId, created_at: createdAt }) {
    const topic = el("h2", { id: `topic-${id}`, "data-testid": "discussion-topic" });
    const content = el("p", { class: "text", "data-testid": "discussion-content" });
    const by = el("p", { class: "by" }, author, time(createdAt));
    const edited = el("span", { class: "edited", hidden: true }, "edited");
    const { editor, showTools } = this.#tools("discussion", authorId, by, content);
    by.append(edited);
    const count = el("span", { "data-testid": "comment-count" });
    const comments = el("ol", { class: "comments", id: `comments-${id}` });
    const form = this.#commentForm(id, null);
    const fold = el("button", { type: "button", class: "fold", "aria-controls": comments.id }, icon("chevron"), count);
    fold.onclick = () => {
      this.#folds.set(id, !this.#folds.get(id));
      this.#render();
    };
    const node = el(
      "li",
      { class: "discussion", "data-testid": "discussion", "data-id": id },
      el(
        "article",
        { "aria-labelledby": topic.id },
        el("header", {}, avatar(author, authorId), el("div", {}, topic, by)),
        content,
        editor,
        fold,
        comments,
        form,
      ),
    );
    node.show = (discussion) => {
      const isOpen = Boolean(this.#folds.get(id));
      const isComplete = this.#thread.complete.has(id);
      const total = this.#thread.commentCount(discussion);
      setText(topic, discussion.topic);
      setText(content, discussion.content);
      edited.hidden = !isEdited(discussion);
      showTools(discussion);
      setText(count, ["No comments yet", "1 comment"][total] ?? `${total} comments`);
      fold.setAttribute("aria-expanded", String(isOpen));
      comments.hidden = form.hidden = !isOpen;
      if (isOpen && isComplete) sync(comments, this.#thread.tree(id), keyed(keyOf, (comment) => this.#comment(comment)));
      if (isOpen && !isComplete && !this.#loading) this.#unfold(id);
      this.#freshen(`discussion ${id}`, node);
    };
    return node;
  }

  #comment({ comment: { id, discussion_id: discussionId, author, author_id: authorId, created_at: createdAt }, level }) {
    const content = el("p", { class: "text", "data-testid": "comment-content" });
    const edited = el("span", { class: "edited", hidden: true }, "edited");
    const by = el("p", { class: "by" }, author, time(createdAt), edited);
    const { editor, showTools } = this.#tools("comment", authorId, by, content);
    const replies = el("ol", { class: "replies" });
    const slot = el("div", { class: "reply" });
    const node = el(
      "li",
      { class: "comment", "data-testid": "comment", "data-id": id, "data-level": level },
      el("div", { class: "said" }, avatar(author, authorId), el("div", { class: "body" }, by, content, editor)),
      slot,
      replies,
    );
    const reply = el("button", { type: "button", class: "link", "data-testid": "reply-button", "aria-label": `Reply to ${author}` }, "Reply");
    reply.onclick = () => {
      this.#replyTo = this.#replyTo === id ? null : id;
      this.#renderNow();
      slot.querySelector("textarea")?.focus();
    };
    if (level < MAX_LEVEL) edited.after(reply);
    node.show = ({ comment, replies: answers }) => {
      const isDeleted = Boolean(comment.is_deleted);
      setText(content, isDeleted ? "This comment was deleted." : comment.content);
      edited.hidden = isDeleted || !isEdited(comment);
      node.classList.toggle("deleted", isDeleted);
      showTools(comment);
      const isAnswering = this.#replyTo === id && !isDeleted;
      reply.hidden = isDeleted;
      reply.setAttribute("aria-expanded", String(isAnswering));
      if (isAnswering && !slot.firstChild) slot.append(this.#commentForm(discussionId, comment));
      if (!isAnswering) slot.replaceChildren();
      sync(replies, answers, keyed(keyOf, (answer) => this.#comment(answer)));
      this.#freshen(`comment ${id}`, node.firstElementChild);
    };
    return node;
  }

  /** Buttons beside what was written: its author changes it; its author, moderators and admins delete it. */
  #tools(kind, authorId, by, content) {
    let shown = null;
    const editor = el("div", { class: "editor" });
    const edit = el("button", { type: "button", class: "link", "data-testid": `edit-${kind}` }, "Edit");
    const remove = el("button", { type: "button", class: "link", "data-testid": `delete-${kind}` }, "Delete");
    by.append(edit, remove);
    edit.onclick = () => {
      const key = `${kind} ${shown.id}`;
      this.#editing = this.#editing === key ? null : key;
      this.#renderNow();
      editor.querySelector("textarea")?.focus();
    };
    remove.onclick = () => {
      if (remove.textContent !== "Delete") return this.#delete(kind, shown);
      setText(remove, "Really delete?");
      setTimeout(() => setText(remove, "Delete"), SURE_MS);
    };
    const showTools = (item) => {
      shown = item;
      const { role } = this.#place.community;
      const isOwn = authorId === this.#me;
      const isThere = role !== null && !item.is_deleted;
      const isEditing = this.#editing === `${kind} ${item.id}` && isThere && isOwn;
      edit.hidden = !isThere || !isOwn;
      remove.hidden = !isThere || !(isOwn || role === "moderator" || role === "admin");
      edit.setAttribute("aria-expanded", String(isEditing));
      content.hidden = isEditing;
      if (isEditing && !editor.firstChild) editor.append(this.#editForm(kind, item, () => edit.click()));
      if (!isEditing) editor.replaceChildren();
    };
    return { editor, showTools };
  }

  #editForm(kind, item, onCancel) {
    const isDiscussion = kind === "discussion";
    const topic = isDiscussion && el("input", { name: "topic", required: true, autocomplete: "off", value: item.topic, "aria-label": "Topic" });
    const content = el("textarea", { name: "content", required: true, rows: 2, "aria-label": "Text" }, item.content);
    const form = writingForm({
      attributes: { class: isDiscussion ? "write" : "write inline", "data-testid": "edit-form" },
      fields: [topic, content].filter(Boolean),
      button: "Save",
      hint: isDiscussion && "Ctrl + Enter saves, Escape leaves it as it was",
      send: async (values) => {
        const changed = await this.#api.put(`/api/${kind}s/${item.id}/`, values);
        this.#editing = null;
        this.#put(kind, changed);
      },
    });
    form.onkeydown = (key) => key.key === "Escape" && onCancel();
    content.onkeydown = (key) => sendOn(key, isDiscussion ? key.ctrlKey || key.metaKey : !key.shiftKey, form);
    return form;
  }

  #discussionForm() {
    const topic = el("input", { name: "topic", required: true, autocomplete: "off", placeholder: "Topic", "aria-label": "Topic of a new discussion" });
    const content = el("textarea", { name: "content", required: true, rows: 2, placeholder: "What do you want to discuss?", "aria-label": "Text of the new discussion" });
    const form = writingForm({
      attributes: { class: "write card", "data-testid": "discussion-form", "aria-label": "New discussion" },
      fields: [topic, content],
      button: "Start discussion",
      hint: "Ctrl + Enter sends",
      send: async (values) => {
        const { community, article } = this.#place;
        const path = `/api/articles/${encodeURIComponent(article.article_slug)}/discussions/?community_id=${community.id}`;
        this.#put("discussion", await this.#api.post(path, values));
      },
    });
    content.onkeydown = (key) => sendOn(key, key.ctrlKey || key.metaKey, form);
    return form;
  }

  /** Under a discussion, or under the comment it answers. */
  #commentForm(discussionId, parent) {
    const label = parent ? `Reply to ${parent.author}` : "Write a comment";
    const content = el("textarea", { name: "content", required: true, rows: 1, placeholder: `${label}…`, "aria-label": label });
    const form = writingForm({
      attributes: { class: "write inline", "data-testid": "comment-form", "data-discussion-id": discussionId, "data-parent-id": parent?.id },
      fields: [content],
      button: parent ? "Reply" : "Comment",
      send: async (values) => {
        const body = parent ? { ...values, parent_id: parent.id } : values;
        const comment = await this.#api.post(`/api/discussions/${discussionId}/comments/`, body);
        if (parent && this.#replyTo === parent.id) this.#replyTo = null;
        if (parent) form.closest(".comment")?.querySelector('[data-testid="reply-button"]').focus();
        this.#put("comment", comment);
      },
    });
    content.onkeydown = (key) => {
      if (key.key === "Escape" && parent) form.closest(".comment").querySelector('[data-testid="reply-button"]').click();
      sendOn(key, !key.shiftKey, form);
    };
    return form;
  }
}

/** A form that keeps what was typed until it has been stored, and says why it was not. */
function writingForm({ attributes, fields, button, hint, send }) {
  const submit = el("button", { type: "submit" }, button);
  const error = el("p", { class: "error", role: "alert", "data-testid": "form-error" });
  const form = el("form", attributes, ...fields, el("div", { class: "actions" }, hint && el("span", { class: "keys", "aria-hidden": "true" }, hint), submit), error);
  form.onsubmit = async (submission) => {
    submission.preventDefault();
    if (submit.disabled) return;
    submit.disabled = true;
    fields.forEach((field) => (field.readOnly = true));
    error.textContent = "";
    try {
      await send(Object.fromEntries(fields.map((field) => [field.name, field.value])));
      form.reset();
    } catch (problem) {
      error.textContent = problem.message;
    } finally {
      submit.disabled = false;
      fields.forEach((field) => (field.readOnly = false));
    }
  };
  return form;
}

function sendOn(key, isWanted, form) {
  if (key.key !== "Enter" || !isWanted || key.isComposing) return;
  key.preventDefault();
  form.requestSubmit();
}

function keyOf({ comment }) {
  return comment.id;
}

function isEdited({ created_at: createdAt, updated_at: updatedAt }) {
  return createdAt !== updatedAt;
}
