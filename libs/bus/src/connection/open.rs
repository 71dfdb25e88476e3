//! Opening the connection: at once with a clear refusal, or in the background for as long as it takes.

use std::cmp::min;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::monitor::{self, Events};
use super::{Bus, ConnectionState, Inner};
use crate::call::CALL_TIMEOUT;
use crate::config::NatsConfig;
use crate::log::publish::{ACK_TIMEOUT, MAX_UNANSWERED};

/// Older servers lack per-message time to live, or haven't been tried.
const OLDEST: (i64, i64, i64) = (2, 12, 0);

/// A server that stands still is noticed after the third of these.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// One attempt at one address.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// Messages that one subscription holds for us; more than the spine ever has on its way.
const SUBSCRIPTION_CAPACITY: usize = 16_384;
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// Why there is no connection to begin with.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is none.
    #[error("nats.url is not an address such as nats://127.0.0.1:4222")]
    Address(#[source] std::io::Error),
    /// The credentials file is missing or not one.
    #[error("the NATS credentials file {path} can't be used")]
    Credentials {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server is there and doesn't want us.
    #[error("NATS at {servers} refuses these credentials")]
    Refused {
        /// Where.
        servers: String,
        /// The client library's word for it.
        #[source]
        source: async_nats::ConnectError,
    },
    /// Nobody is there, or nobody answers.
    #[error("NATS at {servers} can't be reached: no connection within {} ms", .within.as_millis())]
    Unreachable {
        /// Where.
        servers: String,
        /// How long it was tried.
        within: Duration,
        /// The last failure; none if the first attempt didn't end.
        #[source]
        source: Option<async_nats::ConnectError>,
    },
    /// It is not the NATS we need.
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// The server is older than what the log needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the NATS server is version {found}, and Crier needs 2.12 or newer")]
pub struct VersionError {
    /// Its version.
    pub found: String,
}

impl Bus {
    /// Connects, trying for [`NatsConfig::connect_timeout`]. Later the connection is found again for ever.
    /// `client_name` is shown in the server's lists of connections.
    ///
    /// # Errors
    /// At once when the configuration or the server refuses, else after the timeout.
    pub async fn connect(config: &NatsConfig, client_name: &str) -> Result<Self, ConnectError> {
        let servers = config.servers().map_err(ConnectError::Address)?;
        let events = Arc::new(Events::default());
        let deadline = Instant::now() + config.connect_timeout;
        let mut last = None;
        for attempt in 1.. {
            let options = options(config, &servers, client_name, &events).await?;
            match timeout_at(deadline, options.connect(servers.as_slice())).await {
                Ok(Ok(client)) => {
                    check_version(&client)?;
                    return Ok(Self::over(client, events));
                }
                Ok(Err(source)) if is_refusal(source.kind()) => {
                    let servers = config.shown();
                    return Err(ConnectError::Refused { servers, source });
                }
                Ok(Err(error)) => last = Some(error),
                Err(_) => break,
            }
            let next = Instant::now() + backoff(attempt);
            if next >= deadline {
                break;
            }
            sleep_until(next).await;
        }
        Err(ConnectError::Unreachable {
            servers: config.shown(),
            within: config.connect_timeout,
            source: last,
        })
    }

    /// Gives a bus at once and connects in the background, for as long as it takes: for a service that must start
    /// without NATS.
    ///
    /// # Errors
    /// Only for what is wrong with the configuration.
    pub async fn connect_lazily(
        config: &NatsConfig,
        client_name: &str,
    ) -> Result<Self, ConnectError> {
        let servers = config.servers().map_err(ConnectError::Address)?;
        let events = Arc::new(Events::default());
        let options = options(config, &servers, client_name, &events)
            .await?
            .retry_on_initial_connect();
        let client = options.connect(servers.as_slice()).await;
        let client = client.map_err(|error| ConnectError::Unreachable {
            servers: config.shown(),
            within: Duration::ZERO,
            source: Some(error),
        })?;
        Ok(Self::over(client, events))
    }

    /// Whether the server is new enough; true as long as there is none.
    ///
    /// # Errors
    /// With its version if it is too old.
    pub fn check_server(&self) -> Result<(), VersionError> {
        check_version(self.client())
    }

    fn over(client: Client, events: Arc<Events>) -> Self {
        let jetstream = ContextBuilder::new()
            .timeout(CALL_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .max_ack_inflight(MAX_UNANSWERED)
            .backpressure_on_inflight(false)
            .build(client.clone());
        let (sender, state) = watch::channel(ConnectionState::of(&client));
        let stop = CancellationToken::new();
        tokio::spawn(monitor::run(
            client.clone(),
            Arc::clone(&events),
            sender,
            stop.clone(),
        ));
        Self {
            inner: Arc::new(Inner {
                client,
                jetstream,
                state,
                events,
                _monitor: stop.drop_guard(),
            }),
        }
    }
}

pub(super) fn check_version(client: &Client) -> Result<(), VersionError> {
    let (major, minor, patch) = OLDEST;
    match client.try_server_info() {
        Some(info) if !client.is_server_compatible(major, minor, patch) => Err(VersionError {
            found: info.version,
        }),
        _ => Ok(()),
    }
}

fn is_refusal(kind: ConnectErrorKind) -> bool {
    matches!(
        kind,
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication
    )
}

async fn options(
    config: &NatsConfig,
    servers: &[ServerAddr],
    client_name: &str,
    events: &Arc<Events>,
) -> Result<ConnectOptions, ConnectError> {
    let events = Arc::clone(events);
    let options = ConnectOptions::new()
        .name(config.name.as_deref().unwrap_or(client_name))
        .connection_timeout(min(config.connect_timeout, ATTEMPT_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .request_timeout(Some(CALL_TIMEOUT))
        .max_reconnects(None)
        .reconnect_delay_callback(backoff)
        .event_callback(move |event| {
            events.take(&event);
            std::future::ready(())
        });
    identify(options, config, servers).await
}

/// Says who we are. The client library leaves what stands in an address unused.
async fn identify(
    options: ConnectOptions,
    config: &NatsConfig,
    servers: &[ServerAddr],
) -> Result<ConnectOptions, ConnectError> {
    if let Some(path) = &config.credentials_file {
        let failed = |source| ConnectError::Credentials {
            path: path.clone(),
            source,
        };
        let text = tokio::fs::read_to_string(path).await.map_err(failed)?;
        return options.credentials(&text).map_err(failed);
    }
    if let Some(user) = &config.user {
        let password = config.password.clone().unwrap_or_default();
        return Ok(options.user_and_password(user.clone(), password));
    }
    if let Some(token) = &config.token {
        return Ok(options.token(token.clone()));
    }
    let in_url = servers
        .iter()
        .find_map(|server| Some((server.username()?, server.password())));
    Ok(match in_url {
        Some((user, Some(password))) => options.user_and_password(decoded(user), decoded(password)),
        Some((token, None)) => options.token(decoded(token)),
        None => options,
    })
}

/// Undoes the percent-encoding of an address.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let hex = after.get(..2).map(|hex| u8::from_str_radix(hex, 16));
        if let Some(Ok(byte)) = hex {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(b'%');
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How long to wait before an attempt: nearly nothing before the first, then twice as long each time up to two
/// seconds, and never the same for two clients that lost the same server.
fn backoff(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    let ceiling = if attempt <= 1 {
        Duration::from_millis(20)
    } else {
        min(
            Duration::from_millis(25).saturating_mul(2_u32.saturating_pow(doublings)),
            LONGEST_BACKOFF,
        )
    };
    ceiling.mul_f64(rand::random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_an_address_is_decoded() {
        for (encoded, plain) in [
            ("plain", "plain"),
            ("p%40ss%25", "p@ss%"),
            ("%C3%A9", "é"),
            ("100%", "100%"),
            ("%zz%é", "%zz%é"),
        ] {
            assert_eq!(decoded(encoded), plain);
        }
    }

    #[test]
    fn the_backoff_grows_to_its_limit_and_is_never_the_same() {
        assert!(backoff(0) <= Duration::from_millis(20));
        assert!(backoff(1) <= Duration::from_millis(20));
        for attempt in [7, 8, 100, usize::MAX] {
            let wait = backoff(attempt);
            assert!(
                wait >= LONGEST_BACKOFF / 4 && wait <= LONGEST_BACKOFF,
                "{wait:?}"
            );
        }
        let waits: std::collections::HashSet<_> = (0..20).map(|_| backoff(9)).collect();
        assert!(waits.len() > 1);
    }
}
