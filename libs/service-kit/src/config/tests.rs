//! What loading accepts, and the sentences it refuses with.

use std::io::Write;
use std::time::Duration;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

const DEFAULT_TEXT: &str = r#"
[http]
port = 8000
timeout = "30s"
origins = []
verbose = false

[auth]
audience = "crier"
"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    http: HttpGroup,
    auth: AuthGroup,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpGroup {
    port: u16,
    timeout: HumanDuration,
    origins: Vec<String>,
    #[serde(default)]
    numbers: Option<Vec<u32>>,
    verbose: bool,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Pretty,
    Json,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthGroup {
    secret: Option<Secret>,
    audience: String,
}

fn with_env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    with_file_and_env(None, pairs)
}

fn with_file_and_env(file: Option<&str>, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let written = file.map(|text| {
        let mut file = tempfile::Builder::new()
            .prefix("crier")
            .suffix(".toml")
            .tempfile()
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    });
    load_with(
        DEFAULT_TEXT,
        written.as_ref().map(|file| file.path()),
        pairs
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value))),
    )
}

fn sentence(result: Result<Config, ConfigError>) -> String {
    let sentence = result.unwrap_err().to_string();
    assert!(!sentence.contains('\n'), "not one line: {sentence}");
    sentence
}

#[test]
fn later_sources_win_key_by_key() {
    let file = "[http]\nport = 9000\ntimeout = \"1m\"\n";
    let config = with_file_and_env(Some(file), &[("CRIER_HTTP__PORT", "9001")]).unwrap();
    assert_eq!(config.http.port, 9001);
    assert_eq!(config.http.timeout.get(), Duration::from_secs(60));
    assert_eq!(config.auth.audience, "crier");
}

#[test]
fn variables_take_the_type_of_their_field() {
    let config = with_env(&[
        (
            "CRIER_HTTP__ORIGINS",
            "https://a.example, https://b.example",
        ),
        ("CRIER_HTTP__NUMBERS", "[1,2]"),
        ("CRIER_HTTP__VERBOSE", "true"),
        ("CRIER_HTTP__FORMAT", "json"),
        ("CRIER_AUTH__AUDIENCE", "0012"),
        ("CRIER_AUTH__SECRET", "00000000000000000000000000000001"),
        ("UNRELATED", "1"),
    ])
    .unwrap();
    assert_eq!(
        config.http.origins,
        ["https://a.example", "https://b.example"]
    );
    assert_eq!(config.http.numbers, Some(vec![1, 2]));
    assert!(config.http.verbose);
    assert_eq!(config.http.format, Format::Json);
    assert_eq!(config.auth.audience, "0012");
    assert_eq!(
        config.auth.secret.unwrap().expose(),
        "00000000000000000000000000000001"
    );
}

#[test]
fn lists_may_be_written_both_ways() {
    for (written, read) in [
        ("[a,b]", vec!["a", "b"]),
        ("a,b", vec!["a", "b"]),
        ("[\"a\", \"7\"]", vec!["a", "7"]),
        ("7", vec!["7"]),
        ("[]", vec![]),
        ("", vec![]),
    ] {
        let config = with_env(&[("CRIER_HTTP__ORIGINS", written)]).unwrap();
        assert_eq!(config.http.origins, read, "{written}");
    }
}

#[test]
fn a_wrong_variable_is_named_with_what_it_should_be() {
    for (name, value, expected) in [
        (
            "CRIER_HTTP__PORT",
            "eighty",
            "http.port, set in CRIER_HTTP__PORT, must be u16",
        ),
        (
            "CRIER_HTTP__PORT",
            "70000",
            "http.port, set in CRIER_HTTP__PORT, must be u16",
        ),
        (
            "CRIER_HTTP__VERBOSE",
            "perhaps",
            "http.verbose, set in CRIER_HTTP__VERBOSE, must be a boolean",
        ),
        (
            "CRIER_HTTP__TIMEOUT",
            "30",
            "http.timeout, set in CRIER_HTTP__TIMEOUT, must be a whole number with a unit, ms, s, m, h or d, such as 250ms or 72h, and at most 3650d",
        ),
        (
            "CRIER_HTTP__FORMAT",
            "xml",
            "http.format, set in CRIER_HTTP__FORMAT, must be one of: pretty, json",
        ),
        (
            "CRIER_HTTP__PROT",
            "1",
            "http.prot, set in CRIER_HTTP__PROT, is not a setting; known here: port, timeout, origins, numbers, verbose, format",
        ),
        (
            "CRIER_HTPT__PORT",
            "1",
            "htpt, set in CRIER_HTPT__PORT, is not a setting; known here: http, auth",
        ),
        (
            "CRIER_PORT",
            "1",
            "port, set in CRIER_PORT, is not a setting; known here: http, auth",
        ),
    ] {
        assert_eq!(sentence(with_env(&[(name, value)])), expected);
    }
}

