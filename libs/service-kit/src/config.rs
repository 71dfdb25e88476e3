//! Configuration: embedded TOML defaults, then a file, then `CRIER_<GROUP>__<KEY>` from the environment.
//!
//! Every error is one sentence that names the key, where its value came from and what is expected there.
//! It never repeats the value: it may be a secret.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;

mod duration;
mod env;
mod secret;

pub use duration::{HumanDuration, HumanDurationError};
pub use secret::Secret;

use env::Variable;

const DEFAULTS: &str = "the built-in defaults";

/// Why the configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named by the operator cannot be read.
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file as it was named.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The defaults or the file are not TOML.
    #[error("{origin} is not valid TOML in line {line}: {message}")]
    Syntax {
        /// The file's path, or the built-in defaults.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What the parser expected.
        message: String,
    },
    /// A key is there and its value does not fit.
    #[error("{key}, set in {origin}, {complaint}")]
    Invalid {
        /// The key, its group first, joined by dots.
        key: String,
        /// The variable, the file, or the built-in defaults.
        origin: String,
        /// What is expected.
        complaint: String,
    },
    /// A key without a default was not given.
    #[error("{key} is not set; it is expected in the configuration file or as {variable}")]
    Missing {
        /// The key, its group first, joined by dots.
        key: String,
        /// The environment variable that would set it.
        variable: String,
    },
    /// A variable whose name or value is not text.
    #[error("the environment variable {name} is not valid UTF-8; text is expected")]
    NotText {
        /// The name, with what is not text replaced.
        name: String,
    },
}

/// Loads `T` from the defaults, the file if one is given, and this process's environment.
///
/// `T` and its groups should `deny_unknown_fields`: a misspelt key is then an error wherever it stands.
/// Variables named `CRIER_TEST_*` belong to the tests, `CRIER_TOKEN` to `crier sync`: they are skipped.
///
/// # Errors
/// [`ConfigError`], the first thing found wrong.
pub fn load<T: DeserializeOwned>(defaults: &str, file: Option<&Path>) -> Result<T, ConfigError> {
    load_with(defaults, file, std::env::vars_os())
}

/// As [`load`], with the environment given: for tests, and for tools that check another process's settings.
///
/// # Errors
/// [`ConfigError`], the first thing found wrong.
pub fn load_with<T: DeserializeOwned>(
    defaults: &str,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<T, ConfigError> {
    let mut base = Figment::from(Layer::toml(DEFAULTS, defaults)?);
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        base = base.merge(Layer::toml(&path.display().to_string(), &text)?);
    }
    let mut variables = env::variables(environment)?;
    loop {
        let figment = variables.iter().fold(base.clone(), |figment, variable| {
            figment.merge(Layer::variable(variable))
        });
        match figment.extract::<T>() {
            Ok(config) => return Ok(config),
            // A variable is text until the field it is for turns out to want something else.
            // Each can be read anew at most twice, so this ends.
            Err(error) if env::read_anew(&mut variables, &error) => {}
            Err(error) => return Err(describe(error, &figment)),
        }
    }
}

/// One source of values, so that an error can say which one it was.
struct Layer {
    origin: String,
    values: Dict,
}

impl Layer {
    fn toml(origin: &str, text: &str) -> Result<Self, ConfigError> {
        let values = Toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            ConfigError::Syntax {
                origin: origin.to_owned(),
                line: before.unwrap_or_default().matches('\n').count() + 1,
                message: error.message().replace('\n', ", "),
            }
        })?;
        Ok(Self {
            origin: origin.to_owned(),
            values,
        })
    }

    fn variable(variable: &Variable) -> Self {
        Self {
            origin: variable.name.clone(),
            values: variable.nested(),
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn describe(error: figment::Error, figment: &Figment) -> ConfigError {
    let mut path = error.path;
    if let Kind::UnknownField(name, _) = &error.kind
        && path.last() != Some(name)
    {
        path.push(name.clone());
    }
    if let Kind::MissingField(name) = &error.kind {
        path.push(name.to_string());
        return ConfigError::Missing {
            variable: env::variable_name(&path),
            key: path.join("."),
        };
    }
    let key = path.join(".");
    let origin = figment
        .find_metadata(&key)
        .or(error.metadata.as_ref())
        .map_or_else(|| DEFAULTS.to_owned(), |metadata| metadata.name.to_string());
    let complaint = match error.kind {
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => {
            format!("must be {expected}")
        }
        Kind::InvalidLength(_, expected) => format!("must have {expected}"),
        Kind::UnknownVariant(_, known) => format!("must be one of: {}", known.join(", ")),
        Kind::UnknownField(_, []) => "is not a setting".to_owned(),
        Kind::UnknownField(_, known) => {
            format!("is not a setting; known here: {}", known.join(", "))
        }
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => "is out of range".to_owned(),
        Kind::Message(message) => message,
        other => other.to_string(),
    };
    ConfigError::Invalid {
        key,
        origin,
        complaint,
    }
}

#[cfg(test)]
mod tests;
