//! The login at Vault: obtained, renewed ahead of its end, replaced, and found again after an
//! outage. One task does all of it, so there is never more than one login under way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use secrecy::SecretString;
use serde::Deserialize;
use tokio::{select, time::sleep};
use vaultrs::api::{
    auth::{
        approle::requests::LoginWithApproleRequest,
        kubernetes::requests::LoginWithKubernetesRequest,
    },
    token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest},
};

use super::{Auth, Core, Reason, State};
use crate::{clock, random};

const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// Vault's `ttl` of 0 is a token without end; looked at again all the same, as is one that lasts longer.
const ENDLESS: Duration = Duration::from_secs(24 * 3600);

/// What a request to Vault carries. A new one is made whenever Vault is found again, so that a
/// request that began before an outage cannot report the outage after it.
pub(super) struct Session {
    pub(super) token: SecretString,
    pub(super) since: Instant,
}

/// Runs for as long as the [`Vault`](super::Vault) lives.
pub(super) async fn keep(core: Arc<Core>) {
    let mut lease = None;
    let mut retry = FIRST_RETRY;
    loop {
        match enter(&core, lease.take()).await {
            Ok(entered) => {
                retry = FIRST_RETRY;
                lease = tend(&core, entered).await;
            }
            Err((reason, held)) => {
                lease = held;
                core.away(&reason);
                sleep(retry.mul_f64(random::fraction())).await;
                retry = (retry * 2).min(LONGEST_RETRY);
            }
        }
    }
}

struct Lease {
    token: SecretString,
    expires: Instant,
    /// What the login gave; a renewal that gives much less nears the token's last end.
    full: Duration,
    renewable: bool,
}

impl Lease {
    fn new(token: SecretString, ttl: u64, renewable: bool) -> Self {
        let full = if ttl == 0 { ENDLESS } else { lasting(ttl) };
        Self { token, expires: clock::monotonic() + full, full, renewable }
    }

    /// 65 to 75 % of what is left: replicas that started together do not renew together.
    fn renew_in(&self) -> Duration {
        let left = self.expires.saturating_duration_since(clock::monotonic());
        left.mul_f64(0.65 + 0.1 * random::fraction())
    }
}

/// The lease that was held, if Vault still knows it, else a new one.
async fn enter(core: &Core, held: Option<Lease>) -> Result<Lease, (Reason, Option<Lease>)> {
    let Some(lease) = held.filter(|lease| lease.expires > clock::monotonic()) else {
        return login(core).await.map_err(|reason| (reason, None));
    };
    match look_up(core, &lease.token).await {
        Ok(_) => Ok(lease),
        Err(Reason::Refused { status: 403, .. }) => {
            login(core).await.map_err(|reason| (reason, None))
        }
        Err(reason) => Err((reason, Some(lease))),
    }
}

/// Serves `lease` until it has to be replaced, because it cannot be renewed or nears its last end:
/// it still serves while its successor is fetched. Gives it back when Vault went away meanwhile.
async fn tend(core: &Core, mut lease: Lease) -> Option<Lease> {
    let session = Arc::new(Session { token: lease.token.clone(), since: clock::monotonic() });
    core.ready(Arc::clone(&session));
    let mut state = core.state.subscribe();
    loop {
        select! {
            left = state.wait_for(|state| !state.is(&session)) => {
                return left.is_ok_and(|state| matches!(*state, State::Away(_))).then_some(lease);
            }
            () = sleep(lease.renew_in()) => {}
        }
        if !lease.renewable {
            return None;
        }
        let asked = clock::monotonic();
        match core
            .transport
            .send(&RenewTokenSelfRequest { increment: None }, Some(&lease.token))
            .await
        {
            Ok(reply) => match reply.parse::<Authenticated>() {
                Ok(Authenticated { auth }) if auth.ttl() * 2 > lease.full => {
                    lease.expires = asked + auth.ttl();
                }
                _ => return None,
            },
            // Status 500 is also what Vault says past the longest life of a token.
            Err(Reason::Refused { .. }) => return None,
            Err(reason) => {
                core.report(&session, reason);
                return Some(lease);
            }
        }
    }
}

async fn login(core: &Core) -> Result<Lease, Reason> {
    let reply = match &core.settings.auth {
        Auth::Token(source) => {
            let token = source.read().await?;
            let found = look_up(core, &token).await?;
            return Ok(Lease::new(token, found.ttl, found.renewable));
        }
        Auth::AppRole { mount, role_id, secret_id } => {
            let request = LoginWithApproleRequest {
                mount: mount.clone(),
                role_id: role_id.read_plain().await?,
                secret_id: secret_id.read_plain().await?,
            };
            core.transport.send(&request, None).await?
        }
        Auth::Kubernetes { mount, role, jwt } => {
            let request = LoginWithKubernetesRequest {
                mount: mount.clone(),
                role: role.clone(),
                jwt: jwt.read_plain().await?,
            };
            core.transport.send(&request, None).await?
        }
    };
    let Authenticated { auth } = reply.parse()?;
    let token = SecretString::from(auth.client_token);
    tracing::info!(ttl = auth.lease_duration, renewable = auth.renewable, "logged in at Vault");
    Ok(Lease::new(token, auth.lease_duration, auth.renewable))
}

/// What Vault knows of `token`; status 403 where it knows nothing of it any more.
pub(super) async fn look_up(core: &Core, token: &SecretString) -> Result<Found, Reason> {
    #[derive(Deserialize)]
    struct Answer {
        data: Found,
    }
    let reply = core.transport.send(&LookupTokenSelfRequest {}, Some(token)).await?;
    reply.parse::<Answer>().map(|answer| answer.data)
}

#[derive(Deserialize)]
pub(super) struct Found {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct Authenticated {
    auth: Granted,
}

#[derive(Deserialize)]
struct Granted {
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

impl Granted {
    fn ttl(&self) -> Duration {
        lasting(self.lease_duration)
    }
}

/// Whatever Vault says, there is such a moment.
fn lasting(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(ENDLESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lease_is_too_long_or_too_short_to_be_reckoned_with() {
        for ttl in [0, 1, 3600, u64::MAX] {
            let lease = Lease::new(SecretString::from("token"), ttl, true);
            assert!(lease.renew_in() <= ENDLESS, "{ttl}");
            let auth =
                Granted { client_token: String::new(), lease_duration: ttl, renewable: true };
            assert_eq!(auth.ttl() * 2 > lease.full, ttl != 0, "{ttl}");
            assert!(clock::monotonic().checked_add(auth.ttl()).is_some());
        }
    }
}
