//! What a group of mints writes, one statement for each table.

use std::net::IpAddr;

use scrip_token::{Budget, Cidr, Claims, ModelPattern, QualifiedName, Scopes};
use serde::Serialize;
use serde_json::Value;

use crate::audit::Event;
use crate::store::{self, Inserts, StoreError, tokens};

/// Rows that are not written yet, and who minted from where.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) tokens: Vec<tokens::Token>,
    pub(super) events: Vec<store::audit::Event>,
    pub(super) uses: Vec<(QualifiedName, IpAddr)>,
}

impl Rows {
    /// Adds a token, and what the audit log says of it; yields the claims as they will stand in the
    /// database.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the claims cannot be written.
    pub(super) fn add(
        &mut self,
        claims: &Claims,
        kid: &str,
        asked: &Value,
        address: IpAddr,
        request_id: String,
        now_ms: u64,
    ) -> Result<String, StoreError> {
        let unwritable = |error: serde_json::Error| StoreError::Corrupt(error.to_string());
        let client = claims.client_id.to_string();
        self.uses.push((claims.client_id.clone(), address));
        self.events.push(
            Event::new("mint", "granted")
                .actor(&claims.client_id)
                .target(claims.sub.clone())
                .jti(claims.jti)
                .origin(address, request_id)
                .detail(&Granted {
                    aud: &claims.aud,
                    scope: &claims.scope,
                    models: &claims.models,
                    budget: claims.budget,
                    cidrs: claims.cidrs.as_deref(),
                    env: &claims.env,
                    exp: claims.exp,
                    cred: claims.cred.as_deref(),
                    kid,
                    asked,
                })
                .at(now_ms.cast_signed()),
        );
        let text = serde_json::to_string(claims).map_err(unwritable)?;
        self.tokens.push(tokens::Token {
            jti: claims.jti,
            tenant: claims.tenant.clone(),
            client,
            sub: claims.sub.clone(),
            aud: claims.aud.clone(),
            kid: kid.to_owned(),
            cred: claims.cred.clone(),
            iat: claims.iat.cast_signed(),
            exp: claims.exp.cast_signed(),
            lin: claims.lin.clone(),
            claims: text.clone(),
        });
        Ok(text)
    }

    /// Puts them with what else is inserted. None of the events is an alert.
    pub(super) fn push(&self, inserts: &mut Inserts) {
        tokens::push(inserts, &self.tokens);
        store::audit::push(inserts, &self.events);
    }
}

#[derive(Serialize)]
struct Granted<'a> {
    aud: &'a str,
    scope: &'a Scopes,
    models: &'a [ModelPattern],
    budget: Option<Budget>,
    cidrs: Option<&'a [Cidr]>,
    env: &'a str,
    exp: u64,
    cred: Option<&'a str>,
    kid: &'a str,
    asked: &'a Value,
}
