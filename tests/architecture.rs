//! What the packages may know of each other and of the world, read from what Cargo builds.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Each package and those of ours that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("scrip-token", &[]),
    ("scrip-verify", &["scrip-token"]),
    ("scrip-feed", &["scrip-token", "scrip-verify"]),
    ("scrip-client", &["scrip-token"]),
    ("scrip", &["scrip-token", "scrip-verify", "scrip-feed", "scrip-client"]),
];

#[test]
fn our_packages_use_each_other_one_way() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let ours: BTreeSet<&str> =
        METADATA.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    assert_eq!(
        ours,
        arrows.keys().copied().collect(),
        "a package without a rule, or a rule without a package"
    );
    for package in METADATA.workspace_packages() {
        for used in package.dependencies.iter().filter(|used| ours.contains(used.name.as_str())) {
            let allowed = arrows[package.name.as_str()].contains(&used.name.as_str());
            assert!(allowed, "{} must not use {}", package.name, used.name);
        }
    }
}

#[test]
fn only_the_command_line_uses_the_sides_that_ask_and_follow() {
    for file in rust_files().filter(|file| file.starts_with("src") && !file.starts_with("src/cli"))
    {
        let text = text(&file);
        for package in ["scrip_feed::", "scrip_client::"] {
            assert!(!text.contains(package), "{} names {package}", file.display());
        }
    }
}

#[test]
fn only_the_configuration_names_environment_variables() {
    // Those of the service; the commands that speak to it name theirs beside their flags.
    let naming = |file: &PathBuf| {
        file.starts_with("src") && !file.starts_with("src/cli") && text(file).contains("env = \"")
    };
    assert_eq!(rust_files().filter(naming).collect::<Vec<_>>(), [PathBuf::from("src/config.rs")]);
}

#[test]
fn only_the_service_reaches_the_database_and_vault() {
    assert!(
        reached_by("scrip").is_superset(&["sqlx", "vaultrs"].into()),
        "the names below are not what they were"
    );
    for (package, _) in ARROWS.iter().filter(|(package, _)| *package != "scrip") {
        let reached = reached_by(package);
        for forbidden in ["sqlx", "sqlx-core", "vaultrs", "rustify"] {
            assert!(!reached.contains(forbidden), "{package} reaches {forbidden}");
        }
    }
}

#[test]
fn verification_does_no_io() {
    let reached = reached_by("scrip-verify");
    assert!(reached.contains("aws-lc-rs"), "verification checks signatures");
    for part in [
        "tokio", "mio", "async", "futures", "hyper", "http", "reqwest", "ureq", "curl", "rustls",
        "sqlx", "sqlite",
    ] {
        let found = reached.iter().find(|name| name.contains(part));
        assert_eq!(found, None, "scrip-verify is offline and has no runtime");
    }
}

#[test]
fn every_licence_is_allowed() {
    let rules: toml::Table = text(Path::new("deny.toml")).parse().unwrap();
    let allowed: BTreeSet<&str> = rules["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert!(
        METADATA.packages.len() > ARROWS.len(),
        "Cargo tells of all packages, not of ours alone"
    );
    for package in &METADATA.packages {
        let licence = package.license.as_deref().unwrap_or("none");
        assert!(permits(&allowed, licence), "{} is licensed under {licence}", package.name);
    }
}

#[test]
fn a_licence_expression_is_allowed_when_one_choice_of_it_is() {
    let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
    for expression in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "MIT AND ISC",
        "ISC AND (GPL-3.0 OR (MIT AND ISC))",
    ] {
        assert!(permits(&allowed, expression), "{expression}");
    }
    assert!(permits(&allowed, "Apache-2.0 WITH LLVM-exception OR GPL-3.0"));
    for expression in [
        "none",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "Apache-2.0",
        "MIT AND (ISC AND GPL-3.0)",
    ] {
        assert!(!permits(&allowed, expression), "{expression}");
    }
}

