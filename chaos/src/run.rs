//! One seed: start the system, let everybody do something while things break, mend all, wait until nothing is missing,
//! judge.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crier_oracle::journal::{Caller, Journal};
use crier_oracle::{Judgement, judge, overdue, timeline};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::actors;
use crate::api::Api;
use crate::client::Reader;
use crate::faults::Hands;
use crate::groups::{COMMUNITIES, Group, USERS};
use crate::paths::{Figures, Paths};
use crate::plan::Plan;
use crate::recorder::Recorder;
use crate::system::System;

/// After everything is mended, what is missing may take this long: clients that were told to wait, back-offs, leases.
const SETTLE: Duration = Duration::from_secs(90);
/// What a mistake on purpose loses does not come.
const SETTLE_SABOTAGED: Duration = Duration::from_secs(20);
/// Then what must not come may still come.
const GRACE: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Clients of a user at most; each has at least one.
const CLIENTS: u64 = 2;

/// Verdicts told in full.
const TOLD: usize = 20;

/// What came of a seed.
pub(crate) struct Outcome {
    pub(crate) judgement: Judgement,
    pub(crate) figures: Figures,
    /// Faults by kind.
    pub(crate) faults: BTreeMap<String, usize>,
    /// Where the timeline is, if something is wrong.
    pub(crate) told: Option<PathBuf>,
}

/// Those who do something while things break.
struct Actors {
    tasks: JoinSet<anyhow::Result<()>>,
    over: watch::Sender<bool>,
}

/// Runs one seed. Logs, and a timeline if something is wrong, go into `folder`.
///
/// # Errors
/// When the run itself fails: a process that does not come up, or ended by itself.
pub(crate) async fn seed(
    plan: &Plan,
    sabotage: Option<&str>,
    folder: &Path,
) -> anyhow::Result<Outcome> {
    let logs = folder.join(format!("seed-{}-logs", plan.seed));
    let _ = std::fs::remove_dir_all(&logs);
    std::fs::create_dir_all(&logs)?;
    let recorder = Recorder::new();
    let system = System::start(plan, sabotage, &logs).await?;
    let api = Api::new(
        system.apis.iter().map(crate::system::Server::url),
        recorder.clone(),
    )?;
    let groups = found(&api, plan).await?;

    let mut actors = Actors {
        tasks: JoinSet::new(),
        over: watch::Sender::new(false),
    };
    let mut readers = JoinSet::new();
    let gateways: Vec<String> = system
        .gateways
        .iter()
        .map(crate::system::Server::url)
        .collect();
    let clients = open_streams(&mut readers, &api, plan, &gateways)?;
    let managers = actors.start(&api, &groups, plan, &clients);
    let hands = Arc::new(Hands {
        system,
        api,
        groups,
        managers,
        clients,
    });
    let paths = Paths::default();
    let mut watching = JoinSet::new();
    watching.spawn_local(paths.clone().watch(Arc::clone(&hands)));

    let broken = break_things(&hands, plan).await;
    actors.stop().await?;
    broken?;
    finish(&hands, plan).await?;
    let patience = if sabotage.is_some() {
        SETTLE_SABOTAGED
    } else {
        SETTLE
    };
    settle(&hands, &recorder, patience).await?;
    paths.look(&hands).await;
    drop(readers);
    for server in hands.system.servers() {
        server.runs()?;
    }
    conclude(plan, folder, &recorder.journal_now(), paths.all())
}

async fn found(api: &Arc<Api>, plan: &Plan) -> anyhow::Result<Vec<Arc<Group>>> {
    let mut rng = plan.chance(1);
    // A user is known to Crier from their first call on.
    for user in 1..=USERS {
        let hello = crate::groups::user_call(
            user,
            http::Method::GET,
            "/api/communities/",
            serde_json::Value::Null,
        );
        api.granted(&hello, &mut rng).await?;
    }
    let mut groups = Vec::new();
    for number in 0..COMMUNITIES {
        groups.push(Arc::new(Group::found(api, number, &mut rng).await?));
    }
    Ok(groups)
}

fn open_streams(
    readers: &mut JoinSet<()>,
    api: &Api,
    plan: &Plan,
    gateways: &[String],
) -> anyhow::Result<Vec<mpsc::Sender<crate::client::Order>>> {
    let mut orders = Vec::new();
    for user in 1..=USERS {
        for number in 0..CLIENTS {
            let actor = u64::try_from(user)? * CLIENTS + number;
            let (order, given) = mpsc::channel(2);
            let reader = Reader {
                name: format!("{user}/{number}"),
                user,
                token: api.token(Caller::User(user))?,
                gateways: gateways.to_vec(),
                orders: given,
                recorder: api.recorder.clone(),
                rng: plan.chance(1_000 + actor),
            };
            readers.spawn_local(reader.run());
            orders.push(order);
        }
    }
    Ok(orders)
}

