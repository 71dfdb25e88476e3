//! Who does something while things break: one manager for each community, writers, and whoever moves clients about.

use std::sync::Arc;
use std::time::Duration;

use crier_oracle::journal::Caller;
use http::Method;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::api::{Api, Request};
use crate::client::Order;
use crate::groups::{Article, Group, USERS, any, user_call};

const BETWEEN_CHANGES: std::ops::Range<u64> = 100..700;
const BETWEEN_TEXTS: std::ops::Range<u64> = 40..260;
const BETWEEN_MOVES: std::ops::Range<u64> = 150..900;

/// Articles of a community at most.
const ARTICLES: usize = 4;

/// Events outside the usual are this large, to fill what stands between a gateway and a client.
const LARGE: usize = 40_000;

/// Asks a manager for two changes of one user's permissions with something written in between. Answered when done.
pub(crate) type TwoChanges = tokio::sync::oneshot::Sender<()>;

/// Says when it is time to end.
pub(crate) type Over = tokio::sync::watch::Receiver<bool>;

async fn pause(range: std::ops::Range<u64>, rng: &mut StdRng) {
    let pause = Duration::from_millis(rng.random_range(range));
    tokio::time::sleep(pause).await;
}

/// Changes one community's permissions, one change after the other, so that their order is known. Ends by itself after
/// the change under way.
pub(crate) async fn manage(
    api: Arc<Api>,
    group: Arc<Group>,
    mut asked: mpsc::Receiver<TwoChanges>,
    over: Over,
    mut rng: StdRng,
) -> anyhow::Result<()> {
    while !*over.borrow() {
        let pause = Duration::from_millis(rng.random_range(BETWEEN_CHANGES));
        tokio::select! {
            done = asked.recv() => match done {
                Some(done) => {
                    change_twice(&api, &group, &mut rng).await?;
                    let _ = done.send(());
                }
                None => return Ok(()),
            },
            () = tokio::time::sleep(pause) => change(&api, &group, &mut rng).await?,
        }
    }
    Ok(())
}

async fn change(api: &Api, group: &Group, rng: &mut StdRng) -> anyhow::Result<()> {
    let Some(user) = any(&group.fickle, rng) else {
        return Ok(());
    };
    let (is_member, articles) = {
        let state = group.state();
        (state.members.contains(&user), state.articles.clone())
    };
    if !is_member {
        let role = if rng.random_bool(0.2) {
            "admin"
        } else {
            "member"
        };
        return group.add(api, user, role, rng).await;
    }
    let Some(article) = any(&articles, rng) else {
        return Ok(());
    };
    match rng.random_range(0..100) {
        0..40 => api
            .until_answered(&group.follow(user, article), rng)
            .await
            .map(drop),
        40..62 => group.unfollow(api, user, article, rng).await,
        62..74 => group.manage(api, user, "remove", rng).await,
        74..80 => group.leave(api, user, rng).await,
        80..88 => group.manage(api, user, "promote_admin", rng).await,
        88..93 => group.manage(api, user, "demote_admin", rng).await,
        93..97 => set_published(api, group, article, rng).await,
        _ if articles.len() < ARTICLES => group.publish_new(api, rng).await.map(drop),
        _ => Ok(()),
    }
}

/// Takes an article back and publishes it again: who is to follow it by then does.
async fn set_published(
    api: &Api,
    group: &Group,
    article: Article,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    for action in ["unpublish", "publish"] {
        let path = format!(
            "/api/communities/{}/articles/{}/manage/{action}",
            group.id, article.id
        );
        api.until_answered(
            &user_call(group.founder, Method::POST, path, json!({})),
            rng,
        )
        .await?;
    }
    Ok(())
}

/// A member is removed and added, or stops following and follows again, with something written each time.
async fn change_twice(api: &Api, group: &Group, rng: &mut StdRng) -> anyhow::Result<()> {
    let (members, article) = {
        let state = group.state();
        (state.members.clone(), state.articles.first().copied())
    };
    let fickle: Vec<i64> = group
        .fickle
        .iter()
        .copied()
        .filter(|user| members.contains(user))
        .collect();
    let (Some(user), Some(article)) = (any(&fickle, rng), article) else {
        return Ok(());
    };
    api.until_answered(&group.follow(user, article), rng)
        .await?;
    write(api, group, rng).await?;
    let removed = rng.random_bool(0.5);
    if removed {
        group.manage(api, user, "remove", rng).await?;
    } else {
        group.unfollow(api, user, article, rng).await?;
    }
    for _ in 0..3 {
        write(api, group, rng).await?;
    }
    if removed {
        group.add(api, user, "member", rng).await?;
    }
    api.until_answered(&group.follow(user, article), rng)
        .await?;
    for _ in 0..3 {
        write(api, group, rng).await?;
    }
    Ok(())
}

/// Writes in a community, and as the backend about it. Ends by itself after the text under way.
pub(crate) async fn keep_writing(
    api: Arc<Api>,
    group: Arc<Group>,
    over: Over,
    mut rng: StdRng,
) -> anyhow::Result<()> {
    while !*over.borrow() {
        write(&api, &group, &mut rng).await?;
        pause(BETWEEN_TEXTS, &mut rng).await;
    }
    Ok(())
}

/// A text that names its event.
fn mark() -> String {
    Uuid::new_v4().simple().to_string()
}

