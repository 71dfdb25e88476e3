//! The readers as the measurement sees them: the client's process, its orders and answers.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::wire::{Answer, Collected, Connect, Connected, Order};

/// Beyond what an order itself may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A client process, killed when dropped.
pub(crate) struct Readers {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Readers {
    /// By HTTP/1.1, or by HTTP/2 over TLS to a server with this certificate.
    pub(super) fn start(certificate: Option<&Path>) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("readers")
            .args(certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            orders: child.stdin.take().context("a pipe was asked for")?,
            answers: BufReader::new(child.stdout.take().context("a pipe was asked for")?).lines(),
            child,
        })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    async fn order(&mut self, order: &Order) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).await?;
        Ok(self.orders.flush().await?)
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        let line = tokio::time::timeout(PATIENCE, self.answers.next_line());
        let line = line.await.context("the readers don't answer")??;
        Ok(serde_json::from_str(
            &line.context("the readers have ended")?,
        )?)
    }

    pub(super) async fn connect(&mut self, connect: Connect) -> anyhow::Result<Connected> {
        self.order(&Order::Connect(connect)).await?;
        match self.answer().await? {
            Answer::Connected(done) => Ok(done),
            other => bail!("not what was asked for: {other:?}"),
        }
    }

    /// What has come since it was last asked, once it is this much or the time is over.
    pub(super) async fn collect(
        &mut self,
        frames: u64,
        patience: Duration,
    ) -> anyhow::Result<Collected> {
        let patience_ms = u64::try_from(patience.as_millis())?;
        self.order(&Order::Collect {
            frames,
            patience_ms,
        })
        .await?;
        match self.answer().await? {
            Answer::Collected(seen) => Ok(*seen),
            other => bail!("not what was asked for: {other:?}"),
        }
    }

    pub(super) async fn leave(&mut self, keep: usize) -> anyhow::Result<usize> {
        self.order(&Order::Leave { keep }).await?;
        match self.answer().await? {
            Answer::Left { open } => Ok(open),
            other => bail!("not what was asked for: {other:?}"),
        }
    }
}
