//! The routes of the API service: the whole table on one screen.

mod articles;
mod comments;
mod communities;
mod demo;
mod discussions;
mod identity;
mod members;
mod object;
mod page;
mod paging;
mod problems;
mod subscriptions;
mod tickets;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::state::State;

/// One row of the table.
struct Route {
    method: Method,
    path: &'static str,
    handler: MethodRouter<Arc<State>>,
}

#[rustfmt::skip]
fn table() -> Vec<Route> {
    vec![
        post("/api/discussions/subscribe", subscriptions::subscribe),
        delete("/api/discussions/unsubscribe/{subscription}", subscriptions::unsubscribe),
        put("/api/discussions/subscription/{subscription}", subscriptions::set),
        get("/api/discussions/subscription-status", subscriptions::status),
        get("/api/discussions/user-subscriptions", subscriptions::list),

        post("/api/articles/{article}/discussions", discussions::create),
        get("/api/articles/{article}/discussions", discussions::list),
        get("/api/discussions/{discussion}", discussions::get),
        post("/api/discussions/{discussion}/comments", comments::create),
        get("/api/discussions/{discussion}/comments", comments::list),

        post("/api/communities", communities::create),
        get("/api/communities", communities::list),
        get("/api/communities/{community}", communities::get),
        get("/api/communities/{community}/members", members::list),
        post("/api/communities/{community}/join", members::join),
        post("/api/communities/{community}/leave", members::leave),
        put("/api/communities/{community}/members/{user}", members::put),
        post("/api/communities/{community}/manage-member/{user}/{action}", members::manage),

        post("/api/articles", articles::create),
        get("/api/articles/{article}", articles::get),
        post("/api/communities/{community}/articles/{article}/submit", articles::submit),
        post("/api/communities/{community}/articles/{article}/manage/{action}", articles::manage),

        post("/api/realtime/ticket", tickets::create),
    ]
}

/// The method and path of every route that answers with data, demo and health apart.
#[must_use]
pub fn routes() -> Vec<(Method, &'static str)> {
    let table = table().into_iter();
    table.map(|route| (route.method, route.path)).collect()
}

/// The table as a router; `demo` adds the demo's login and page.
pub(crate) fn router(state: Arc<State>) -> Router {
    let mut router = Router::new();
    let demo = if state.demo.is_some() {
        demo_table()
    } else {
        Vec::new()
    };
    for route in table().into_iter().chain(demo) {
        router = router.route(route.path, route.handler);
    }
    router.with_state(state)
}

/// What there is under `demo` alone.
fn demo_table() -> Vec<Route> {
    let mut routes = vec![post("/demo/login", demo::login)];
    routes.extend(page::FILES.iter().map(|file| get(file.path, page::serve)));
    routes
}

fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<State>>) -> Route {
    route(Method::GET, MethodFilter::GET, path, handler)
}

fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<State>>) -> Route {
    route(Method::POST, MethodFilter::POST, path, handler)
}

fn put<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<State>>) -> Route {
    route(Method::PUT, MethodFilter::PUT, path, handler)
}

fn delete<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<State>>) -> Route {
    route(Method::DELETE, MethodFilter::DELETE, path, handler)
}

fn route<T: 'static>(
    method: Method,
    filter: MethodFilter,
    path: &'static str,
    handler: impl Handler<T, Arc<State>>,
) -> Route {
    Route {
        method,
        path,
        handler: on(filter, handler),
    }
}
