//! How to reach NATS, as it stands in a service's configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;
use serde::{Deserialize, Deserializer, de};

/// Where NATS is and who we are there. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsConfig {
    /// One address or several with commas between: `nats://127.0.0.1:4222`. It may carry `token@` or
    /// `user:password@`, which the fields below override.
    pub url: String,
    /// A token.
    pub token: Option<String>,
    /// A user, with [`password`](Self::password).
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// A `.creds` file: a JWT with its key.
    pub credentials_file: Option<PathBuf>,
    /// The connection's name in the server's lists, in place of the service's own.
    pub name: Option<String>,
    /// How long a first connection is tried for: `5s`, `500ms` or `1m`.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            token: None,
            user: None,
            password: None,
            credentials_file: None,
            name: None,
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl NatsConfig {
    /// The defaults with this address.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// The addresses, if all can be read.
    pub(crate) fn servers(&self) -> io::Result<Vec<ServerAddr>> {
        self.url.split(',').map(|url| server(url.trim())).collect()
    }

    /// The addresses without secrets, for people to read.
    pub(crate) fn shown(&self) -> String {
        let shown: Vec<String> = match self.servers() {
            Ok(servers) => servers
                .iter()
                .map(|server| format!("{}:{}", server.host(), server.port()))
                .collect(),
            // It may be the secret that makes it unreadable.
            Err(_) => vec!["(an address that can't be read)".to_owned()],
        };
        shown.join(", ")
    }
}

impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        f.debug_struct("NatsConfig")
            .field("url", &self.shown())
            .field("token", &hidden(&self.token))
            .field("user", &self.user)
            .field("password", &hidden(&self.password))
            .field("credentials_file", &self.credentials_file)
            .field("name", &self.name)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// One address. The client library would take one without a host, and talk plain NATS to a WebSocket.
fn server(url: &str) -> io::Result<ServerAddr> {
    let server: ServerAddr = url.parse()?;
    if server.host().is_empty() || server.is_websocket() {
        let told = "an address is nats:// or tls:// with a host";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
    }
    Ok(server)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .ok_or_else(|| de::Error::custom(format!("no duration such as 500ms, 5s or 1m: {text:?}")))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit_ms = match text.get(digits.len()..)? {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    let number: u32 = digits.parse().ok()?;
    Some(Duration::from_millis(u64::from(number) * unit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<NatsConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn what_is_not_given_has_its_default_and_what_is_unknown_is_refused() {
        assert_eq!(read("{}").unwrap(), NatsConfig::default());
        let config = read(r#"{"url":"nats://a:1, b:2","connect_timeout":"250ms"}"#).unwrap();
        assert_eq!(config.connect_timeout, Duration::from_millis(250));
        assert_eq!(config.servers().unwrap().len(), 2);
        assert_eq!(config.shown(), "a:1, b:2");
        assert!(read(r#"{"urls":"nats://a"}"#).is_err());
    }

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(parse_duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        for bad in [
            "",
            "5",
            "s",
            "5h",
            "-1s",
            "1.5s",
            "5 s",
            "99999999999s",
            "5ß",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = NatsConfig {
            token: Some("hush-token".to_owned()),
            password: Some("hush-password".to_owned()),
            ..NatsConfig::at("nats://hush-user:hush-url@h:1,hush-url2@i:2")
        };
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush"), "{shown}");
        let unreadable = format!("{:?}", NatsConfig::at("nats://hush@h:port"));
        assert!(!unreadable.contains("hush"), "{unreadable}");
    }
}
