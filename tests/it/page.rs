//! The demo page in a real Chromium: two windows, two users, two gateways, one `crier up`.

use crier_testkit::{Browser, Page};
use tempfile::tempdir;

use crate::fleet::{Process, command};

const ARTICLE: &str = "article=gpt-5-architecture";

struct Window {
    page: Page,
}

impl Window {
    /// A window of its own, signed in, on this gateway, with the stream open and the article on screen.
    async fn open(browser: &Browser, url: &str, user: &str, gateway: u8) -> Self {
        let page = browser.page().await;
        page.goto(&format!("{url}/#user={user}&gateway={gateway}&{ARTICLE}"))
            .await;
        let window = Self { page };
        window
            .until(r#"document.querySelector('[data-testid=connection-state][data-state=open]')"#)
            .await;
        window
            .until("document.querySelector('[data-testid=discussion]')")
            .await;
        window
    }

    async fn until(&self, js: &str) {
        self.page.wait_for_js(js).await;
    }

    async fn count(&self, js: &str) -> u64 {
        self.page.eval(js).await.as_u64().unwrap()
    }

    /// Comments on the first discussion through the page's own form, and waits for the answer: until then the form
    /// takes nothing more, and what others do may come first.
    async fn comment(&self, text: &str) {
        self.page
            .eval(&format!(
                r#"(() => {{
                    const form = document.querySelector('[data-testid=discussion] [data-testid=comment-form]');
                    const field = form.querySelector('textarea, input');
                    field.value = {text:?};
                    field.dispatchEvent(new Event('input', {{ bubbles: true }}));
                    form.requestSubmit();
                }})()"#
            ))
            .await;
        self.until(&Self::shows(text)).await;
    }

    /// Clicks a button of the comment with this text.
    async fn click(&self, text: &str, button: &str) {
        let buttons = format!(
            "{}.at(-1).querySelector('[data-testid={button}]')",
            Self::comments(text)
        );
        self.until(&buttons).await;
        self.page.eval(&format!("{buttons}.click()")).await;
    }

    /// Fills in the form that a click has opened.
    async fn write(&self, form: &str, text: &str) {
        let form = format!("document.querySelector('.comment [data-testid={form}]')");
        self.until(&form).await;
        self.page
            .eval(&format!(
                "(() => {{ const form = {form}; form.querySelector('textarea').value = {text:?}; form.requestSubmit(); }})()"
            ))
            .await;
    }

    async fn edit(&self, text: &str, other: &str) {
        self.click(text, "edit-comment").await;
        self.write("edit-form", other).await;
    }

    async fn reply(&self, text: &str, answer: &str) {
        self.click(text, "reply-button").await;
        self.write("comment-form", answer).await;
    }

    /// The second click says that the first was meant.
    async fn delete(&self, text: &str) {
        self.click(text, "delete-comment").await;
        self.click(text, "delete-comment").await;
    }

    fn shows(text: &str) -> String {
        format!("{}.length > 0", Self::comments(text))
    }

    fn comments(text: &str) -> String {
        format!(
            "[...document.querySelectorAll('[data-testid=comment]')].filter(node => node.textContent.includes({text:?}))"
        )
    }

    /// How many frames of the log hold this text.
    fn frames(text: &str) -> String {
        format!(
            "[...document.querySelectorAll('[data-testid=frame][data-event=event]')].filter(node => node.textContent.includes({text:?})).length"
        )
    }

    const TOGGLE: &str = "document.querySelector('[data-article-slug=gpt-5-architecture] [data-testid=subscribe-toggle]')";

    async fn toggle(&self, follows: bool) {
        self.page.eval(&format!("{}.click()", Self::TOGGLE)).await;
        self.until(&format!(
            "{}.getAttribute('aria-checked') === '{follows}'",
            Self::TOGGLE
        ))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_appears_in_the_other_window_and_nowhere_else() {
    let data = tempdir().unwrap();
    let any = "127.0.0.1:0";
    let mut up = Process::start(&mut command(&[
        "up",
        "--demo",
        "--data-dir",
        data.path().to_str().unwrap(),
        "--api",
        any,
        "--gateway",
        any,
        "--gateway",
        any,
    ]));
    let url = up.url("API").await;
    let browser = Browser::launch().await;
    let alice = Window::open(&browser, &url, "alice", 1).await;
    let bob = Window::open(&browser, &url, "bob", 2).await;
    let carol = Window::open(&browser, &url, "carol", 1).await;

    alice.comment("hello from alice").await;
    bob.until(&Window::shows("hello from alice")).await;
    bob.until(&format!("{} === 1", Window::frames("hello from alice")))
        .await;
    alice.until(&Window::shows("hello from alice")).await;
    // The sentinel is bob's: once alice has its frame, she would have had one of her own.
    bob.comment("hello from bob").await;
    alice
        .until(&format!("{} === 1", Window::frames("hello from bob")))
        .await;
    assert_eq!(
        alice.count(&Window::frames("hello from alice")).await,
        0,
        "not to its author"
    );
    let shown = format!("{}.length", Window::comments("hello from alice"));
    assert_eq!(alice.count(&shown).await, 1, "and shown once");

    alice.edit("hello from alice", "what alice meant").await;
    bob.until(&Window::shows("what alice meant")).await;
    bob.until(&format!(
        "{}.length === 0",
        Window::comments("hello from alice")
    ))
    .await;
    bob.reply("what alice meant", "bob answers").await;
    alice.until(&Window::shows("bob answers")).await;
    // What was answered keeps its place; bob's own goes altogether, by alice who is the admin.
    alice.delete("what alice meant").await;
    bob.until("document.querySelector('.comment.deleted')")
        .await;
    bob.until(&Window::shows("bob answers")).await;
    alice.delete("hello from bob").await;
    bob.until(&format!(
        "{}.length === 0",
        Window::comments("hello from bob")
    ))
    .await;

    bob.toggle(false).await;
    alice.comment("while bob is away").await;
    bob.toggle(true).await;
    alice.comment("bob is back").await;
    bob.until(&format!("{} === 1", Window::frames("bob is back")))
        .await;
    assert_eq!(bob.count(&Window::frames("while bob is away")).await, 0);

    carol.toggle(true).await;
    alice.comment("carol too").await;
    carol
        .until(&format!("{} === 1", Window::frames("carol too")))
        .await;
    for earlier in ["hello from alice", "hello from bob", "bob is back"] {
        assert_eq!(carol.count(&Window::frames(earlier)).await, 0, "{earlier}");
    }
    for (who, window) in [("alice", &alice), ("bob", &bob), ("carol", &carol)] {
        assert_eq!(window.page.errors(), [""; 0], "{who}'s console");
    }
}
