use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

const JTI: &str = "01a1ee56-5e7b-7fff-bfff-ffffffffffff";
const KID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["scrip"].into_iter().chain(line.split_whitespace()))
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn each_command_takes_what_it_says() {
    for line in [
        "client create acme/billing --policy acme/chat --source vault --overlap 3600",
        "client create acme/billing --policy acme/chat --rotate-by 2027-01-01T00:00:00Z --show-secret",
        "client list --limit 5 --after x --json --url https://sts.example --client-id ops/admin",
        "client list --stale",
        "client list --stale past-due --json",
        "client list --stale --unused-for 90 --limit 5",
        "client import",
        "client import acme/a acme/b --policy acme/chat --dry-run",
        "client import --all --policy acme/chat --json",
        "client show acme/billing",
        "client set acme/billing --enable --rotate-by never",
        "client rotate acme/billing --revoke",
        "client disable acme/billing --revoke",
        "client delete acme/billing",
        "policy apply policies/chat.toml",
        "policy list",
        "policy show acme/chat --json",
        "policy show acme/chat --version 3",
        "policy versions acme/chat --limit 5",
        "policy diff acme/chat",
        "policy diff acme/chat 2 4",
        "policy diff policies/chat.toml",
        "policy test policies/a.test.toml policies/b.test.toml",
        "policy replay policies/chat.toml --last 50",
        "price set prices.toml",
        "price show --version 2 --json",
        "price versions --limit 5 --after 3",
        "ledger list --audience gw --limit 5",
        "ledger retire acme/gateway gw-1a",
        "apply site --dry-run --prune --json",
        "token get",
        "token get --scope llm:chat --scope llm:embed --audience gw --model gpt-4o-mini --model claude-*",
        "token get --budget-tokens 5 --budget-request-tokens 5 --budget-requests 5 --cidr 10.0.0.0/8 --ttl 60",
        "token get --watch --file t --scope llm:chat --ttl 60",
        "token exec -- true",
        "token exec --env OPENAI_API_KEY --env ANTHROPIC_AUTH_TOKEN --model gpt-4o-mini -- sh -c true",
        "revoke --client acme/billing --before 1795000000 --reason leaked --note seen",
        "revoke --client acme/billing --before 2026-11-18T11:06:40Z",
        "revoke --sub acme/client:acme/billing --reason compromised",
        "revoke --tenant acme --before 1795000000",
        "revoke --cred acme/billing@vault:3.1795000000",
        "revoke --all --dry-run",
        "revoke --client acme/billing --wait 30 --json",
        "revocations --limit 5",
        "verifiers --json",
        "token list --client acme/billing",
        "token verify --audience gw --env prod --scope llm:chat --model gpt-4o --address 10.0.0.1",
        "token verify --follow --state-dir d --audience gw",
        "token verify --follow --verifier gw-1a --origin https://a.example --origin https://b.example --mirror http://cdn.example",
        "token verify --follow --max-staleness 30 --max-offline 300 --on-stale allow-for=10",
        "token verify --follow --on-stale deny-and-alert",
        "feed tail --json --origin https://a.example",
        "feed mirror d --every 60",
        "feed --mirror http://cdn.example mirror d --once",
        "keys list",
        "keys rotate ES256",
        "keys rotate feed",
        "keys rotate root",
        "usage",
        "usage --by tenant --tenant acme --window day --json",
        "usage --client acme/billing --window lifetime --limit 5",
        "audit --actor ops/admin --action mint --tenant acme --since 1795000000 --limit 9",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
    for line in ["token show", "revocations", "revoke --jti", "audit --jti"] {
        assert!(parse(&format!("{line} {JTI}")).is_ok(), "{line}");
    }
    for line in ["keys retire", "keys revoke --reason compromised", "revoke --kid"] {
        assert!(parse(&format!("{line} {KID}")).is_ok(), "{line}");
        let hyphen = KID.replacen('k', "-", 1);
        assert!(parse(&format!("{line} {hyphen} --json")).is_ok(), "{line} {hyphen}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2_before_anything_is_sent() {
    for line in [
        "",
        "frobnicate",
        "client create acme/billing",
        "client create Acme/billing --policy acme/chat",
        "client create acme/billing --policy acme/chat --source paper",
        "client show ../keys",
        "client set acme/billing",
        "client list --limit 0",
        "client list --stale old",
        "client list --unused-for 0",
        "client import acme/a",
        "client import --all",
        "client import acme/a --all --policy acme/chat",
        "client import ../a --policy acme/chat",
        "client list --url http://sts.example",
        "client list --client-secret scrip_mc_x",
        "policy apply",
        "policy show acme/chat --version 0",
        "policy test",
        "policy replay policies/chat.toml --last 0",
        "apply",
        "token get --scope llm:*",
        "token get --model gpt\u{200b}",
        "token get --cidr 10.0.0.1/8",
        "token get --budget-tokens 0",
        "token get --ttl -1",
        "token get --watch",
        "token get --file t",
        "token exec",
        "token exec true",
        "token exec --env A=B -- true",
        "token show 7",
        "token verify --follow --jwks jwks.json",
        "token verify --state-dir d",
        "token verify --verifier gw-1a",
        "token verify --max-staleness 30",
        "token verify --follow --on-stale allow",
        "token verify --follow --on-stale allow-for=ever",
        "token verify --follow --origin sts",
        "feed",
        "feed mirror",
        "feed mirror d --once --every 5",
        "feed mirror d --every 0",
        "feed tail --state-dir d",
        "token verify --model gpt-4o",
        "token verify --address 10.0.0.0/8 --scope llm:chat",
        "revoke",
        "revoke --jti 7",
        "revoke --token-file t --before 1795000000",
        "revoke --token-file t --all",
        "revoke --client acme/billing --reason boredom",
        "revoke --client acme/billing --wait 31",
        "revocations 7",
        "revoke --sub acme",
        "revoke --cred acme/billing",
        "revoke --cred billing@vault:3.1795000000",
        "revoke --cred acme/billing@vault:3.1795000000 --before 1795000000",
        "revoke --all --tenant acme",
        "keys rotate HS256",
        "keys retire ../rotate",
        "audit --since yesterday",
        "usage --window week",
        "usage --by model",
        "usage --client acme/billing --tenant acme",
    ] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
    }
    let two = format!("revoke --jti {JTI} --client acme/billing");
    assert_eq!(parse(&two).unwrap_err().kind(), ErrorKind::ArgumentConflict);
    let before = format!("revoke --jti {JTI} --before 1795000000");
    assert_eq!(parse(&before).unwrap_err().kind(), ErrorKind::ArgumentConflict);
}

#[tokio::test]
async fn a_closed_port_is_exit_code_3_for_every_command() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "scrip_mc_canary").unwrap();
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/document-summaries.toml");
    for line in [
        "client list".to_owned(),
        "client delete acme/billing".to_owned(),
        format!("policy apply {policy}"),
        "token get".to_owned(),
        format!("token show {JTI}"),
        format!("revoke --jti {JTI}"),
        "revocations".to_owned(),
        "verifiers".to_owned(),
        "keys list".to_owned(),
        "audit".to_owned(),
        "usage".to_owned(),
    ] {
        let line = format!(
            "{line} --url http://{address} --client-id ops/admin --client-secret-file {}",
            secret.path().display()
        );
        let failure = parse(&line).unwrap().command.run().await.unwrap_err();
        assert_eq!(failure.exit_code(), 3, "{line}: {failure}");
        let said = failure.to_string();
        assert!(said.contains(&address.to_string()) && said.contains("refused"), "{said}");
        assert!(!format!("{said}{failure:?}").contains("canary"), "{said}");
    }
}