#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let root: toml::Table = text(Path::new("Cargo.toml")).parse().unwrap();
    assert_eq!(root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for package in METADATA.workspace_packages() {
        let manifest: toml::Table = text(package.manifest_path.as_std_path()).parse().unwrap();
        assert_eq!(
            manifest["lints"]["workspace"].as_bool(),
            Some(true),
            "{} inherits the lints",
            package.name
        );
    }
}

#[test]
fn the_project_stands_on_its_own() {
    let strangers: Vec<&Package> =
        METADATA.packages.iter().filter(|package| !is_ours(package)).collect();
    for package in strangers {
        let registry = package.source.as_ref().is_some_and(cargo_metadata::Source::is_crates_io);
        assert!(registry, "{} does not come from the public registry", package.name);
    }
    // Written in pieces, for this file is searched too.
    let elsewhere = [
        concat!("..", "/shared"),
        concat!("/work", "/"),
        concat!("registry.", "npmjs"),
        concat!("crates", ".io/api"),
        concat!("index.", "crates"),
        concat!("files.", "pythonhosted"),
        concat!("pypi", ".org"),
        concat!("proxy.", "golang"),
    ];
    for file in files() {
        let text = text(&file);
        for place in elsewhere {
            assert!(!text.contains(place), "{} mentions {place}", file.display());
        }
    }
}

#[test]
fn no_rust_file_is_over_600_lines() {
    for file in rust_files() {
        let lines = text(&file).lines().count();
        assert!(lines <= 600, "{} has {lines} lines", file.display());
    }
}

/// For the platform that the service ships on: Cargo then fetches nothing else.
static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    let options = ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned);
    MetadataCommand::new().other_options(options).exec().expect("Cargo describes the workspace")
});

fn is_ours(package: &Package) -> bool {
    METADATA.workspace_members.contains(&package.id)
}

/// The names of all packages that are linked into `package` or run while it is built.
fn reached_by(package: &str) -> BTreeSet<&'static str> {
    let names: BTreeMap<&PackageId, &str> =
        METADATA.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let nodes = &METADATA.resolve.as_ref().expect("asked with dependencies").nodes;
    let uses: BTreeMap<&PackageId, _> = nodes.iter().map(|node| (&node.id, &node.deps)).collect();
    let start =
        METADATA.workspace_packages().into_iter().find(|ours| ours.name == package).expect(package);

    let mut seen = BTreeSet::new();
    let mut next = vec![&start.id];
    while let Some(id) = next.pop() {
        if seen.insert(id) {
            let linked = uses[id].iter().filter(|used| {
                used.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
            });
            next.extend(linked.map(|used| &used.pkg));
        }
    }
    seen.into_iter().map(|id| names[id]).collect()
}

/// Whether an SPDX expression (with the older `A/B` for `A OR B`) leaves a choice of allowed licences alone.
fn permits(allowed: &BTreeSet<&str>, expression: &str) -> bool {
    let expression = expression.trim();
    let choices = outside_parentheses(expression, &[" OR ", "/"]);
    if choices.len() > 1 {
        return choices.iter().any(|choice| permits(allowed, choice));
    }
    let all = outside_parentheses(expression, &[" AND "]);
    if all.len() > 1 {
        return all.iter().all(|part| permits(allowed, part));
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => permits(allowed, inner),
        None => allowed.contains(expression),
    }
}

fn outside_parentheses<'a>(expression: &'a str, operators: &[&str]) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in expression.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        let operator = operators
            .iter()
            .find(|operator| depth == 0 && expression[at..].starts_with(**operator));
        if let Some(operator) = operator {
            parts.push(&expression[start..at]);
            start = at + operator.len();
        }
    }
    parts.push(&expression[start..]);
    parts
}

pub fn rust_files() -> impl Iterator<Item = PathBuf> {
    files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
}

/// All files of the project, relative to its root, whether committed already or not.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .expect("git lists the project's files");
    let listed = String::from_utf8(listed.stdout).expect("file names are text");
    let files: Vec<PathBuf> =
        listed.lines().map(PathBuf::from).filter(|file| file.is_file()).collect();
    assert!(files.contains(&PathBuf::from("Cargo.toml")), "git knows this folder");
    files
}

pub fn text(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).expect("it is listed")).into_owned()
}
