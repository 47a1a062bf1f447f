//! What others verify tokens with.

use super::case::Case;
use crate::harness::process::Process;
use crate::{node, python};
use std::fmt::Write;
use std::fs;
use std::process::Command;

pub(super) const NAMES: [&str; 7] =
    ["PyJWT", "joserfc", "jose", "fast-jwt", "golang-jwt", "go-jose", "Nimbus"];

/// What a library says to a case: why it refuses.
pub(super) type Answer = Result<(), String>;

/// What each library says to each case, in the order of [`NAMES`].
pub(super) async fn judge(cases: &[Case]) -> Vec<[Answer; 7]> {
    let folder = tempfile::tempdir().expect("a folder for the cases");
    let file = folder.path().join("cases");
    let mut lines = String::new();
    for case in cases {
        writeln!(lines, "{}", case.question()).expect("a string grows");
    }
    fs::write(&file, lines).expect("a file of cases");

    let mut libraries = NAMES.map(|name| {
        let mut command = command(name);
        command.arg(&file);
        (name, Process::start(command))
    });
    let mut answers = vec![NAMES.map(|_| Err("no answer".to_owned())); cases.len()];
    for (column, (name, process)) in libraries.iter_mut().enumerate() {
        let status = process.exit().await;
        assert!(status.success(), "{name}: {status}\n{}", process.stderr());
        let stdout = process.stdout();
        assert_eq!(
            stdout.lines().count(),
            cases.len(),
            "{name} answers each case\n{}",
            process.stderr()
        );
        for (row, line) in answers.iter_mut().zip(stdout.lines()) {
            row[column] = match line.split_once(' ') {
                None if line == "accept" => Ok(()),
                Some(("refuse", why)) => Err(why.to_owned()),
                _ => panic!("{name}: {line}"),
            };
        }
    }
    answers
}

fn command(name: &str) -> Command {
    match name {
        "PyJWT" => python("judge_pyjwt.py"),
        "joserfc" => python("judge_joserfc.py"),
        "jose" => node("judge_jose.mjs"),
        "fast-jwt" => node("judge_fast_jwt.mjs"),
        "Nimbus" => java("Judge.java"),
        _ => go(name),
    }
}

/// For the JDK, with what `.ci/prepare java` copied.
fn java(file: &str) -> Command {
    let mut command = Command::new("java");
    // It ends before thorough compilation would pay.
    command
        .args(["-XX:TieredStopAtLevel=1", "-cp", "lib/*", file])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/java"));
    command
}

/// What `.ci/prepare go` built.
fn go(library: &str) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/go/judge"));
    command.arg(library);
    command
}
