//! No container engine runs where the tests do; so the files for one are held against what they speak of.

use crate::harness::process::{Process, free_port};
use crate::harness::vault::vault;
use reqwest::Certificate;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;

const DOCKERFILE: &str = include_str!("../Dockerfile");

#[test]
fn every_setting_is_one_that_the_service_reads() {
    let known = std::fs::read_to_string("src/config.rs").unwrap();
    for (name, service) in compose().services.iter().filter(|(_, service)| service.is_ours()) {
        for variable in service.environment.keys() {
            assert!(
                known.contains(&format!("\"{variable}\"")),
                "{name}: src/config.rs knows no {variable}"
            );
        }
    }
}

#[test]
fn what_a_service_waits_for_can_happen() {
    let compose = compose();
    for (name, service) in &compose.services {
        for (other, Dependency { condition }) in &service.depends_on {
            let other = &compose.services[other];
            match condition.as_str() {
                "service_healthy" => assert!(
                    other.healthcheck.is_some(),
                    "{name} waits for health that nobody checks"
                ),
                "service_completed_successfully" => {
                    assert_eq!(other.restart, None, "{name} waits for an end that is none");
                }
                unknown => panic!("{name}: {unknown}"),
            }
        }
    }
}

#[test]
fn the_replicas_are_one_service() {
    let compose = compose();
    let [bootstrap, first, second] =
        ["bootstrap", "scrip-1", "scrip-2"].map(|name| &compose.services[name]);
    assert_eq!(first.environment, second.environment);
    assert_eq!(first.environment, bootstrap.environment, "bootstrapped where nobody serves");
    assert_eq!(bootstrap.command, ["bootstrap"]);
    for replica in [first, second] {
        assert_eq!(replica.command, ["serve"]);
        assert!(replica.depends_on.contains_key("bootstrap"));
    }
}

#[test]
fn addresses_agree_with_what_listens_there() {
    let compose = compose();
    let ours = compose.services["scrip-1"].environment.clone();
    let port = |name: &str| ours[name].rsplit_once(':').unwrap().1.to_owned();
    for name in ["scrip-1", "scrip-2"] {
        let service = &compose.services[name];
        let health = service.healthcheck.as_ref().unwrap().test.last().unwrap();
        assert_eq!(*health, format!("http://127.0.0.1:{}/readyz", port("SCRIP_OPS_LISTEN")));
        let inside: Vec<&str> =
            service.ports.iter().map(|port| port.rsplit_once(':').unwrap().1).collect();
        assert_eq!(inside, [port("SCRIP_LISTEN"), port("SCRIP_OPS_LISTEN")], "{name}");
    }
    assert!(
        compose.services["scrip-1"].ports[0]
            .starts_with(ours["SCRIP_ISSUER"].strip_prefix("http://").unwrap())
    );

    let postgres = &compose.services["postgres"].environment;
    let [user, password, database] =
        ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"].map(|name| postgres[name].as_str());
    assert_eq!(
        ours["SCRIP_DATABASE_URL"],
        format!("postgres://{user}:{password}@postgres:5432/{database}")
    );

    let vault = &compose.services["vault"].environment;
    let (_, listen) = vault["VAULT_DEV_LISTEN_ADDRESS"].split_once(':').unwrap();
    assert_eq!(ours["SCRIP_VAULT_ADDR"], format!("https://vault:{listen}"));
    assert_eq!(ours["SCRIP_VAULT_TOKEN"], vault["VAULT_DEV_ROOT_TOKEN_ID"]);
}

/// Its flags, its health check and the certificate that the service is told to trust, tried with a real Vault.
#[tokio::test]
async fn vault_starts_and_is_trusted_as_written() {
    let compose = compose();
    let service = &compose.services["vault"];
    let (home, port) = (TempDir::new().unwrap(), free_port());
    let here = |text: &String| {
        text.replace("/vault/file", home.path().to_str().unwrap())
            .replace(":8200", &format!(":{port}"))
    };
    let mut server = vault(&home);
    server
        .args(service.command.iter().map(here))
        .arg(format!("-dev-listen-address=127.0.0.1:{port}"));
    let mut server = Process::start(server);
    let [_, _, check @ ..] = service.healthcheck.as_ref().unwrap().test.as_slice() else {
        panic!("no CMD")
    };
    server
        .until(async || {
            vault(&home).args(check.iter().map(here)).output().ok()?.status.success().then_some(())
        })
        .await;

    let ours = &compose.services["scrip-1"];
    let (folder, certificate) = ours.environment["SCRIP_VAULT_CA"].rsplit_once('/').unwrap();
    assert!(ours.volumes.contains(&format!("vault-tls:{folder}:ro")));
    assert!(service.volumes.contains(&"vault-tls:/vault/file".to_owned()));
    let certificate =
        Certificate::from_pem(&std::fs::read(home.path().join(certificate)).unwrap()).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]);
    let http = http.resolve("vault", ([127, 0, 0, 1], port).into()).build().unwrap();
    let reply = http.get(format!("https://vault:{port}/v1/sys/health")).send().await.unwrap();
    assert_eq!(reply.status(), 200);
}

#[test]
fn ports_are_published_once_and_to_this_machine_only() {
    let compose = compose();
    let published: Vec<&String> =
        compose.services.values().flat_map(|service| &service.ports).collect();
    let outside: BTreeSet<&str> =
        published.iter().map(|port| port.rsplit_once(':').unwrap().0).collect();
    assert!(!published.is_empty());
    assert_eq!(outside.len(), published.len(), "{published:?}");
    assert!(outside.iter().all(|address| address.starts_with("127.0.0.1:")), "{published:?}");
}

#[test]
fn volumes_are_declared_and_writable_by_the_service() {
    let compose = compose();
    for (name, service) in &compose.services {
        for volume in &service.volumes {
            let (source, target) = volume.split_once(':').unwrap();
            assert!(compose.volumes.contains_key(source), "{name} mounts {source}");
            if service.is_ours() && source == "keys" {
                assert_eq!(target, service.environment["SCRIP_KEYS_DIR"]);
                // An empty volume takes owner and mode from the folder in the image that it is mounted on.
                assert!(
                    DOCKERFILE
                        .contains(&format!("--owner=10001 --group=10001 --mode=0700 {target}\n"))
                );
            }
        }
    }
    assert!(DOCKERFILE.contains("\nUSER 10001:10001\n"));
}

#[test]
fn images_have_versions_and_ours_is_built_with_the_projects_compiler() {
    for (name, service) in &compose().services {
        let tag = service.image.split_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{name}: {}", service.image);
    }
    let toolchain: toml::Table = include_str!("../rust-toolchain.toml").parse().unwrap();
    let version = toolchain["toolchain"]["channel"].as_str().unwrap();
    assert!(DOCKERFILE.contains(&format!("\nFROM rust:{version}-slim-bookworm AS build\n")));
    assert!(DOCKERFILE.contains(&format!("\nENV RUSTUP_TOOLCHAIN={version}\n")));
}

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    build: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    healthcheck: Option<Healthcheck>,
    restart: Option<String>,
}

impl Service {
    fn is_ours(&self) -> bool {
        self.build.is_some()
    }
}

#[derive(Deserialize)]
struct Dependency {
    condition: String,
}

#[derive(Deserialize)]
struct Healthcheck {
    test: Vec<String>,
}

fn compose() -> Compose {
    serde_saphyr::from_str(include_str!("../docker-compose.yml"))
        .expect("docker-compose.yml is well formed")
}