async fn write(api: &Api, group: &Group, rng: &mut StdRng) -> anyhow::Result<()> {
    let (article, discussion, members) = {
        let state = group.state();
        (
            any(&state.articles, rng),
            any(&state.discussions, rng),
            state.members.clone(),
        )
    };
    // Now and then somebody tries who may not.
    let by = if rng.random_bool(0.05) {
        rng.random_range(1..=USERS)
    } else {
        any(&members, rng).unwrap_or(group.founder)
    };
    match (rng.random_range(0..100), article, discussion) {
        (0..20, article, _) => tell_outside(api, group, article, rng).await,
        (20..28, Some(article), _) | (_, Some(article), None) => {
            discuss(api, group, by, article, rng).await
        }
        (28..36, _, Some(_)) => edit_comment(api, group, rng).await,
        (36..42, _, Some(_)) => delete_comment(api, group, rng).await,
        (42..44, _, Some((id, author))) => {
            let body = json!({"topic": "Changed", "content": mark()});
            let request = user_call(author, Method::PUT, format!("/api/discussions/{id}/"), body);
            api.call(&request, rng).await;
            Ok(())
        }
        (44, _, Some((id, author))) => {
            group.state().discussions.retain(|(known, _)| *known != id);
            let path = format!("/api/discussions/{id}/");
            api.call(&user_call(author, Method::DELETE, path, Value::Null), rng)
                .await;
            Ok(())
        }
        (_, _, Some((discussion, _))) => comment(api, group, by, discussion, rng).await,
        (_, None, None) => Ok(()),
    }
}

async fn discuss(
    api: &Api,
    group: &Group,
    by: i64,
    article: Article,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    let path = format!(
        "/api/articles/{}/discussions/?community_id={}",
        article.id, group.id
    );
    let body = json!({"topic": mark(), "content": "What do you think?"});
    let answer = make(api, user_call(by, Method::POST, path, body), rng).await?;
    if let Some(id) = answer {
        group.state().discussions.push((id, by));
    }
    Ok(())
}

async fn comment(
    api: &Api,
    group: &Group,
    by: i64,
    discussion: i64,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    let path = format!("/api/discussions/{discussion}/comments/");
    let answer = make(
        api,
        user_call(by, Method::POST, path, json!({"content": mark()})),
        rng,
    )
    .await?;
    if let Some(id) = answer {
        group.state().comments.push((id, by));
    }
    Ok(())
}

/// Makes something by a key, so that it may be asked for again; half of those without an answer are.
async fn make(api: &Api, mut request: Request, rng: &mut StdRng) -> anyhow::Result<Option<i64>> {
    request.key = Some(mark());
    let answer = if rng.random_bool(0.5) {
        Some(api.until_answered(&request, rng).await?)
    } else {
        api.call(&request, rng).await
    };
    Ok(answer
        .filter(|answer| answer.status < 300)
        .and_then(|answer| answer.json["id"].as_i64()))
}

async fn edit_comment(api: &Api, group: &Group, rng: &mut StdRng) -> anyhow::Result<()> {
    let comment = any(&group.state().comments, rng);
    if let Some((id, author)) = comment {
        let body = json!({"content": mark()});
        api.call(
            &user_call(author, Method::PUT, format!("/api/comments/{id}/"), body),
            rng,
        )
        .await;
    }
    Ok(())
}

async fn delete_comment(api: &Api, group: &Group, rng: &mut StdRng) -> anyhow::Result<()> {
    let comment = any(&group.state().comments, rng);
    if let Some((id, author)) = comment {
        group.state().comments.retain(|(known, _)| *known != id);
        let path = format!("/api/comments/{id}/");
        api.call(&user_call(author, Method::DELETE, path, Value::Null), rng)
            .await;
    }
    Ok(())
}

/// An event of the backend: for the members, for an article's followers, or for some by name.
async fn tell_outside(
    api: &Api,
    group: &Group,
    article: Option<Article>,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    let mut body = json!({
        "id": Uuid::new_v4(),
        "type": "grade_changed",
        "community_id": group.id,
        "data": {"mark": mark()},
    });
    match (rng.random_range(0..3), article) {
        (0, Some(article)) => body["article_id"] = article.id.into(),
        (1, _) => {
            let named = (1..=USERS).filter(|_| rng.random_bool(0.4));
            let named: Vec<i64> = named.chain([group.founder]).collect();
            body["subscriber_ids"] = json!(named);
        }
        _ => {}
    }
    if rng.random_bool(0.3) {
        body["exclude_user_id"] = rng.random_range(1..=USERS).into();
    }
    outside(api, body, rng).await
}

async fn outside(api: &Api, body: Value, rng: &mut StdRng) -> anyhow::Result<()> {
    let request = Request::new(Caller::Service, Method::POST, "/api/events", body);
    api.until_answered(&request, rng).await.map(drop)
}

/// An event for all members, large or not.
pub(crate) async fn tell_all(
    api: &Api,
    group: &Group,
    is_large: bool,
    rng: &mut StdRng,
) -> anyhow::Result<()> {
    let filler = if is_large {
        "x".repeat(LARGE)
    } else {
        String::new()
    };
    let body = json!({
        "id": Uuid::new_v4(),
        "type": "told_to_all",
        "community_id": group.id,
        "data": {"mark": mark(), "filler": filler},
    });
    outside(api, body, rng).await
}

/// Has clients leave, come back elsewhere and stand still.
pub(crate) async fn move_clients(orders: Vec<mpsc::Sender<Order>>, over: Over, mut rng: StdRng) {
    while !*over.borrow() {
        pause(BETWEEN_MOVES, &mut rng).await;
        let order = match rng.random_range(0..10) {
            0..4 => Order::Leave(Duration::ZERO),
            4..8 => Order::Leave(Duration::from_millis(rng.random_range(100..6_000))),
            _ => Order::Stall(Duration::from_millis(rng.random_range(100..2_000))),
        };
        if let Some(client) = orders.get(rng.random_range(0..orders.len())) {
            // One that is away for long has orders enough.
            let _ = client.try_send(order);
        }
    }
}
