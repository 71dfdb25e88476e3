//! Environment variables as configuration: `CRIER_AUTH__AUDIENCE` is `auth.audience`.
//!
//! A variable has no type. It is taken as text, exactly as written (a secret may look like a number),
//! and read as a list, number or boolean only when the field it is for refuses text.

use std::ffi::OsString;

use figment::error::Kind;
use figment::value::{Dict, Value};

use super::ConfigError;

const PREFIX: &str = "CRIER_";
const TEST_PREFIX: &str = "CRIER_TEST_";
/// Whom `crier sync` calls as: no setting of a service, but exported where services are started too.
const TOKEN: &str = "CRIER_TOKEN";
const SEPARATOR: &str = "__";

/// One variable and how it is read at the moment.
pub(super) struct Variable {
    pub(super) name: String,
    path: Vec<String>,
    raw: String,
    reading: Reading,
}

#[derive(Clone, Copy, PartialEq)]
enum Reading {
    Text,
    ListOfText,
    ListOfValues,
    Value,
}

impl Variable {
    /// The value inside one table per part of the key.
    pub(super) fn nested(&self) -> Dict {
        let mut parts = self.path.iter().rev();
        let last = parts.next().cloned().unwrap_or_default();
        let innermost = Dict::from([(last, self.value())]);
        parts.fold(innermost, |inner, part| {
            Dict::from([(part.clone(), Value::from(inner))])
        })
    }

    fn value(&self) -> Value {
        match self.reading {
            Reading::Text => Value::from(self.raw.clone()),
            Reading::Value => parsed(&self.raw),
            Reading::ListOfText => Value::from(self.items().map(unquoted).collect::<Vec<_>>()),
            Reading::ListOfValues => Value::from(self.items().map(parsed).collect::<Vec<_>>()),
        }
    }

    /// The parts of `[a, b]` or `a, b`.
    fn items(&self) -> impl Iterator<Item = &str> {
        let raw = self.raw.trim();
        let inner = raw
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(raw);
        inner
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }
}

fn parsed(text: &str) -> Value {
    // figment's own reading of a variable; it takes what it does not know as text, never failing.
    match text.parse() {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

fn unquoted(item: &str) -> &str {
    item.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(item)
}

/// Those of `environment` that are Crier's settings.
pub(super) fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<Variable>, ConfigError> {
    let mut found = Vec::new();
    for (name, raw) in environment {
        let lossy = name.to_string_lossy().into_owned();
        if !lossy.starts_with(PREFIX) || lossy.starts_with(TEST_PREFIX) || lossy == TOKEN {
            continue;
        }
        let (Ok(name), Ok(raw)) = (name.into_string(), raw.into_string()) else {
            return Err(ConfigError::NotText { name: lossy });
        };
        let key = name.get(PREFIX.len()..).unwrap_or_default().to_lowercase();
        found.push(Variable {
            path: key.split(SEPARATOR).map(str::to_owned).collect(),
            name,
            raw,
            reading: Reading::Text,
        });
    }
    // The environment has no order; which of several errors is told should not change from run to run.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// If `error` is about the type of a variable that has another reading left, takes that one.
pub(super) fn read_anew(variables: &mut [Variable], error: &figment::Error) -> bool {
    let Kind::InvalidType(_, expected) = &error.kind else {
        return false;
    };
    let Some(metadata) = &error.metadata else {
        return false;
    };
    let Some(variable) = variables.iter_mut().find(|one| one.name == metadata.name) else {
        return false;
    };
    variable.reading = match variable.reading {
        Reading::Text if expected.contains("sequence") => Reading::ListOfText,
        Reading::Text => Reading::Value,
        Reading::ListOfText => Reading::ListOfValues,
        Reading::ListOfValues | Reading::Value => return false,
    };
    true
}

/// The variable that sets the key at `path`.
pub(super) fn variable_name(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join(SEPARATOR).to_uppercase())
}
