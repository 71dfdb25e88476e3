//! The routes of the API service: the whole table on one screen.

mod answers;
mod articles;
mod comments;
mod communities;
mod demo;
mod describe;
mod discussions;
mod events;
mod identity;
mod members;
mod object;
mod once;
mod openapi;
mod page;
mod paging;
mod problems;
mod several;
mod subscriptions;
mod sync;
mod tickets;
mod users;
mod words;

use std::any::type_name_of_val;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::state::State;
use describe::{Documented, Operation};

/// One row of the table.
struct Route {
    method: Method,
    path: &'static str,
    handler: MethodRouter<Arc<State>>,
    /// The handler's path in the source.
    source: &'static str,
    summary: &'static str,
    /// What it may be refused with beyond what its parts say.
    refusals: &'static [u16],
    /// Has the handler's parts say what they mean.
    describe: fn(&mut Operation<'_>),
}

/// What is called how, and what the use case may refuse it with. OpenAPI is read off this table.
#[rustfmt::skip]
fn table() -> Vec<Route> {
    vec![
        post("/api/discussions/subscribe", subscriptions::subscribe, "Follow an article", &[400, 404, 409]),
        delete("/api/discussions/unsubscribe/{subscription}", subscriptions::unsubscribe, "Follow it no longer", &[]),
        put("/api/discussions/subscription/{subscription}", subscriptions::set, "Follow it, or no longer", &[400, 404, 409]),
        get("/api/discussions/subscription-status", subscriptions::status, "Whether the caller follows an article", &[400, 404]),
        get("/api/discussions/user-subscriptions", subscriptions::list, "All that the caller follows, by community; limit counts communities", &[]),

        post("/api/articles/{article}/discussions", discussions::create, "Open a discussion", &[400]),
        get("/api/articles/{article}/discussions", discussions::list, "The discussions of an article in a community, newest first", &[400]),
        get("/api/discussions/{discussion}", discussions::get, "One discussion", &[]),
        put("/api/discussions/{discussion}", discussions::update, "Change the topic or the content of one's own discussion", &[]),
        delete("/api/discussions/{discussion}", discussions::delete, "Delete a discussion with its comments: one's own, or as a moderator", &[]),
        post("/api/discussions/{discussion}/comments", comments::create, "Write a comment", &[400]),
        get("/api/discussions/{discussion}/comments", comments::list, "The comments of a discussion, oldest first", &[]),
        put("/api/comments/{comment}", comments::update, "Change one's own comment", &[]),
        delete("/api/comments/{comment}", comments::delete, "Delete a comment: one's own, or as a moderator", &[]),

        post("/api/communities", communities::create, "Make a community, with the caller as its first admin", &[409]),
        get("/api/communities", communities::list, "The caller's communities and the public ones", &[]),
        get("/api/communities/{community}", communities::get, "A community with its articles, oldest first; after is a community article's id", &[]),
        put("/api/communities/{community}", communities::put, "Give a community another name or type; the backend makes it so, by an id of its own", &[]),
        get("/api/communities/{community}/members", members::list, "The members of a community", &[]),
        post("/api/communities/{community}/join", members::join, "Become a member of a public community", &[409]),
        post("/api/communities/{community}/leave", members::leave, "Be a member no longer", &[409]),
        put("/api/communities/{community}/members/{user}", members::put, "Add a member, or give one another role", &[409]),
        post("/api/communities/{community}/manage-member/{user}/{action}", members::manage, "Promote, demote or remove a member", &[409]),

        post("/api/articles", articles::create, "Make an article", &[]),
        get("/api/articles/{article}", articles::get, "One article", &[]),
        put("/api/articles/{article}", articles::put, "Make an article by an id of one's own, or change it", &[409]),
        put("/api/communities/{community}/articles/{article}", articles::put_into, "Put an article into a community, or change how far it has come there", &[409]),
        post("/api/communities/{community}/articles/{article}/submit", articles::submit, "Submit an article to a community", &[409]),
        post("/api/communities/{community}/articles/{article}/manage/{action}", articles::manage, "Approve, publish, unpublish or reject a submitted article", &[409]),

        post("/api/sync", sync::sync, "Many changes of an application's own data, as lines of JSON", &[]),
        post("/api/events", events::publish, "Publish what happened elsewhere, one event or several at once", &[404, 409]),

        post("/api/realtime/ticket", tickets::create, "A ticket that opens a stream where no header can be sent", &[]),
        post("/api/users/{user}/disconnect", users::disconnect, "Refuse a user's tokens until now, and close their streams", &[]),
    ]
}

/// The method and path of every route that answers with data, demo and health apart.
#[must_use]
pub fn routes() -> Vec<(Method, &'static str)> {
    let table = table().into_iter();
    table.map(|route| (route.method, route.path)).collect()
}

/// The OpenAPI document of all these routes.
#[must_use]
pub fn openapi() -> serde_json::Value {
    openapi::document(table())
}

/// The table as a router; `demo` adds the demo's login and page.
pub(crate) fn router(state: Arc<State>) -> Router {
    let mut router = Router::new();
    let demo = if state.demo.is_some() {
        demo_table()
    } else {
        Vec::new()
    };
    let routes = table().into_iter();
    for (path, handler) in routes.map(|route| (route.path, route.handler)).chain(demo) {
        router = router.route(path, handler);
    }
    router.with_state(state).merge(openapi::router())
}

impl Route {
    /// `subscriptions.subscribe`: the handler's place in the source, which is unique and stays.
    fn name(&self) -> String {
        let mut parts = self.source.rsplit("::");
        let (function, module) = (parts.next(), parts.next());
        format!(
            "{}.{}",
            module.unwrap_or_default(),
            function.unwrap_or_default()
        )
    }

    /// `subscriptions`
    fn resource(&self) -> &'static str {
        self.source.rsplit("::").nth(1).unwrap_or_default()
    }
}

/// What there is under `demo` alone, for the demo's own page.
fn demo_table() -> Vec<(&'static str, MethodRouter<Arc<State>>)> {
    let mut routes = vec![("/demo/login", axum::routing::post(demo::login))];
    let files = page::FILES.iter();
    routes.extend(files.map(|file| (file.path, axum::routing::get(page::serve))));
    routes
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => { $(
        fn $name<T: 'static, Parts, H>(
            path: &'static str,
            handler: H,
            summary: &'static str,
            refusals: &'static [u16],
        ) -> Route
        where
            H: Handler<T, Arc<State>> + Documented<Parts>,
        {
            Route {
                method: Method::$method,
                path,
                source: type_name_of_val(&handler),
                handler: on(MethodFilter::$method, handler),
                summary,
                refusals,
                describe: H::describe,
            }
        }
    )* };
}

methods! { get GET post POST put PUT delete DELETE }
