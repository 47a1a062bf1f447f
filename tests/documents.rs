//! The documents speak of what is there.

use super::architecture::{rust_files, text};
use clap::CommandFactory;
use clap::error::ErrorKind;
use scrip::cli::Cli;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const DOCUMENTS: &[&str] = &[
    "README.md",
    "docs/alerts.md",
    "docs/gateways.md",
    "docs/policies.md",
    "docs/quotas.md",
    "docs/workloads.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "tests/HOSTILE.md",
    "SECURITY.md",
    "keys/README.md",
    "crates/client/README.md",
    "crates/feed/README.md",
    "crates/token/README.md",
    "crates/verify/README.md",
];

#[test]
fn the_readme_names_every_variable_and_no_other() {
    // Read without a flag, so that it never stands in a list of processes; set for others.
    let mut known = BTreeSet::from(["SCRIP_CLIENT_SECRET", "SCRIP_TOKEN_FILE"].map(str::to_owned));
    let mut commands = vec![Cli::command()];
    while let Some(command) = commands.pop() {
        let variables = command.get_arguments().filter_map(clap::Arg::get_env);
        known.extend(variables.map(|name| name.to_str().expect("ASCII").to_owned()));
        commands.extend(command.get_subcommands().cloned());
    }
    let text = read("README.md");
    let named: BTreeSet<String> = text
        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| word.strip_prefix("SCRIP_").is_some_and(|rest| !rest.is_empty()))
        .map(str::to_owned)
        .collect();
    assert_eq!(named, known);
}

#[test]
fn every_file_that_a_document_names_is_there() {
    for document in DOCUMENTS {
        let text = read(document);
        let here = Path::new(document).parent().expect("a file is in a folder");
        for (name, anchor) in links(&text) {
            assert!(here.join(name).exists(), "{document} links to {name}");
            if let Some(anchor) = anchor {
                let headings = read(here.join(name));
                let heading = |line: &str| line.trim_start_matches('#').trim().to_lowercase();
                let found = headings
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| heading(line).replace(' ', "-") == anchor);
                assert!(found, "{document} links to {name}#{anchor}");
            }
        }
        for name in code(&text).filter(|name| is_file_name(name)) {
            let places = ["", "src", "crates/verify/src", "crates/feed/src"];
            let there = places.iter().any(|place| Path::new(place).join(name).exists());
            assert!(there || here.join(name).exists(), "{document} speaks of {name}");
        }
    }
}

#[test]
fn every_command_that_a_document_shows_is_understood() {
    let mut shown = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let lines = text.lines().filter_map(|line| line.split_once("scrip ").map(|_| line));
        for line in code(&text).chain(lines.filter(|line| line.starts_with("    "))) {
            let Some((before, command)) = line.split_once("scrip ") else { continue };
            let is_prefix = |word: &str| word.contains(['=', '|', '(']);
            if !before.split_whitespace().all(is_prefix) {
                continue;
            }
            let command = command.split(" #").next().unwrap_or_default().replace('`', "");
            let words = command.split_whitespace().take_while(|word| !"|&<>..".contains(word));
            let words = words.map(|word| match word {
                "<id>" | "<jti>" => "01a1ff34-41b2-795d-9e6b-7c37cade2d90",
                "<kid>" => "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                word => word,
            });
            let said = Cli::command().try_get_matches_from(["scrip"].into_iter().chain(words));
            if let Err(error) = said {
                // A command, or a flag, may be spoken of without what it needs.
                let is_part = matches!(
                    error.kind(),
                    ErrorKind::MissingRequiredArgument
                        | ErrorKind::DisplayHelp
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                ) || error.to_string().contains("none was supplied");
                assert!(is_part, "{document}: {line}\n{error}");
            }
            shown += 1;
        }
    }
    assert!(shown > 80, "{shown}");
}

/// What the README says of outages is what the drills show, and it says all of that.
#[test]
fn the_readme_tells_what_the_drills_show() {
    let text = read("README.md");
    let (_, section) = text.split_once("## How fast does a revocation").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let is_test = |word: &&str| word.matches('_').count() > 2 && !word.contains(['.', ' ']);
    let named: BTreeSet<&str> = code(section).filter(is_test).collect();
    let (mut tests, mut drills) = (String::new(), String::new());
    for folder in ["tests/drills", "tests/journeys"] {
        for file in fs::read_dir(folder).expect("a folder").flatten() {
            let path = file.path();
            if path.is_file() {
                let text = read(&path);
                if text.contains("Drill::found(") {
                    drills.push_str(&text);
                }
                tests.push_str(&text);
            }
        }
    }
    for name in &named {
        assert!(tests.contains(&format!("async fn {name}()")), "there is no test {name}");
    }
    let ours = drills.split("\nasync fn ").skip(1).filter_map(|rest| rest.split_once("() {"));
    for (name, _) in ours {
        assert!(named.contains(name), "the README does not tell of {name}");
    }
}

#[test]
fn every_number_in_the_name_of_a_test_is_listed_once() {
    let list = read("tests/HOSTILE.md");
    let listed: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("- ")?.split_once(": "))
        .map(|(number, _)| number)
        .collect();
    let files: Vec<String> = rust_files().map(|file| text(&file)).collect();
    let used: BTreeSet<&str> = files
        .iter()
        .flat_map(|text| text.split("fn ").skip(1))
        .filter_map(|rest| rest.split_once('('))
        .flat_map(|(name, _)| name.split('_'))
        .filter(|part| is_number(part))
        .collect();
    assert_eq!(used, listed.iter().copied().collect());
    assert_eq!(used.len(), listed.len(), "a number is listed twice");
}

/// Whether this part of a name is `n` or `d` and a number.
fn is_number(part: &str) -> bool {
    let digits = part.strip_prefix(['n', 'd']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Targets of links within the repository, each with its anchor.
fn links(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| {
        target.split_once('#').map_or((target, None), |(name, anchor)| (name, Some(anchor)))
    })
}

/// What stands between single backticks on one line.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn is_file_name(text: &str) -> bool {
    let ends = [".rs", ".toml", ".md", ".yaml", ".yml", ".hcl"];
    ends.iter().any(|end| text.ends_with(end)) && !text.contains([' ', '*'])
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
