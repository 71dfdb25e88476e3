//! The demo: three people, one private community, two articles. Exists under `demo` alone.

use std::time::Duration;

use crier_domain::{ArticleId, CommunityId, UserId};
use crier_service_kit::auth::Signer;
use crier_store::{ArticleRef, CommunityKind, Page, Role};
use serde::Deserialize;

use super::access::Actor;
use super::article_ref::ArticleName;
use super::articles::Action;
use super::error::{AppError, Thing};
use super::list::MAX_LIMIT;
use super::text::Text;
use super::{App, articles, communities, discussions, members, subscriptions};

const COMMUNITY: &str = "AI Research Group";
const FOLLOWED: (&str, &str) = ("GPT-5 Architecture", "gpt-5-architecture");
const OTHER: (&str, &str) = ("Transformer Improvements", "transformer-improvements");
const TOPIC: &str = "What do you make of the attention blocks?";
const CONTENT: &str =
    "Section 3 replaces half of them. Write a comment, and watch it arrive elsewhere.";

/// How long a demo's token is good for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// Who may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DemoUser {
    /// The admin.
    Alice,
    /// A member who follows GPT-5.
    Bob,
    /// A member who follows nothing.
    Carol,
}

impl DemoUser {
    const fn parts(self) -> (i64, &'static str) {
        match self {
            Self::Alice => (1, "alice"),
            Self::Bob => (2, "bob"),
            Self::Carol => (3, "carol"),
        }
    }

    fn id(self) -> Result<UserId, AppError> {
        let (id, _) = self.parts();
        UserId::try_from(id).map_err(|_| AppError::NoSuch(Thing::User))
    }
}

/// What a login gives.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) token: String,
    pub(crate) user_id: UserId,
    pub(crate) username: &'static str,
    /// Seconds.
    pub(crate) expires_in: u64,
}

/// A token for one of the three.
pub(crate) fn login(signer: &Signer, user: DemoUser) -> Result<Session, AppError> {
    let (id, username) = user.parts();
    Ok(Session {
        token: signer.sign_user(id, username, TOKEN_LIFETIME)?,
        user_id: user.id()?,
        username,
        expires_in: TOKEN_LIFETIME.as_secs(),
    })
}

/// Puts the sample data there, by the same use cases as everyone's calls.
///
/// What is there stays as it is: whoever unsubscribed in the page stays so after a restart. A start that was broken
/// off half way is taken up where it ended; the second article is the last thing made and says that all is done.
pub(crate) async fn seed(app: &App) -> Result<(), AppError> {
    let [alice, bob, carol] = people(app).await?;
    let community = find_community(app, alice).await?;
    if let Some(other) = find_article(app, alice, OTHER).await? {
        let Some(community) = community else {
            return Ok(());
        };
        let there = app.store.find_community_article(alice, community, other);
        if there.await?.is_some() {
            return Ok(());
        }
    }
    let community = match community {
        Some(community) => community,
        None => {
            let name = &text(COMMUNITY)?;
            let made = communities::create(app, alice, name, CommunityKind::Private, None);
            let made = made.await?.made();
            made.ok_or(AppError::NoSuch(Thing::Community))?.id
        }
    };
    for member in [bob, carol] {
        if app.store.find_member(community, member).await?.is_none() {
            members::put(app, alice, community, member, Role::Member).await?;
        }
    }
    let followed = publish(app, alice, community, FOLLOWED).await?;
    let place = app.store.find_community_article(bob, community, followed);
    let place = place
        .await?
        .ok_or(AppError::NoSuch(Thing::CommunityArticle))?;
    for follower in [alice, bob] {
        let before = app.store.find_subscription_to(follower, place.id).await?;
        if before.is_none() {
            subscriptions::subscribe(app, follower, community, place.id).await?;
        }
    }
    let name = ArticleName::from(followed);
    let page = app
        .store
        .discussions(alice, community, followed, Page::first(1));
    if page.await?.is_empty() {
        let (topic, content) = (text(TOPIC)?, text(CONTENT)?);
        discussions::create(app, alice, community, &name, &topic, &content, None).await?;
    }
    publish(app, alice, community, OTHER).await?;
    Ok(())
}

async fn people(app: &App) -> Result<[UserId; 3], AppError> {
    let mut ids = Vec::new();
    for user in [DemoUser::Alice, DemoUser::Bob, DemoUser::Carol] {
        let (_, name) = user.parts();
        ids.push(app.store.ensure_user(user.id()?, name).await?.id);
    }
    ids.try_into().map_err(|_| AppError::NoSuch(Thing::User))
}

async fn find_community(app: &App, alice: UserId) -> Result<Option<CommunityId>, AppError> {
    let mut page = Page::first(MAX_LIMIT);
    loop {
        let found = app.store.communities(alice, page).await?;
        let ours = found
            .iter()
            .find(|view| view.role.is_some() && view.community.name == COMMUNITY);
        if let Some(view) = ours {
            return Ok(Some(view.community.id));
        }
        match found.last() {
            Some(last) => page.after = Some(last.community.id),
            None => return Ok(None),
        }
    }
}

async fn find_article(
    app: &App,
    alice: UserId,
    (title, slug): (&str, &str),
) -> Result<Option<ArticleId>, AppError> {
    let slug = ArticleRef::Slug(slug.to_owned());
    let found = app.store.find_article(alice, &slug).await?;
    // Somebody else's article may have the slug.
    let ours = found.filter(|article| article.submitter_id == alice && article.title == title);
    Ok(ours.map(|article| article.id))
}

/// The article, made, submitted and published as far as it is not.
async fn publish(
    app: &App,
    alice: UserId,
    community: CommunityId,
    article: (&str, &str),
) -> Result<ArticleId, AppError> {
    let id = match find_article(app, alice, article).await? {
        Some(id) => id,
        None => {
            let title = text(article.0)?;
            let made = articles::create(app, alice, &title, None, None).await?;
            made.made().ok_or(AppError::NoSuch(Thing::Article))?.id
        }
    };
    let name = ArticleName::from(id);
    let there = app.store.find_community_article(alice, community, id);
    if there.await?.is_none() {
        articles::submit(app, alice, community, &name, None).await?;
    }
    articles::manage(app, Actor::Person(alice), community, &name, Action::Publish).await?;
    Ok(id)
}

/// A text of ours, which fits.
fn text<const MAX: usize>(text: &str) -> Result<Text<MAX>, AppError> {
    Text::try_from(text.to_owned()).map_err(AppError::SampleText)
}