impl Actors {
    fn start(
        &mut self,
        api: &Arc<Api>,
        groups: &[Arc<Group>],
        plan: &Plan,
        clients: &[mpsc::Sender<crate::client::Order>],
    ) -> Vec<mpsc::Sender<actors::TwoChanges>> {
        let mut managers = Vec::new();
        for (group, number) in groups.iter().zip(0..) {
            let (ask, asked) = mpsc::channel(1);
            managers.push(ask);
            let (api, group) = (Arc::clone(api), Arc::clone(group));
            self.tasks.spawn_local(actors::manage(
                Arc::clone(&api),
                Arc::clone(&group),
                asked,
                self.over.subscribe(),
                plan.chance(100 + number),
            ));
            for writer in 0..2 {
                let (over, rng) = (
                    self.over.subscribe(),
                    plan.chance(200 + number * 10 + writer),
                );
                self.tasks.spawn_local(actors::keep_writing(
                    Arc::clone(&api),
                    Arc::clone(&group),
                    over,
                    rng,
                ));
            }
        }
        let (clients, over, rng) = (clients.to_vec(), self.over.subscribe(), plan.chance(300));
        self.tasks.spawn_local(async move {
            actors::move_clients(clients, over, rng).await;
            Ok(())
        });
        managers
    }

    /// Has all of them end; the error of one that failed by itself.
    async fn stop(mut self) -> anyhow::Result<()> {
        self.over.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("an actor")?.context("an actor")?;
        }
        Ok(())
    }
}

/// Commits the plan's faults, each at its time, and waits until the run's length is over and all is mended.
async fn break_things(hands: &Arc<Hands>, plan: &Plan) -> anyhow::Result<()> {
    let mut faults = JoinSet::new();
    for (fault, number) in plan.faults.iter().copied().zip(0..) {
        let (hands, rng) = (Arc::clone(hands), plan.chance(400 + number));
        faults.spawn_local(async move {
            tokio::time::sleep(fault.at).await;
            hands.commit(fault, rng).await.context(fault.kind.name())
        });
    }
    tokio::time::sleep(plan.length).await;
    while let Some(done) = faults.join_next().await {
        done.context("a fault")??;
    }
    Ok(())
}

/// The last words: everybody who is a member has something to get.
async fn finish(hands: &Hands, plan: &Plan) -> anyhow::Result<()> {
    let mut rng = plan.chance(500);
    for group in &hands.groups {
        actors::tell_all(&hands.api, group, false, &mut rng).await?;
    }
    Ok(())
}

/// Waits until nobody misses anything, or for long enough.
async fn settle(hands: &Hands, recorder: &Recorder, patience: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        let journal = recorder.journal_now();
        let missing = tokio::task::spawn_blocking(move || overdue(&journal)).await?;
        if missing.map_err(anyhow::Error::msg)? == 0 {
            break;
        }
        for server in hands.system.servers() {
            server.runs()?;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    tokio::time::sleep(GRACE).await;
    Ok(())
}

fn conclude(
    plan: &Plan,
    folder: &Path,
    journal: &Journal,
    figures: Figures,
) -> anyhow::Result<Outcome> {
    let judgement = judge(journal).map_err(anyhow::Error::msg)?;
    let mut faults = BTreeMap::new();
    for fault in &journal.faults {
        *faults.entry(fault.kind.clone()).or_default() += 1;
    }
    let mut told = None;
    if !judgement.verdicts.is_empty() {
        let file = folder.join(format!("seed-{}.txt", plan.seed));
        std::fs::write(&file, tell(plan, journal, &judgement))?;
        let journal = serde_json::to_vec(journal)?;
        std::fs::write(folder.join(format!("seed-{}.json", plan.seed)), journal)?;
        told = Some(file);
    }
    Ok(Outcome {
        judgement,
        figures,
        faults,
        told,
    })
}

/// The plan, a line for each verdict, and timelines of the first.
fn tell(plan: &Plan, journal: &Journal, judgement: &Judgement) -> String {
    let mut text = format!("{plan:#?}\n\n");
    for verdict in &judgement.verdicts {
        let event = verdict.event.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "{:?} {} {event}: {}",
            verdict.wrong, verdict.client, verdict.why
        );
    }
    for verdict in judgement.verdicts.iter().take(TOLD) {
        let _ = write!(text, "\n{}", timeline(journal, verdict));
    }
    text
}