#[test]
fn the_tests_own_variables_are_skipped() {
    with_env(&[("CRIER_TEST_POSTGRES_URL", "postgres://localhost")]).unwrap();
}

#[test]
fn a_variable_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;

    let pair = (
        OsString::from("CRIER_HTTP__PORT"),
        OsString::from_vec(vec![0xff]),
    );
    let error = load_with::<Config>(DEFAULT_TEXT, None, [pair]).unwrap_err();
    assert!(error.to_string().contains("CRIER_HTTP__PORT"), "{error}");
}

#[test]
fn a_wrong_file_is_named_with_what_it_should_say() {
    let typed = sentence(with_file_and_env(Some("[http]\nport = \"x\"\n"), &[]));
    assert!(typed.starts_with("http.port, set in /"), "{typed}");
    assert!(typed.ends_with(".toml, must be u16"), "{typed}");

    let unknown = sentence(with_file_and_env(Some("[http]\nprot = 1\n"), &[]));
    assert!(
        unknown.contains(".toml, is not a setting; known here: port"),
        "{unknown}"
    );

    let syntax = sentence(with_file_and_env(Some("[http]\n\nport 1\n"), &[]));
    assert!(syntax.contains("is not valid TOML in line 3"), "{syntax}");
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let error =
        load_with::<Config>(DEFAULT_TEXT, Some(Path::new("/nowhere/crier.toml")), []).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the configuration file /nowhere/crier.toml cannot be read"),
        "{error}"
    );
}

#[test]
fn a_missing_key_says_how_to_set_it() {
    let error = load_with::<Config>("[http]\nport = 1\n", None, []).unwrap_err();
    assert_eq!(
        error.to_string(),
        "http.timeout is not set; it is expected in the configuration file or as CRIER_HTTP__TIMEOUT"
    );
}

#[test]
fn a_secret_shows_in_no_message() {
    let config = with_env(&[("CRIER_AUTH__SECRET", "swordfish")]).unwrap();
    let secret = config.auth.secret.clone().unwrap();
    assert!(!format!("{config:?} {secret}").contains("swordfish"));

    let file = "[auth]\nsecret = 12345678\n";
    assert!(!sentence(with_file_and_env(Some(file), &[])).contains("12345678"));
}

#[test]
fn durations_are_read_as_written() {
    for (text, ms) in [
        ("250ms", 250),
        ("2s", 2_000),
        ("5m", 300_000),
        ("72h", 259_200_000),
        ("7d", 604_800_000),
        ("0s", 0),
    ] {
        let duration: HumanDuration = text.parse().unwrap();
        assert_eq!(duration.get(), Duration::from_millis(ms), "{text}");
    }
    for text in [
        "", "5", "s", "-1s", "+1s", "1.5s", "1 s", "1S", "1w", "4000d",
    ] {
        assert_eq!(
            text.parse::<HumanDuration>(),
            Err(HumanDurationError),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn a_duration_survives_being_written(ms in 0_u64..315_360_000_000) {
        let duration = HumanDuration::from(Duration::from_millis(ms));
        prop_assert_eq!(duration.to_string().parse(), Ok(duration));
    }

    #[test]
    fn no_text_makes_the_duration_parser_panic(text in ".{0,40}") {
        let _ = text.parse::<HumanDuration>();
    }
}
