use crate::harness::process::{Process, Signal, free_port};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

#[tokio::test]
async fn the_first_hour_works_as_pasted() {
    let folder = TempDir::with_prefix("scrip-dev-").unwrap();
    let address = format!("127.0.0.1:{}", free_port());

    let dev = start(folder.path(), &address).await;
    let printed = dev.stdout();
    let first = paste(folder.path(), story(&printed)).await;
    assert_eq!(first.verdicts, [(true, None), (false, Some("revoked".to_owned()))], "{printed}");
    let env = fs::read_to_string(folder.path().join(".scrip-dev/dev.env")).unwrap();
    assert!(!printed.contains("scrip_mc_"), "secrets stand in dev.env only: {printed}");
    stop(dev).await;

    // It goes on with what is there: the same clients, and what was revoked stays so.
    let dev = start(folder.path(), &address).await;
    let after = fs::read_to_string(folder.path().join(".scrip-dev/dev.env")).unwrap();
    let secrets = |env: &str| -> Vec<String> {
        env.lines().filter(|line| line.contains("_SECRET=")).map(str::to_owned).collect()
    };
    assert_eq!(secrets(&after).len(), 3);
    assert_eq!(secrets(&after), secrets(&env));
    let again = format!("{}\nTOKEN={}\nverify\n", until_verify(&printed), first.token);
    let verdicts = paste(folder.path(), &again).await.verdicts;
    assert_eq!(verdicts, [(false, Some("revoked".to_owned()))]);
    stop(dev).await;

    // Every token carries the issuer, so it does not change under what is there.
    let other = format!("127.0.0.1:{}", free_port());
    let mut refused = Process::start(command(folder.path(), &other));
    assert_eq!(refused.exit().await.code(), Some(1), "{refused}");
    assert!(refused.stderr().contains(&format!("http://{address}")), "{refused}");
}

struct Pasted {
    token: String,
    verdicts: Vec<(bool, Option<String>)>,
}

fn command(folder: &Path, address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scrip"));
    command.args(["dev", "--listen", address]).current_dir(folder).env_clear();
    command
}

async fn start(folder: &Path, address: &str) -> Process {
    let mut dev = Process::start(command(folder, address));
    dev.line(|line| line.starts_with("Ctrl-C")).await;
    dev
}

async fn stop(mut dev: Process) {
    dev.signal(Signal::Terminate);
    let status = dev.exit().await;
    assert!(status.success(), "{status}\n{dev}");
}

/// The commands, from the first step up to the last words.
fn story(printed: &str) -> &str {
    let begin = printed.find("# 0.").expect("the story begins with step 0");
    &printed[begin..printed.find("Ctrl-C").expect("it ends with a word on how to end")]
}

/// The part of the story that says who is who and defines `verify`.
fn until_verify(printed: &str) -> String {
    let story = story(printed);
    let definition = &story[story.find("verify() {").expect("a function")..];
    let end = definition.find("; }\n").expect("it ends") + 4;
    let who = &story[..story.find("# 1.").expect("step 1")];
    format!("{who}{}", &definition[..end])
}

/// Runs commands as a person would paste them.
async fn paste(folder: &Path, commands: &str) -> Pasted {
    let mut bash = Command::new("bash");
    bash.args(["-c", commands]).current_dir(folder).env_clear();
    bash.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut bash = Process::start(bash);
    let status = bash.exit().await;
    assert!(status.success(), "{status}\n{bash}");
    let said: Vec<Value> =
        bash.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let token = said.iter().find_map(|line| line["access_token"].as_str());
    let verdicts = said.iter().filter_map(|line| {
        Some((line["accepted"].as_bool()?, line["reason"].as_str().map(str::to_owned)))
    });
    Pasted { token: token.unwrap_or_default().to_owned(), verdicts: verdicts.collect() }
}
