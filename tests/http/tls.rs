//! TLS that ends here.

use std::fs;
use std::time::Duration;

use rcgen::CertifiedKey;
use reqwest::{Certificate, StatusCode, Version, tls};

use crate::harness::process::Process;
use crate::harness::service::Installation;
use crate::harness::until::until;

#[tokio::test]
async fn the_api_is_served_over_tls_and_a_new_certificate_is_taken_up() {
    let installation = Installation::on_sqlite();
    let (cert, key) =
        (installation.folder.path().join("cert.pem"), installation.folder.path().join("key.pem"));
    let put = || {
        let CertifiedKey { cert: made, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
                .unwrap();
        fs::write(&key, signing_key.serialize_pem()).unwrap();
        fs::write(&cert, made.pem()).unwrap();
        Certificate::from_pem(made.pem().as_bytes()).unwrap()
    };
    let first = put();
    let installation = installation
        .set("SCRIP_TLS_CERT", cert.to_str().unwrap())
        .set("SCRIP_TLS_KEY", key.to_str().unwrap());
    installation.bootstrap().await;
    let service = installation.serve().await;
    let url = installation.url().replace("http://", "https://") + "/.well-known/jwks.json";
    let client = |certificate: Certificate| {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5));
        client.tls_certs_only([certificate])
    };

    let reply = client(first.clone()).build().unwrap().get(&url).send().await.unwrap();
    assert_eq!((reply.status(), reply.version()), (StatusCode::OK, Version::HTTP_2));
    let old = client(first.clone()).tls_version_max(tls::Version::TLS_1_2).build().unwrap();
    assert_eq!(old.get(&url).send().await.unwrap().status(), StatusCode::OK);
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(plain.get(url.replace("https://", "http://")).send().await.is_err());
    assert!(plain.get(&url).send().await.is_err(), "nobody vouches for the certificate");

    fs::write(&cert, "no certificate").unwrap();
    let second = put();
    until("the new certificate is served", Duration::from_secs(20), async || {
        client(second.clone()).build().unwrap().get(&url).send().await.ok()
    })
    .await;
    assert!(client(first).build().unwrap().get(&url).send().await.is_err());
    service.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused_at_the_start() {
    let installation = Installation::on_sqlite();
    let path = |name: &str| installation.folder.path().join(name);
    fs::write(path("cert.pem"), "no certificate").unwrap();
    fs::write(path("key.pem"), "no key").unwrap();
    installation.bootstrap().await;
    let installation = installation
        .clone()
        .set("SCRIP_TLS_CERT", path("cert.pem").to_str().unwrap())
        .set("SCRIP_TLS_KEY", path("key.pem").to_str().unwrap());
    let mut refused = Process::start(installation.command(&["serve"]));
    assert!(!refused.exit().await.success());
    assert!(refused.stderr().contains("cert.pem"), "{refused}");
}
