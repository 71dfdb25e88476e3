//! `crier sync` as its users know it: a file, a pipe, refused lines, wrong tokens, nobody there.

use std::path::Path;
use std::process::Stdio;

use tempfile::tempdir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::fleet::{Outcome, command, outcome, whole};
use crate::people::expect;
use crate::world::{SECRET, World, signer};

/// A community of two, which follow its article, and one line that can't be.
const PLATFORM: &str = r#"{"kind":"user","id":7001,"username":"ann"}
{"kind":"community","id":4500,"name":"Mirrored","type":"private"}
{"kind":"membership","community_id":4500,"user_id":7001,"role":"admin"}
{"kind":"membership","community_id":4500,"user_id":7002,"role":"member","username":"ben"}
{"kind":"article","id":1230,"title":"A Paper","submitter_id":7001}
{"kind":"community_article","id":9000,"community_id":4500,"article_id":1230,"status":"published"}
{"kind":"subscription","user_id":7002,"community_id":4500,"article_id":1230,"is_active":true}
"#;

const REFUSED: &str = r#"{"kind":"membership","community_id":4501,"user_id":7001,"role":"admin"}
"#;

fn sync(world: &World, file: &str) -> Command {
    sync_to(world.api_url(), file)
}

fn sync_to(api: &str, file: &str) -> Command {
    let mut command = command(&["sync", file, "--api", api]);
    command.env("CRIER_AUTH__SECRET", SECRET);
    command
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn said(outcome: &Outcome, success: bool, words: &[&str]) {
    let all = format!("{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.success, success, "{all}");
    for word in words {
        assert!(all.contains(word), "{word:?} is not in {all}");
    }
}

#[tokio::test]
async fn a_file_is_mirrored_and_may_be_sent_again() {
    let world = World::start().await;
    let folder = tempdir().unwrap();
    let file = write(folder.path(), "platform.ndjson", PLATFORM);

    let first = outcome(&mut sync(&world, &file)).await;
    said(
        &first,
        true,
        &["7 lines: 7 hold now, 7 of them changed", "0 refused"],
    );
    let again = outcome(&mut sync(&world, &file)).await;
    said(&again, true, &["7 hold now, 0 of them changed"]);

    let ben = world.person(7002, "ben");
    let path = "/api/discussions/user-subscriptions/";
    let followed = expect(&ben.http.get(path).await, 200).clone();
    assert_eq!(followed["communities"][0]["community_id"], 4500);
    world.end().await;
}

#[tokio::test]
async fn a_refused_line_is_named_and_fails_the_command() {
    let world = World::start().await;
    let mut command = sync(&world, "-");
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(PLATFORM.as_bytes()).await.unwrap();
    stdin.write_all(REFUSED.as_bytes()).await.unwrap();
    drop(stdin);
    let refused = whole(child).await;
    said(
        &refused,
        false,
        &[
            "line 8: there is no such community",
            "8 lines: 7 hold now",
            "1 refused",
            "send the file again",
        ],
    );
    world.end().await;
}

/// A service that refuses closes the connection, whatever is still on its way.
#[tokio::test]
async fn a_refusal_of_a_long_file_is_not_lost() {
    let world = World::start().await;
    let folder = tempdir().unwrap();
    let file = write(folder.path(), "long.ndjson", &PLATFORM.repeat(20_000));
    let mut wrong = sync(&world, &file);
    wrong.env("CRIER_TOKEN", "nonsense");
    said(&outcome(&mut wrong).await, false, &["401"]);
    world.end().await;
}

#[tokio::test]
async fn what_stands_in_its_way_is_said() {
    let world = World::start().await;
    let folder = tempdir().unwrap();
    let file = write(folder.path(), "platform.ndjson", PLATFORM);
    let hour = std::time::Duration::from_secs(3600);

    let member = signer().sign_user(7001, "ann", hour).unwrap();
    let token = write(folder.path(), "token", &format!("{member}\n"));
    let mut as_member = sync(&world, &file);
    as_member.args(["--token-file", &token]);
    said(&outcome(&mut as_member).await, false, &["403", "service"]);

    let mut by_variable = sync(&world, &file);
    by_variable.env("CRIER_TOKEN", "nonsense");
    said(&outcome(&mut by_variable).await, false, &["401"]);

    let missing = folder.path().join("none");
    let mut no_file = sync(&world, missing.to_str().unwrap());
    said(&outcome(&mut no_file).await, false, &["can't be read"]);
    let mut a_folder = sync(&world, folder.path().to_str().unwrap());
    said(&outcome(&mut a_folder).await, false, &["is a directory"]);

    let mut no_key = command(&[
        "sync",
        &file,
        "--api",
        world.api_url(),
        "--data-dir",
        "none",
    ]);
    said(
        &outcome(&mut no_key).await,
        false,
        &["CRIER_TOKEN", "--token-file"],
    );

    let mut elsewhere = sync_to(world.gateway_url(0), &file);
    said(&outcome(&mut elsewhere).await, false, &["404"]);

    let mut no_url = sync_to("localhost:8000", &file);
    said(&outcome(&mut no_url).await, false, &["http://"]);

    let api = world.api_url().to_owned();
    world.end().await;
    let mut nobody = sync_to(&api, &file);
    said(&outcome(&mut nobody).await, false, &["can't be reached"]);
}
