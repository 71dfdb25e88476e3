//! JSON from outside, put on one line and otherwise left as it was written: numbers that no machine holds, names that
//! come twice, escapes.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Any JSON value, on one line.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct OneLine(Box<RawValue>);

impl<'de> Deserialize<'de> for OneLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let line = without_white_space(raw.get());
        RawValue::from_string(line)
            .map(Self)
            .map_err(D::Error::custom)
    }
}

impl JsonSchema for OneLine {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "AnyJson".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"description": "Any JSON value; clients get it as it is written here, on one line."})
    }
}

/// The text without the white space between its tokens. It is valid JSON: a line's end stands nowhere else.
fn without_white_space(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    let (mut in_text, mut is_escaped) = (false, false);
    for letter in json.chars() {
        if in_text {
            in_text = is_escaped || letter != '"';
            is_escaped = !is_escaped && letter == '\\';
        } else if matches!(letter, ' ' | '\t' | '\n' | '\r') {
            continue;
        } else {
            in_text = letter == '"';
        }
        line.push(letter);
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tokens of a JSON value, so that white space may stand between any two of them.
    fn tokens() -> impl Strategy<Value = Vec<String>> {
        let escapes = r#"\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|[^"\\\x00-\x1f]|[ :,{}\u{2028}\u{85}]"#;
        let text = prop::collection::vec(escapes, 0..8)
            .prop_map(|parts| format!("\"{}\"", parts.concat()));
        let number = r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,5})?";
        let leaf = prop_oneof![text.clone(), number, "true|false|null",];
        let leaf = leaf.prop_map(|token| vec![token]);
        leaf.prop_recursive(4, 40, 5, move |inner| {
            let member = (text.clone(), inner.clone())
                .prop_map(|(name, value)| [vec![name, ":".to_owned()], value].concat());
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(|items| enclosed("[", items, "]")),
                prop::collection::vec(member, 0..5).prop_map(|items| enclosed("{", items, "}")),
            ]
        })
    }

    fn enclosed(open: &str, items: Vec<Vec<String>>, close: &str) -> Vec<String> {
        let mut tokens = vec![open.to_owned()];
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                tokens.push(",".to_owned());
            }
            tokens.extend(item);
        }
        tokens.push(close.to_owned());
        tokens
    }

    proptest! {
        /// However a value is laid out, it comes out as its tokens, one after the other, and on one line.
        #[test]
        fn white_space_goes_and_nothing_else(
            tokens in tokens(),
            gaps in prop::collection::vec("[ \t\r\n]{0,4}", 1..60),
        ) {
            let spaced: String = tokens
                .iter()
                .zip(gaps.iter().cycle())
                .map(|(token, gap)| format!("{gap}{token}"))
                .collect();
            let value: OneLine = serde_json::from_str(&spaced).unwrap();
            let line = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(&line, &tokens.concat());
            prop_assert!(!line.contains(['\n', '\r']));
            let again: OneLine = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(serde_json::to_string(&again).unwrap(), line);
        }

        #[test]
        fn what_is_no_json_is_refused_as_ever(text in ".{0,40}") {
            let is_json = serde_json::from_str::<Box<RawValue>>(&text).is_ok();
            prop_assert_eq!(serde_json::from_str::<OneLine>(&text).is_ok(), is_json);
        }
    }
}
