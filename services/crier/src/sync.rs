//! `crier sync`: a file of changes on its way to the API service, which answers while it reads.

mod answer;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use crier_service_kit::config::Secret;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use crate::services::runtime;
use crate::up::DEFAULT_DATA_DIR;
use crate::{config, token};
use answer::{Outcome, follow};

/// For a connection to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// The API service says something once a second, at the latest when it has got through with a batch.
const SILENCE: Duration = Duration::from_secs(60);
/// A token of our own making: it is looked at when the call begins, and not again.
const TOKEN_TTL: Duration = Duration::from_secs(300);
/// How much is read at a time.
const READ: usize = 64 * 1024;
/// The longest line of an answer, or problem in place of one.
const LONGEST: usize = 64 * 1024;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The changes, one line of JSON for each; `-` for what is piped in. docs/INTEGRATION.md says what lines there are.
    file: PathBuf,
    /// Where the API service is; itself rather than a proxy, which may not pass on an answer that has begun.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    api: Uri,
    /// A file with a service token; else CRIER_TOKEN holds one, else it is signed as `crier token` does.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where `crier up` keeps its secret, used if neither a token nor a secret is given.
    #[arg(long, default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
}

pub(crate) fn run(config: Option<&Path>, arguments: &Arguments) -> anyhow::Result<()> {
    let call = Call {
        to: endpoint(&arguments.api)?,
        token: token_for(config, arguments)?,
    };
    let (file, length) = open(&arguments.file)?;
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let runtime = runtime()?;
    let outcome = runtime.block_on(call.send(file, bar.with_style(style(length)?)));
    // What is piped in is read by a thread that can't be stopped; nothing is to be waited for.
    runtime.shutdown_background();
    outcome?.say()
}

/// Where the changes go.
fn endpoint(api: &Uri) -> anyhow::Result<Uri> {
    let (Some("http" | "https"), Some(host)) = (api.scheme_str(), api.authority()) else {
        bail!("--api is to be a URL with http:// or https://, such as http://127.0.0.1:8000");
    };
    if host.as_str().contains('@') {
        bail!("--api takes no user name or password; the call is made with a service token");
    }
    let base = api.to_string();
    let whole = format!("{}/api/sync/", base.trim_end_matches('/'));
    whole.parse().context("--api is no usable URL")
}

/// The file, and how long it is, where that is known.
fn open(path: &Path) -> anyhow::Result<(File, Option<u64>)> {
    let opened = if path == Path::new("-") {
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.with_context(|| format!("{} can't be read", path.display()))?;
    if metadata.is_dir() {
        bail!(
            "{} is a directory; name a file of lines of JSON",
            path.display()
        );
    }
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

/// The token given, or one of our own making.
fn token_for(config: Option<&Path>, arguments: &Arguments) -> anyhow::Result<Secret> {
    let given = match &arguments.token_file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            Some(read.with_context(|| format!("the token file {} can't be read", path.display()))?)
        }
        None => std::env::var("CRIER_TOKEN")
            .ok()
            .filter(|token| !token.is_empty()),
    };
    if let Some(token) = given {
        return Ok(Secret::new(token.trim()));
    }
    let config = config::load(config)?;
    let signer = token::signer(&config, &arguments.data_dir)
        .context("no token is given, as CRIER_TOKEN or --token-file, and none can be signed")?;
    Ok(Secret::new(signer.sign_service(TOKEN_TTL)?))
}

/// One call of `POST /api/sync`.
struct Call {
    to: Uri,
    token: Secret,
}

impl Call {
    /// Sends what the file holds, and follows the answer to its end.
    async fn send(&self, file: File, bar: ProgressBar) -> anyhow::Result<Outcome> {
        let sent = bar.clone();
        let file = ReaderStream::with_capacity(tokio::fs::File::from_std(file), READ)
            .inspect_ok(move |part| sent.inc(part.len() as u64));
        // The service says whether it takes the call before it reads. Whoever sends on while a call is being refused
        // finds the connection closed, and the refusal lost with it.
        let (go, taken) = oneshot::channel();
        let body = async {
            match taken.await {
                Ok(()) => file.left_stream(),
                Err(_) => stream::empty().right_stream(),
            }
        };
        let body = body.flatten_stream();
        let mut plain = HttpConnector::new();
        plain.set_connect_timeout(Some(CONNECT));
        let answer = if self.to.scheme_str() == Some("https") {
            plain.enforce_http(false);
            let provider = rustls::crypto::ring::default_provider();
            let secured = HttpsConnectorBuilder::new()
                .with_provider_and_native_roots(provider)
                .context("this machine's certificate authorities can't be read")?
                .https_only()
                .enable_http1()
                .wrap_connector(plain);
            self.request(secured, body).await?
        } else {
            self.request(plain, body).await?
        };
        if answer.status() == StatusCode::OK {
            // If nobody waits for it any more, the connection is gone, which the answer will say.
            let _ = go.send(());
        }
        follow(answer, &bar).await
    }

    async fn request<C, S>(&self, connector: C, body: S) -> anyhow::Result<Response<Incoming>>
    where
        C: Connect + Clone + Send + Sync + 'static,
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let request = Request::post(&self.to)
            .header(AUTHORIZATION, format!("Bearer {}", self.token.expose()))
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(StreamBody::new(Box::pin(body.map_ok(Frame::data))))
            .context("the token is none: it holds what no header can")?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let answered = timeout(SILENCE, client.request(request)).await;
        let silent = || {
            format!(
                "{} did not answer within {SILENCE:?}; --api is to be the API service itself, not a proxy",
                self.to
            )
        };
        answered
            .with_context(silent)?
            .with_context(|| format!("{} can't be reached; is the API service up?", self.to))
    }
}

/// Drawn on a terminal alone.
fn style(length: Option<u64>) -> anyhow::Result<ProgressStyle> {
    let template = if length.is_some() {
        "{bar:30} {bytes}/{total_bytes} {msg} {eta} left"
    } else {
        "{spinner} {bytes} {msg}"
    };
    Ok(ProgressStyle::with_template(template)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_to_the_api_wherever_it_is() {
        let cases = [
            (
                "http://127.0.0.1:8000",
                Some("http://127.0.0.1:8000/api/sync/"),
            ),
            ("https://crier.test/", Some("https://crier.test/api/sync/")),
            (
                "https://a.test/crier",
                Some("https://a.test/crier/api/sync/"),
            ),
            ("127.0.0.1:8000", None),
            ("ftp://127.0.0.1", None),
            ("/api", None),
            ("http://me:secret@a.test", None),
        ];
        for (api, expected) in cases {
            let to = endpoint(&api.parse().unwrap()).ok();
            assert_eq!(to.map(|to| to.to_string()).as_deref(), expected, "{api}");
        }
    }
}
