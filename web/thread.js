/**
 * What is known of one article's discussions. Knows nothing of the page or the network.
 *
 * Lists and events say the same things in any order and more than once, so everything is kept by id: a newer
 * version replaces an older one, and what was deleted stays deleted.
 */
export class Thread {
  #discussions = new Map(); // id → discussion
  #comments = new Map(); // discussion id → Map of id → comment
  #deleted = new Set(); // "discussion 7", "comment 12"
  /** Ids of the discussions whose comments are all here. */
  complete = new Set();

  /** Applies an event's type and data. Returns `{verb, kind, item}`, or null if it says nothing about discussions. */
  apply(event) {
    const [, verb, kind] = /^(new|updated|deleted)_(discussion|comment)$/.exec(event.type) ?? [];
    const item = event.data?.[kind];
    if (item?.id === undefined) return null;
    if (verb === "deleted") this.#delete(kind, item);
    else if (kind === "comment") this.putComment(item);
    else this.putDiscussion(item, { complete: verb === "new" });
    return { verb, kind, item };
  }

  /** `complete`: it has just begun, so every comment of it comes as an event. */
  putDiscussion(discussion, { complete = false } = {}) {
    if (this.#deleted.has(`discussion ${discussion.id}`)) return;
    const known = this.#discussions.get(discussion.id);
    if (!known && complete && !discussion.comment_count) this.complete.add(discussion.id);
    if (!isOlder(discussion, known)) this.#discussions.set(discussion.id, discussion);
  }

  putComment(comment) {
    if (this.#deleted.has(`comment ${comment.id}`)) return;
    const comments = this.#commentsOf(comment.discussion_id);
    if (!isOlder(comment, comments.get(comment.id))) comments.set(comment.id, comment);
  }

  has(discussionId) {
    return this.#discussions.has(discussionId);
  }

  topic(discussionId) {
    return this.#discussions.get(discussionId)?.topic;
  }

  /** Keys (`discussion 7`, `comment 12`) of what is here and was not in `earlier`, as far as that knew. */
  keysNewSince(earlier) {
    const keys = [];
    for (const { id } of this.#discussions.values()) {
      if (!earlier.has(id)) keys.push(`discussion ${id}`);
      if (!earlier.complete.has(id)) continue;
      for (const comment of this.#commentsOf(id).keys()) {
        if (!earlier.#commentsOf(id).has(comment)) keys.push(`comment ${comment}`);
      }
    }
    return keys;
  }

  /** The newest discussion first. */
  discussions() {
    return [...this.#discussions.values()].sort((a, b) => b.id - a.id);
  }

  commentCount(discussion) {
    if (!this.complete.has(discussion.id)) return discussion.comment_count ?? 0;
    return [...this.#commentsOf(discussion.id).values()].filter((comment) => !comment.is_deleted).length;
  }

  /** A discussion's comments as a tree of `{comment, level, replies}`, oldest first, levels counting from 1. */
  tree(discussionId) {
    const comments = [...this.#commentsOf(discussionId).values()].sort((a, b) => a.id - b.id);
    const nodes = new Map(comments.map((comment) => [comment.id, { comment, level: 1, replies: [] }]));
    const roots = [];
    for (const node of nodes.values()) {
      const parent = nodes.get(node.comment.parent_id);
      node.level = parent ? parent.level + 1 : 1;
      (parent ? parent.replies : roots).push(node);
    }
    return withoutDeletedLeaves(roots);
  }

  #commentsOf(discussionId) {
    if (!this.#comments.has(discussionId)) this.#comments.set(discussionId, new Map());
    return this.#comments.get(discussionId);
  }

  #delete(kind, { id, discussion_id: discussionId }) {
    this.#deleted.add(`${kind} ${id}`);
    if (kind === "discussion") {
      this.#discussions.delete(id);
      this.#comments.delete(id);
      return;
    }
    // A deleted comment keeps its place while there are answers to it.
    const comment = this.#comments.get(discussionId)?.get(id);
    if (comment) this.#comments.get(discussionId).set(id, { ...comment, is_deleted: true });
  }
}

function isOlder(item, known) {
  return Boolean(known) && Date.parse(item.updated_at) < Date.parse(known.updated_at);
}

function withoutDeletedLeaves(nodes) {
  return nodes
    .map((node) => ({ ...node, replies: withoutDeletedLeaves(node.replies) }))
    .filter((node) => !node.comment.is_deleted || node.replies.length > 0);
}
