use super::document::{Document, Reply};
use crate::harness::api::Api;
use crate::harness::service::Installation;
use reqwest::Method;
use std::collections::BTreeSet;

#[test]
fn every_path_of_the_service_is_documented_and_the_other_way_round() {
    let sources = [include_str!("../../src/router.rs"), include_str!("../../src/ops.rs")];
    let routed: BTreeSet<String> = sources.into_iter().flat_map(routes).collect();
    let document = Document::load();
    let documented: BTreeSet<String> = document.paths().keys().map(|path| nameless(path)).collect();
    assert_eq!(routed, documented);
}

#[tokio::test]
async fn every_method_of_the_service_is_documented_and_the_other_way_round() {
    let installation = Installation::on_sqlite();
    let operator = installation.bootstrap().await;
    let _service = installation.serve().await;
    let api = Api::new(&installation, operator);
    let document = Document::load();
    let brew = Method::from_bytes(b"BREW").unwrap();
    for (path, item) in document.paths() {
        let operations = item.get("servers").is_some();
        let server = if operations { installation.ops_url() } else { installation.url() };
        let request = api.http.request(brew.clone(), format!("{server}{path}"));
        let reply = Reply::read(request.send().await.unwrap()).await;
        assert_eq!(reply.status, 405, "{path}");
        let allowed: BTreeSet<&str> =
            reply.header("allow").split(',').filter(|method| *method != "HEAD").collect();
        let documented = document.operations().filter(|operation| operation.path == path);
        let documented: Vec<Method> = documented.map(|operation| operation.method).collect();
        assert_eq!(allowed, documented.iter().map(Method::as_str).collect(), "{path}");
        if !operations {
            let response = &document.0["components"]["responses"]["MethodNotAllowed"];
            document.check(response, &reply, &format!("BREW {path}"));
        }
    }
    let reply = api.http.get(format!("{}/v2", api.url)).send().await.unwrap();
    let response = &document.0["components"]["responses"]["NotFound"];
    document.check(response, &Reply::read(reply).await, "GET /v2");
}

/// The paths of a route table, as it is written.
fn routes(source: &str) -> impl Iterator<Item = String> {
    source.split(".route(").skip(1).map(|call| nameless(call.split('"').nth(1).expect("a path")))
}

/// Parameters have no names that a caller could see.
fn nameless(path: &str) -> String {
    let segment =
        |segment: &str| if segment.starts_with('{') { "{}".into() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
