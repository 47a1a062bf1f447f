//! A folder of files, and the clients and policies that it says there are.

use crate::harness::acme::Acme;
use crate::harness::cli::{Cli, Outcome};
use crate::harness::process::Process;
use crate::harness::service::Installation;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const CHAT: &str = r#"
name      = "acme/chat"
audiences = ["llm-gateway"]
scopes    = ["llm:chat", "llm:embed"]
env       = "prod"
"#;

const AUTHORS: &str = r#"
name      = "ops/authors"
audiences = ["self"]
scopes    = ["scrip:policies"]
env       = "scrip"
"#;

/// `scrip apply` of a folder, by an operator.
struct Site<'a> {
    operator: &'a Cli,
    dir: PathBuf,
}

impl<'a> Site<'a> {
    fn new(acme: &'a Acme) -> Self {
        let site =
            Self { operator: &acme.operator, dir: acme.installation.folder.path().join("site") };
        site.write("policies/chat.toml", CHAT);
        site
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("the test's own");
        fs::write(path, text).expect("the test's own");
    }

    fn client(&self, name: &str, more: &str) {
        let text = format!("id = \"acme/{name}\"\npolicy = \"acme/chat\"\n{more}\n");
        self.write(&format!("clients/team/{name}.toml"), &text);
    }

