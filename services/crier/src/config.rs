//! The whole configuration: every group, as `config.default.toml` documents it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::bail;
use crier_api::config::{ApiConfig, CursorConfig, DatabaseGroup, LimitsConfig, RelayGroup};
use crier_bus::NatsConfig;
use crier_gateway::config::{CorsConfig, GatewayConfig};
use crier_service_kit::auth::AuthConfig;
use crier_service_kit::config::ConfigError;
use crier_service_kit::telemetry::TelemetryConfig;
use serde::Deserialize;

const DEFAULTS: &str = include_str!("../config.default.toml");

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) up: UpConfig,
    pub(crate) api: ApiConfig,
    pub(crate) database: DatabaseGroup,
    pub(crate) nats: NatsConfig,
    pub(crate) relay: RelayGroup,
    pub(crate) limits: LimitsConfig,
    pub(crate) auth: AuthConfig,
    pub(crate) cursor: CursorConfig,
    pub(crate) gateway: GatewayConfig,
    pub(crate) cors: CorsConfig,
    pub(crate) telemetry: TelemetryConfig,
}

/// The group `[up]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpConfig {
    /// The nats-server to start.
    pub(crate) nats_server: Option<PathBuf>,
}

/// Defaults, then the file, then the environment.
///
/// # Errors
/// One sentence that names the key and where its value came from.
pub(crate) fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    crier_service_kit::config::load(DEFAULTS, file)
}

impl Config {
    /// What a service of a fleet can't do without; `crier up` makes it itself.
    ///
    /// # Errors
    /// One sentence that names what is missing.
    pub(crate) fn require_fleet_settings(&self) -> anyhow::Result<()> {
        if self.nats.url.is_empty() {
            bail!("nats.url is not set; give it in the configuration file or as CRIER_NATS__URL");
        }
        if self.cursor.keys.is_empty() {
            bail!(
                "cursor.keys is empty; make a key with `openssl rand -base64 32` and set \
                 CRIER_CURSOR__KEYS='[\"<the key>\"]', the same for the API and all gateways"
            );
        }
        Ok(())
    }

    /// As [`Config::require_fleet_settings`], for what uses the database.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn require_database(&self) -> anyhow::Result<()> {
        if self.database.url.expose().is_empty() {
            bail!(
                "database.url is not set; give it in the configuration file or as CRIER_DATABASE__URL"
            );
        }
        Ok(())
    }

    /// Lets the pages that the API serves open streams.
    pub(crate) fn allow_own_pages(&mut self, api: SocketAddr) {
        let mut hosts = vec![api.to_string()];
        if api.ip().is_loopback() || api.ip().is_unspecified() {
            hosts.extend(["localhost", "127.0.0.1"].map(|host| format!("{host}:{}", api.port())));
        }
        let origins = hosts.into_iter().map(|host| format!("http://{host}"));
        self.cors.allowed_origins.extend(origins);
    }

    /// What the API service is built from.
    pub(crate) fn api_settings(&self) -> crier_api::config::Config {
        crier_api::config::Config {
            api: self.api.clone(),
            database: self.database.clone(),
            nats: self.nats.clone(),
            auth: self.auth.clone(),
            cursor: self.cursor.clone(),
            relay: self.relay.clone(),
            limits: self.limits.clone(),
        }
    }

    /// What a gateway is built from.
    ///
    /// # Errors
    /// When a fleet key can't be read.
    pub(crate) fn gateway_settings(&self) -> anyhow::Result<crier_gateway::Settings> {
        Ok(crier_gateway::Settings {
            gateway: self.gateway.clone(),
            cors: self.cors.clone(),
            auth: self.auth.clone(),
            keys: self.cursor.read()?,
            nats: self.nats.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Config {
        crier_service_kit::config::load_with(DEFAULTS, None, []).unwrap()
    }

    #[test]
    fn the_defaults_are_whole_and_hold_no_usable_secret() {
        let config = defaults();
        assert!(config.auth.secret.is_none() && config.cursor.keys.is_empty());
        assert!(config.require_fleet_settings().is_err());
        assert!(config.require_database().is_err());
        assert!(!config.api.demo);
    }

    #[test]
    fn a_page_may_be_opened_by_either_name_of_this_machine() {
        let mut config = defaults();
        config.allow_own_pages(([127, 0, 0, 1], 8000).into());
        for origin in ["http://127.0.0.1:8000", "http://localhost:8000"] {
            assert!(
                config
                    .cors
                    .allowed_origins
                    .iter()
                    .any(|known| known == origin),
                "{origin}"
            );
        }
    }
}
