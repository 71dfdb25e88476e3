//! The API's side: connections that call again as soon as they are answered.

use std::time::{Duration, Instant};

use anyhow::ensure;
use crier_testkit::HttpClient;
use serde_json::json;

use super::bare::{COMMENT, Call};
use super::world::{Place, World};
use super::{Arguments, Spread};

/// Places that one round may use of a user's, so that each subscribe is a new one.
pub(super) const ROUND: i64 = 330;

/// One measurement.
pub(super) struct Load<'w> {
    world: &'w World,
    call: Call,
    spread: Spread,
    round: usize,
}

impl<'w> Load<'w> {
    pub(super) fn new(world: &'w World, call: Call, spread: Spread, round: usize) -> Self {
        Self {
            world,
            call,
            spread,
            round,
        }
    }

    /// Calls a second.
    pub(super) async fn run(&self, arguments: &Arguments) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let until = begun + Duration::from_secs(arguments.seconds);
        let first = i64::try_from(self.round)? * ROUND;
        let mut tasks = Vec::new();
        for user in 1..=i64::try_from(arguments.connections)? {
            let client = self.world.client(user)?;
            let (call, spread) = (self.call, self.spread);
            let places: Vec<(Place, i64)> = (first..first + ROUND)
                .map(|number| {
                    // Each begins elsewhere, or all would be at the same place at once.
                    let number = number + user * 31;
                    (
                        Place::new(spread, number),
                        self.world.discussion(spread, number),
                    )
                })
                .collect();
            tasks.push(tokio::spawn(async move {
                let mut done = 0_u32;
                while Instant::now() < until {
                    let at = usize::try_from(done)? % places.len();
                    ensure!(
                        call != Call::Subscribe || at == usize::try_from(done)?,
                        "a round needs more than {ROUND} places: measure fewer seconds"
                    );
                    let (place, discussion) = places[at];
                    self::call(&client, call, place, discussion).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            }));
        }
        let mut all = 0.0;
        for task in tasks {
            all += f64::from(task.await??);
        }
        Ok(all / begun.elapsed().as_secs_f64())
    }
}

/// Makes one call, which has to succeed.
pub(super) async fn call(
    client: &HttpClient,
    call: Call,
    place: Place,
    discussion: i64,
) -> anyhow::Result<()> {
    let Place { community, article } = place;
    let (answer, expected) = match call {
        Call::Subscribe => {
            let body = json!({"community_article_id": article, "community_id": community});
            let answer = client.post("/api/discussions/subscribe/", &body).await;
            (answer, 201)
        }
        Call::Comment => {
            let path = format!("/api/discussions/{discussion}/comments/");
            (client.post(&path, &json!({"content": COMMENT})).await, 201)
        }
        Call::Status => {
            let path = format!(
                "/api/discussions/subscription-status/?community_article_id={article}&community_id={community}"
            );
            (client.get(&path).await, 200)
        }
    };
    ensure!(
        answer.status == expected,
        "{call:?}: {} {}",
        answer.status,
        answer.text()
    );
    Ok(())
}
