use super::document::{Document, Reply};
use crate::harness::api::Api;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// A conversation with the service in which every reply is held against the contract.
pub struct Session {
    pub document: Document,
    pub api: Api,
    /// The operator's, with every scope.
    pub bearer: String,
    seen: RefCell<BTreeSet<(String, u16)>>,
}

impl Session {
    pub async fn new(api: Api) -> Self {
        let scopes = "scrip:clients scrip:policies scrip:keys scrip:revoke scrip:tokens scrip:audit scrip:feed scrip:usage";
        let bearer = api.bearer(scopes).await;
        Self { document: Document::load(), api, bearer, seen: RefCell::default() }
    }

    /// A request by nobody.
    pub fn plain(&self, method: Method, path: &str) -> RequestBuilder {
        self.api.http.request(method, format!("{}{path}", self.api.url))
    }

    /// A request by the operator.
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.plain(method, path).header(AUTHORIZATION, &self.bearer)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.ask(Method::POST, path).json(body)
    }

    /// Sends; panics unless the reply has this status and is documented.
    pub async fn expect(&self, status: u16, request: RequestBuilder) -> Reply {
        let reply = self.send(request).await;
        let body = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, status, "{}: {body}", reply.url);
        reply
    }

    /// Sends; panics unless the reply is documented.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        let (http, request) = request.build_split();
        let request = request.expect("a request");
        let operation = self.document.operation(request.method(), request.url().path());
        let reply = Reply::read(http.execute(request).await.expect("the service answers")).await;
        operation.check(&reply);
        self.seen.borrow_mut().insert((operation.id().to_owned(), reply.status));
        reply
    }

    /// What is documented and has not been seen.
    pub fn unseen(&self) -> BTreeSet<(String, u16)> {
        let documented = self.document.operations().flat_map(|operation| {
            let id = operation.id().to_owned();
            operation.statuses().into_iter().map(move |status| (id.clone(), status))
        });
        let seen = self.seen.borrow();
        documented.filter(|documented| !seen.contains(documented)).collect()
    }
}