    fn command<'b>(&'b self, options: &[&'b str]) -> Vec<&'b str> {
        [&["apply", self.dir.to_str().expect("a plain name")], options].concat()
    }

    async fn apply(&self, options: &[&str]) -> Outcome {
        self.operator.outcome(&self.command(options)).await
    }

    /// Every line of `--json`; panics unless it exits with 0.
    async fn lines(&self, options: &[&str]) -> Vec<Value> {
        let printed = self.operator.run(&self.command(&[options, &["--json"]].concat())).await;
        printed.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    async fn enabled(&self) -> Vec<String> {
        let list = ["client", "list", "--limit", "200"];
        let clients = self.operator.json(&list).await["items"].as_array().cloned();
        let clients = clients.expect("a list");
        let enabled = clients.iter().filter(|client| client["enabled"] == true);
        let mut ids: Vec<_> =
            enabled.map(|client| client["id"].as_str().expect("a name").to_owned()).collect();
        ids.sort();
        ids
    }
}

#[tokio::test]
async fn a_folder_is_what_there_is_on_sqlite() {
    a_folder_is_what_there_is(Installation::on_sqlite()).await;
}

#[tokio::test]
async fn a_folder_is_what_there_is_on_postgres() {
    a_folder_is_what_there_is(Installation::on_postgres().await).await;
}

async fn a_folder_is_what_there_is(installation: Installation) {
    let acme = Acme::found(installation).await;
    let site = Site::new(&acme);
    site.client("billing", "source = \"embedded\"\noverlap = 60");
    site.client("off", "enabled = false");
    let before = site.enabled().await;

    // What would be done is shown, and not done.
    let planned = site.lines(&["--dry-run"]).await;
    let actions = |line: &Value| -> Vec<String> {
        let steps = line["plan"].as_array().expect("a list").iter();
        steps.map(|step| format!("{} {}", step["action"], step["name"]).replace('"', "")).collect()
    };
    let all = [
        "create-policy acme/chat",
        "create-client acme/billing",
        "create-client acme/off",
        "disable-client acme/off",
    ];
    assert_eq!((planned.len(), actions(&planned[0])), (1, all.map(str::to_owned).to_vec()));
    let notes = planned[0]["notes"].to_string();
    assert!(notes.contains("acme/gateway has no file"), "{notes}");
    assert_eq!(site.enabled().await, before);

    // Done; the secret is shown as `client create` shows it, and is good.
    let applied = site.apply(&[]).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(!applied.stderr.contains("scrip_mc_"), "{}", applied.stderr);
    let secrets = applied.stdout.split_whitespace().filter(|word| word.starts_with("scrip_mc_"));
    let secrets: Vec<&str> = secrets.collect();
    assert_eq!(secrets.len(), 2, "{}", applied.stdout);
    let billing = Cli::new(&acme.installation, "acme/billing", secrets[0]);
    billing.token(&[]).await;
    let show = ["client", "show", "acme/billing"];
    assert_eq!(site.operator.json(&show).await["overlap"], 60);
    let off = site.operator.json(&["client", "show", "acme/off"]).await;
    assert_eq!(off["enabled"], false);

    // Nothing is left to do.
    let again = site.lines(&[]).await;
    assert_eq!((again.len(), actions(&again[0]).len()), (1, 0), "{again:?}");

    // A policy that narrows, and a client whose file is gone.
    site.write("policies/chat.toml", &CHAT.replace(", \"llm:embed\"", ""));
    fs::remove_file(site.dir.join("clients/team/off.toml")).expect("it is there");
    site.client("chat", "");
    let changed = site.lines(&["--prune"]).await;
    let difference =
        json!({"member": "scopes", "was": "llm:embed", "is": null, "effect": "narrows"});
    assert_eq!(changed[0]["plan"][0]["differences"], json!([difference]));
    let all = ["change-policy acme/chat", "create-client acme/chat", "disable-client acme/gateway"];
    assert_eq!(actions(&changed[0]), all);
    assert_eq!(changed.len(), 4, "a line for each step: {changed:?}");
    assert!(changed[2]["answer"]["secret"].is_string(), "the line of the new client has it");
    let notes = changed[0]["notes"].to_string();
    assert!(notes.contains("policy acme/chat-assistant: no enabled client has it"), "{notes}");
    assert_eq!(site.enabled().await, ["acme/billing", "acme/chat", "ops/admin"]);
    billing.token(&["--scope", "llm:chat"]).await;
    let refused = billing.outcome(&["token", "get", "--scope", "llm:embed"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");

    // Whoever was disabled in an emergency is not enabled by a file that does not say so.
    site.operator.run(&["client", "disable", "acme/chat"]).await;
    let kept = site.lines(&["--prune"]).await;
    assert_eq!(actions(&kept[0]).len(), 0);
    assert!(kept[0]["notes"].to_string().contains("acme/chat is disabled and stays so"));
    site.client("chat", "enabled = true");
    assert_eq!(actions(&site.lines(&[]).await[0]), ["change-client acme/chat"]);
    assert!(site.enabled().await.contains(&"acme/chat".to_owned()));
}

#[tokio::test]
async fn a_folder_says_what_models_cost_on_sqlite() {
    a_folder_says_what_models_cost(Installation::on_sqlite()).await;
}

#[tokio::test]
async fn a_folder_says_what_models_cost_on_postgres() {
    a_folder_says_what_models_cost(Installation::on_postgres().await).await;
}

async fn a_folder_says_what_models_cost(installation: Installation) {
    let acme = Acme::found(installation).await;
    let site = Site::new(&acme);
    let in_money = "models = [\"gpt-4o-mini\"]\nbudget = { tokens = 5000 }\n\
                    quota = { money = \"0.005\", window = \"lifetime\" }\n";
    site.write("policies/chat.toml", &format!("{CHAT}{in_money}"));
    site.client("billing", "source = \"embedded\"");
    let price = |model: &str, output: &str| {
        format!("[[models]]\nmodel = \"{model}\"\ninput = \"0.15\"\noutput = \"{output}\"\n")
    };
    let prices = |models: &[String]| {
        site.write("prices.toml", &format!("currency = \"USD\"\n{}", models.concat()));
    };
    let mini = price("gpt-4o-mini", "0.60");
    prices(std::slice::from_ref(&mini));
    let expects = "prices = \"../prices.toml\"\nclient = \"acme/billing\"\naddress = \"10.0.0.1\"\n\
                   [[request]]\ngranted = { budget = { tokens = 5000 } }\n";
    site.write("policies/chat.test.toml", expects);
    let actions = |line: &Value| -> Vec<String> {
        let steps = line["plan"].as_array().expect("a list").iter();
        steps.map(|step| format!("{} {}", step["action"], step["name"]).replace('"', "")).collect()
    };

    let all = ["set-prices USD", "create-policy acme/chat", "create-client acme/billing"];
    assert_eq!(actions(&site.lines(&["--dry-run"]).await[0]), all);
    let none = site.operator.outcome(&["price", "show"]).await;
    assert_eq!(none.code, Some(1), "nothing is done: {none:?}");
    let applied = site.lines(&[]).await;
    assert_eq!(actions(&applied[0]), all);
    assert_eq!(applied[2]["answer"]["warnings"], Value::Null, "the prices were there before it");
    let secret = applied[3]["answer"]["secret"].as_str().expect("shown this once");
    Cli::new(&acme.installation, "acme/billing", secret).token(&[]).await;

    // Nothing is left to do, in whichever order the models stand.
    assert!(site.lines(&[]).await[0]["plan"].as_array().expect("a list").is_empty());
    let nano = price("gpt-4o-nano", "0.1");
    for models in [[&mini, &nano], [&nano, &mini]] {
        prices(&models.map(String::clone));
        site.lines(&[]).await;
    }
    let versions = site.operator.json(&["price", "versions"]).await;
    assert_eq!(versions["items"].as_array().map(Vec::len), Some(2), "{versions}");

    // What is dearer is shown before, and the test beside the policy says what that does.
    prices(&[price("gpt-4o-mini", "1.20")]);
    let outcome = site.apply(&["--dry-run"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("would take 0.006 USD, above the 0.005"), "{outcome:?}");
    site.write(
        "policies/chat.test.toml",
        &expects.replace(
            "granted = { budget = { tokens = 5000 } }",
            "refused = \"invalid_authorization_details\"",
        ),
    );
    let planned = site.apply(&["--dry-run"]).await;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let rows: Vec<&str> =
        planned.stdout.lines().filter(|line| line.starts_with("set-prices")).collect();
    assert_eq!(rows.len(), 2, "{planned:?}");
    assert!(rows[0].contains("gpt-4o-mini") && rows[0].contains(r#""output":"1.2""#), "{rows:?}");
    assert!(rows[1].contains("gpt-4o-nano"), "{rows:?}");

    // A model that loses its price is named before anything is done, and by the service too.
    prices(std::slice::from_ref(&nano));
    let why = "acme/chat: no price says what all of `gpt-4o-mini` cost";
    let planned = site.lines(&["--dry-run"]).await;
    assert!(planned[0]["notes"].to_string().contains(why), "{planned:?}");
    let done = site.apply(&[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains(why), "{done:?}");
    assert!(done.stderr.contains(&format!("scrip: warning: {why}")), "{done:?}");

    // What is refused is refused before anything is sent; a folder of prices alone is one.
    site.write(
        "prices.toml",
        "currency = \"EUR\"\n[[models]]\nmodel = \"*\"\ninput = \"9\"\noutput = \"9\"",
    );
    let euro = site.apply(&[]).await;
    assert_eq!(euro.code, Some(1), "{euro:?}");
    assert!(euro.stderr.contains("prices are in USD, and so are all quotas"), "{euro:?}");
    site.write(
        "prices.toml",
        "currency = \"USD\"\n[[models]]\nmodel = \"*\"\ninput = 1\noutput = \"1\"",
    );
    let odd = site.apply(&[]).await;
    assert_eq!(odd.code, Some(2), "{odd:?}");
    assert!(odd.stderr.contains("prices.toml: line 4: invalid type"), "{odd:?}");
    prices(&[mini]);
    fs::remove_dir_all(site.dir.join("policies")).expect("it is there");
    fs::remove_dir_all(site.dir.join("clients")).expect("it is there");
    assert_eq!(actions(&site.lines(&[]).await[0]), ["set-prices USD"]);
}

#[tokio::test]
async fn one_that_is_interrupted_is_finished_by_the_next() {
    let acme = Acme::found(Installation::on_sqlite()).await;
    let site = Site::new(&acme);
    let names: Vec<String> = (0..30).map(|n| format!("acme/w{n:02}")).collect();
    for name in &names {
        site.client(name.trim_start_matches("acme/"), "");
    }
    let mut process = Process::start(acme.operator.command(&site.command(&[])));
    process.line(|line| line == "done: create-client acme/w04").await;
    process.kill().await;
    let made = site.enabled().await.iter().filter(|id| names.contains(id)).count();
    assert!((5..30).contains(&made), "{made} of 30 before it was killed");

    let rest = site.lines(&[]).await;
    assert_eq!(rest[0]["plan"].as_array().map(Vec::len), Some(30 - made));
    assert_eq!(site.enabled().await.iter().filter(|id| names.contains(id)).count(), 30);
    assert_eq!(site.lines(&[]).await, [json!({"plan": [], "notes": rest[0]["notes"]})]);

    // What the service refuses half way is refused, and what came before it stays done.
    acme.operator.run(&["client", "delete", "acme/w00"]).await;
    site.write("policies/new.toml", &CHAT.replace("acme/chat", "acme/new"));
    let refused = site.apply(&[]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("1 of 2 done; run it again to go on"), "{refused:?}");
    assert!(refused.stderr.contains("is, or was, a client's"), "{refused:?}");
    fs::remove_file(site.dir.join("clients/team/w00.toml")).expect("it is there");
    assert_eq!(site.lines(&[]).await[0]["plan"], json!([]));
}

#[tokio::test]
async fn n61_a_folder_with_one_bad_file_changes_nothing() {
    let mut acme = Acme::found(Installation::on_sqlite()).await;
    {
        let site = Site::new(&acme);
        site.client("billing", "");
        let refused = async |path: &str, text: &str, code: i32, why: &str| {
            site.write(path, text);
            let outcome = site.apply(&["--prune"]).await;
            assert_eq!(outcome.code, Some(code), "{path}: {outcome:?}");
            assert!(outcome.stderr.contains(why), "{path}: {}", outcome.stderr);
            fs::remove_file(site.dir.join(path)).expect("it was written");
        };
        refused("policies/odd.toml", "nme = \"acme/odd\"", 2, "odd.toml: line 1").await;
        refused("policies/deep/er/odd.toml", CHAT, 2, "acme/chat has another file").await;
        refused("clients/odd.toml", "id = \"acme/odd\"\npolicy = 5", 2, "odd.toml: line 2").await;
        let more = "id = \"acme/odd\"\npolicy = \"acme/chat\"\nsecret = \"x\"";
        refused("clients/odd.toml", more, 2, "unknown field `secret`").await;
        let foreign = "id = \"acme/odd\"\npolicy = \"ops/operator\"";
        refused("clients/odd.toml", foreign, 2, "another tenant").await;
        let long = "id = \"acme/odd\"\npolicy = \"acme/chat\"\noverlap = 604801";
        refused("clients/odd.toml", long, 2, "at most 604800").await;
        refused("odd.toml", "", 2, "neither in policies/ nor in clients/").await;
        let missing = "id = \"acme/odd\"\npolicy = \"acme/none\"";
        refused("clients/odd.toml", missing, 1, "there is no policy acme/none").await;
        let expects = "client = \"acme/billing\"\naddress = \"10.0.0.1\"\n[[request]]\n\
                       granted = { scope = \"llm:chat\" }";
        refused("policies/chat.test.toml", expects, 1, "chat.test.toml: request 1: `scope`").await;
        let nowhere = acme.operator.outcome(&["apply", "nowhere"]).await;
        assert_eq!(nowhere.code, Some(2), "{nowhere:?}");
        assert_eq!(site.enabled().await, ["acme/gateway", "ops/admin"]);
        let policies = acme.operator.json(&["policy", "list"]).await["items"].to_string();
        assert!(!policies.contains("acme/chat\""), "{policies}");
    }
    acme.stop().await;
    let outcome = Site::new(&acme).apply(&[]).await;
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
}

#[tokio::test]
async fn a_folder_that_is_misspelt_or_missing_prunes_nobody() {
    let acme = Acme::found(Installation::on_sqlite()).await;
    let site = Site::new(&acme);
    site.client("billing", "");
    site.lines(&[]).await;
    let clients = site.dir.join("clients");
    fs::rename(&clients, site.dir.join("client")).expect("it is there");
    let misspelt = site.apply(&["--prune"]).await;
    assert_eq!(misspelt.code, Some(2), "{misspelt:?}");
    let why = "client/team/billing.toml: is neither in policies/ nor in clients/";
    assert!(misspelt.stderr.contains(why), "{misspelt:?}");
    fs::remove_dir_all(site.dir.join("client")).expect("it is there");
    let missing = site.apply(&["--prune", "--dry-run"]).await;
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("--prune needs a folder clients/"), "{missing:?}");
    assert_eq!(site.lines(&[]).await[0]["plan"], json!([]), "policies alone may be applied");
    assert!(site.enabled().await.contains(&"acme/billing".to_owned()));
    // One that is empty says that there is to be nobody.
    fs::create_dir(&clients).expect("it was removed");
    let plan = site.lines(&["--prune", "--dry-run"]).await[0]["plan"].to_string();
    assert!(plan.contains("acme/billing"), "{plan}");
}

#[tokio::test]
async fn a_policy_is_compared_and_tried_before_it_is_applied() {
    let acme = Acme::found(Installation::on_sqlite()).await;
    let site = Site::new(&acme);
    let file = site.dir.join("policies/chat.toml");
    let file = file.to_str().expect("a plain name");
    let operator = &acme.operator;
    assert!(operator.run(&["policy", "diff", file]).await.contains("not applied yet"));
    site.client("billing", "");
    let applied = site.lines(&[]).await;
    let secret = applied[2]["answer"]["secret"].as_str().expect("shown this once");
    let billing = Cli::new(&acme.installation, "acme/billing", secret);
    billing.token(&["--scope", "llm:embed"]).await;
    assert!(operator.run(&["policy", "diff", file]).await.contains("the file is version 1"));
    let first = operator.outcome(&["policy", "diff", "acme/chat"]).await;
    assert_eq!(first.code, Some(1), "{first:?}");

    let wider = CHAT.replace("\"llm:embed\"", "\"db:*\"").replace("llm:chat", "llm:c*");
    site.write("policies/chat.toml", &wider);
    let differences = operator.json(&["policy", "diff", file]).await;
    let line = |was: Value, is: Value, effect: &str| json!({"member": "scopes", "was": was, "is": is, "effect": effect});
    let expected = json!({
        "name": "acme/chat", "from": 1, "to": null, "differences": [
            line(json!("llm:chat"), Value::Null, "neither"),
            line(json!("llm:embed"), Value::Null, "narrows"),
            line(Value::Null, json!("llm:c*"), "widens"),
            line(Value::Null, json!("db:*"), "widens"),
        ],
    });
    assert_eq!(differences, expected);
    let replayed = operator.json(&["policy", "replay", file, "--last", "10"]).await;
    assert_eq!((&replayed["requests"], &replayed["unchanged"]), (&json!(1), &json!(0)));
    assert_eq!(replayed["changes"][0]["cases"][0]["asked"], json!({"scope": "llm:embed"}));
    let printed = operator.run(&["policy", "replay", file]).await;
    assert!(printed.contains("over 1 requests") && printed.contains("invalid_scope"), "{printed}");

    // Who may not read the audit log is told so.
    site.write("authors.toml", AUTHORS);
    let authors = site.dir.join("authors.toml");
    operator.run(&["policy", "apply", authors.to_str().expect("a plain name")]).await;
    let created = ["client", "create", "ops/author", "--policy", "ops/authors"];
    let created = operator.json(&[&created[..], &["--source", "embedded"]].concat()).await;
    let secret = created["secret"].as_str().expect("shown this once");
    let author = Cli::new(&acme.installation, "ops/author", secret);
    let refused = author.outcome(&["policy", "replay", file]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let why = "this needs a policy that grants `scrip:policies scrip:audit` for the audience `self`: \
               invalid_scope: scope `scrip:audit` is not granted";
    assert!(refused.stderr.contains(why), "{refused:?}");

    operator.run(&["policy", "apply", file]).await;
    let versions = operator.json(&["policy", "versions", "acme/chat"]).await;
    assert_eq!(versions["items"].as_array().map(Vec::len), Some(2));
    let shown = operator.run(&["policy", "show", "acme/chat", "--version", "1"]).await;
    assert!(shown.starts_with("# version 1, by ops/admin, ") && shown.contains("llm:embed"));
    let same = operator.json(&["policy", "diff", "acme/chat"]).await;
    assert_eq!((&same["from"], &same["to"]), (&json!(1), &json!(2)));
    assert_eq!(same["differences"], expected["differences"]);
    let back = operator.run(&["policy", "diff", "acme/chat", "2", "1"]).await;
    let back = back.lines().find(|line| line.contains("db:*")).expect("a line").to_owned();
    assert!(back.starts_with("scopes") && back.ends_with("narrows"), "{back}");
    let odd = operator.outcome(&["policy", "diff", file, "1"]).await;
    assert_eq!(odd.code, Some(2), "{odd:?}");

    // Tests need no service.
    let test = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/document-summaries.test.toml");
    let nobody = Process::start(acme.installation.command(&["policy", "test", test]));
    let outcome = ended(nobody).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    site.write(
        "policies/chat.test.toml",
        "[[request]]\nclient = \"acme/a\"\naddress = \"::1\"\nrefused = \"x\"",
    );
    let test = site.dir.join("policies/chat.test.toml");
    let test = test.to_str().expect("a plain name");
    let outcome = ended(Process::start(acme.installation.command(&["policy", "test", test]))).await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("request 1: `error` is"), "{outcome:?}");
}

async fn ended(mut process: Process) -> Outcome {
    let code = process.exit().await.code();
    Outcome { code, stdout: process.stdout(), stderr: process.stderr() }
}
