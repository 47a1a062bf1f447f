//! Tokens that the service's keys signed and the service did not: those of a thief, and those that were
//! delegated from others, as long as no token exchange makes them.

use super::ledger::Token;
use crate::harness::service::Installation;
use pem::Pem;
use scrip::random;
use scrip_token::{Alg, Claims, Jti, QualifiedName, SigningKey, Typ};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use std::path::Path;

/// Who is delegated to. No selector of a drill names it.
const ELSEWHERE: &str = "elsewhere/tool";

/// A key of the installation, as whoever has read its file has it.
pub fn key(installation: &Installation, kid: &str) -> SigningKey {
    let file = Path::new(installation.setting("SCRIP_KEYS_DIR")).join(format!("{kid}.pem"));
    let pem: Pem = std::fs::read_to_string(file).expect("it is there").parse().expect("PEM");
    SigningKey::from_pkcs8(Alg::ES256, pem.contents()).expect("a key")
}

pub fn sign(key: &SigningKey, claims: &Claims) -> String {
    let payload = serde_json::to_vec(claims).expect("claims are JSON");
    key.sign(Typ::AccessToken, &payload).expect("a sound key signs")
}

/// A token delegated from `parent`, dated as that is.
pub fn delegate(installation: &Installation, parent: &Token) -> String {
    sign(&key(installation, &parent.kid), &delegated(&parent.claims))
}

/// The same, with the record that a token exchange will leave: whoever revokes `parent` by any selector
/// revokes this one.
pub async fn delegate_on_record(installation: &Installation, parent: &Token) -> String {
    let claims = delegated(&parent.claims);
    let url = installation.setting("SCRIP_DATABASE_URL");
    let is_sqlite = url.starts_with("sqlite:");
    let bytes = |jti: &Jti| {
        let hex = jti.to_string().replace('-', "");
        if is_sqlite { format!("x'{hex}'") } else { format!("'\\x{hex}'") }
    };
    let Claims { tenant, client_id, sub, aud, cred, iat, exp, .. } = &claims;
    let sql = format!(
        "INSERT INTO tokens (jti, tenant, client, sub, aud, kid, cred, iat, exp, lin, claims) VALUES \
         ({jti}, '{tenant}', '{client_id}', '{sub}', '{aud}', '{kid}', '{cred}', {iat}, {exp}, {lin}, \
         '{json}')",
        jti = bytes(&claims.jti),
        kid = parent.kid,
        cred = cred.as_deref().expect("as its parent has it"),
        lin = bytes(&parent.claims.jti),
        json = serde_json::to_string(&claims).expect("claims are JSON"),
    );
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    let done = if is_sqlite {
        let mut connection = SqliteConnection::connect(url).await.expect("it can be written");
        sql.execute(&mut connection).await.map(drop)
    } else {
        let mut connection = PgConnection::connect(url).await.expect("Postgres answers");
        sql.execute(&mut connection).await.map(drop)
    };
    done.expect("it can be recorded");
    sign(&key(installation, &parent.kid), &claims)
}

fn delegated(parent: &Claims) -> Claims {
    let client_id = QualifiedName::parse(ELSEWHERE).expect("a name");
    let lin = [parent.lin.as_slice(), &[parent.jti]].concat();
    let jti = Jti::new(parent.jti.milliseconds(), random::bytes());
    Claims { tenant: client_id.tenant().to_owned(), client_id, lin, jti, ..parent.clone() }
}
