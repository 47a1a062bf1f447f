//! The canonical text of what an entry denies: the key under which the database finds it.

use scrip_token::deny::Entry;
use scrip_token::{Claims, Jti};

use crate::policy::Approved;

/// The subject of an entry.
#[must_use]
pub fn of_entry(entry: &Entry) -> String {
    match entry {
        Entry::Jti { jti, .. } => of_jti(*jti),
        Entry::Client { client, .. } => of_client(client.as_str()),
        Entry::Sub { sub, .. } => of_sub(&sub.tenant, &sub.id),
        Entry::Tenant { tenant, .. } => of_tenant(tenant),
        Entry::Cred { cred, .. } => of_cred(cred.client.as_str(), &cred.version),
        Entry::Kid { kid } => of_kid(kid),
        Entry::All { .. } => ALL.to_owned(),
    }
}

/// The subjects of all entries that can kill this token.
#[must_use]
pub fn of_token(claims: &Claims, kid: &str) -> Vec<String> {
    let client = claims.client_id.as_str();
    let mut subjects = vec![
        of_jti(claims.jti),
        of_client(client),
        of_sub(&claims.tenant, &claims.sub),
        of_tenant(&claims.tenant),
        of_kid(kid),
        ALL.to_owned(),
    ];
    subjects.extend(claims.lin.iter().copied().map(of_jti));
    subjects.extend(claims.cred.as_deref().map(|version| of_cred(client, version)));
    subjects
}

/// The subjects of all entries that can stop a token from being minted.
#[must_use]
pub fn of_approved(approved: &Approved) -> [String; 5] {
    let client = approved.client();
    [
        of_client(client.as_str()),
        of_sub(client.tenant(), approved.subject()),
        of_tenant(client.tenant()),
        of_cred(client.as_str(), approved.cred()),
        ALL.to_owned(),
    ]
}

const ALL: &str = "all";

fn of_jti(jti: Jti) -> String {
    format!("jti:{jti}")
}

fn of_client(client: &str) -> String {
    format!("client:{client}")
}

fn of_sub(tenant: &str, sub: &str) -> String {
    format!("sub:{tenant}/{sub}")
}

fn of_tenant(tenant: &str) -> String {
    format!("tenant:{tenant}")
}

/// Of a version of a client's secret.
#[must_use]
pub fn of_cred(client: &str, version: &str) -> String {
    format!("cred:{client}:{version}")
}

fn of_kid(kid: &str) -> String {
    format!("kid:{kid}")
}
