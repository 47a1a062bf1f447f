//! What a group of revocations comes to: each order judged by what stands in the database, and by the
//! orders before it.

use std::collections::HashMap;

use axum::http::StatusCode;
use scrip_token::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::enact::{Draft, Grounds};
use super::known::Known;
use super::revoker::{Order, Revoked};
use super::selector::{Found, Target};
use super::unissued::Unissued;
use super::{NotRevoked, ROUTE};
use crate::audit::Event;
use crate::caller::Caller;
use crate::clock;
use crate::store::idempotency::{self, Used};
use crate::store::revocations::{self, Revocation};
use crate::store::{StoreError, Tx, audit};

/// The orders of a group.
pub(super) struct Docket {
    now_ms: i64,
    /// What is to be enacted.
    pub(super) drafts: Vec<Draft>,
    /// The last revocation of each subject, on record or drafted.
    standing: HashMap<String, Verdict>,
    keys: Answers,
    /// Keys to be remembered, with what they led to.
    used: Vec<(Used, Verdict)>,
    /// With those of this group.
    pub(super) unissued: Unissued,
    /// For the audit log, one for each draft.
    events: Vec<(Event, Value)>,
    verdicts: Vec<Result<Verdict, NotRevoked>>,
}

/// By caller and `Idempotency-Key`.
type Answers = HashMap<(String, String), (Digest, Result<Verdict, NotRevoked>)>;

#[derive(Clone)]
enum Verdict {
    /// There is nothing to do: this revocation was first.
    Stands(StatusCode, Box<Revocation>),
    /// The order is to be enacted; the draft's index.
    Drafted(usize),
    /// The draft of an order before does it already.
    Covered(usize),
}

/// What is remembered under an `Idempotency-Key`.
#[derive(Serialize, Deserialize)]
struct Answer {
    status: u16,
    id: Uuid,
}

impl Docket {
    pub(super) async fn open(
        tx: &mut Tx,
        orders: Vec<Order>,
        unissued: Unissued,
        now_ms: i64,
    ) -> Result<Self, NotRevoked> {
        let mut docket = Self {
            now_ms,
            drafts: Vec::new(),
            standing: HashMap::new(),
            keys: answered(tx, &orders).await?,
            used: Vec::new(),
            unissued,
            events: Vec::new(),
            verdicts: Vec::with_capacity(orders.len()),
        };
        let now = clock::seconds(now_ms);
        let asked = orders.iter().map(|order| (&order.selector, &order.reach));
        let known = Known::read(tx, asked, now).await?;
        let found = orders.iter().map(|o| o.selector.resolve_with(&known, &o.reach, now));
        let found: Vec<_> = found.collect();
        let subjects: Vec<&str> = found.iter().flatten().map(|f| f.subject.as_str()).collect();
        for first in revocations::latest(tx, &subjects).await? {
            let verdict = Verdict::Stands(StatusCode::OK, Box::new(first.clone()));
            docket.standing.insert(first.subject, verdict);
        }
        if found.iter().flatten().any(|found| found.unissued_until().is_some()) {
            docket.unissued.refresh(tx, now_ms).await?;
        }
        for (order, found) in orders.into_iter().zip(found) {
            let verdict = docket.judge(order, found);
            docket.verdicts.push(verdict);
        }
        Ok(docket)
    }

    fn judge(
        &mut self,
        mut order: Order,
        found: Result<Found, NotRevoked>,
    ) -> Result<Verdict, NotRevoked> {
        // Not even what was answered before is said of what is out of reach by now.
        if order.reach.is_confined() {
            found.as_ref().map_err(NotRevoked::clone)?;
        }
        let caller = order.by.client.to_string();
        let repeat = order.repeat.take().map(|(key, digest)| ((caller, key), digest));
        if let Some((key, digest)) = &repeat
            && let Some((first, verdict)) = self.keys.get(key)
        {
            return if first == digest { verdict.clone() } else { Err(NotRevoked::KeyReused) };
        }
        let found = found?;
        let verdict = match self.standing(&order, &found) {
            Some(verdict) => verdict,
            None if !self.has_room(&order.by, &found) => return Err(NotRevoked::TooManyUnissued),
            None => self.draft(order, found),
        };
        if let Some(((caller, key), digest)) = repeat {
            let used = Used {
                caller: caller.clone(),
                route: ROUTE.to_owned(),
                key: key.clone(),
                digest,
                at: self.now_ms / 1000,
                jti: None,
                reply: None,
            };
            self.keys.insert((caller, key), (digest, Ok(verdict.clone())));
            self.used.push((used, verdict.clone()));
        }
        Ok(verdict)
    }

    /// The revocation that has done already what is asked for: the list does not grow.
    fn standing(&self, order: &Order, found: &Found) -> Option<Verdict> {
        let verdict = self.standing.get(&found.subject)?.clone();
        let (first, verdict) = match &verdict {
            Verdict::Stands(_, first) => (&**first, verdict.clone()),
            Verdict::Drafted(n) | Verdict::Covered(n) => {
                (&self.drafts.get(*n)?.revocation, Verdict::Covered(*n))
            }
        };
        let covers = match (first.before.map(i64::cast_unsigned), found.before) {
            (Some(cut), Some(needed)) => {
                cut >= needed && order.selector.before.is_none_or(|asked| cut >= asked)
            }
            (None, None) => true,
            _ => false,
        };
        covers.then_some(verdict)
    }

    /// Takes room for it on the list; what was issued here needs none.
    fn has_room(&mut self, by: &Caller, found: &Found) -> bool {
        found.unissued_until().is_none_or(|until| self.unissued.take(&by.client, until))
    }

    fn draft(&mut self, order: Order, found: Found) -> Verdict {
        let mut event = Event::new("revoke", "done")
            .actor(&order.by.client)
            .target(found.subject.clone())
            .origin(order.by.address, order.id.to_string());
        if let Some(tenant) = &found.tenant {
            event = event.tenant(tenant);
        }
        if let Target::Jti(jti) = order.selector.target {
            event = event.jti(jti);
        }
        let Grounds { reason, note } = &order.grounds;
        let detail = json!({"selector": order.selector.to_json(), "reason": reason, "note": note});
        self.events.push((event, detail));

        let subject = found.subject.clone();
        self.drafts.push(Draft::new(
            order.selector,
            found,
            &order.by.client,
            order.grounds,
            self.now_ms,
        ));
        let verdict = Verdict::Drafted(self.drafts.len() - 1);
        self.standing.insert(subject, verdict.clone());
        verdict
    }

    /// Remembers what the keys of this group have led to. Nobody else revokes meanwhile, so nobody
    /// else has taken one of them.
    pub(super) async fn remember(
        &mut self,
        tx: &mut Tx,
        revoked: &[Revocation],
    ) -> Result<(), StoreError> {
        let used = std::mem::take(&mut self.used).into_iter().map(|(used, verdict)| {
            let Revoked { status, revocation } = verdict.carried_out(revoked);
            let answer = json!({"status": status.as_u16(), "id": revocation.id.to_string()});
            Used { reply: Some(answer.to_string()), ..used }
        });
        idempotency::insert_many(tx, &used.collect::<Vec<_>>()).await?;
        Ok(())
    }

    pub(super) fn events(&mut self, revoked: &[Revocation]) -> Vec<audit::Event> {
        let events = std::mem::take(&mut self.events).into_iter().zip(revoked);
        let dated = |((event, mut detail), revocation): ((Event, Value), &Revocation)| {
            detail["seq"] = json!(revocation.seq);
            event.detail(&detail).at(self.now_ms)
        };
        events.map(dated).collect()
    }

    pub(super) fn settled(self, revoked: &[Revocation]) -> Vec<Result<Revoked, NotRevoked>> {
        let verdicts = self.verdicts.into_iter();
        verdicts.map(|verdict| verdict.map(|verdict| verdict.carried_out(revoked))).collect()
    }
}

/// What the `Idempotency-Key`s of these orders led to before. An answer that cannot be read is the fault
/// of nobody else.
async fn answered(tx: &mut Tx, orders: &[Order]) -> Result<Answers, StoreError> {
    let keys = orders
        .iter()
        .filter_map(|order| Some((order.by.client.as_str(), order.repeat.as_ref()?.0.as_str())));
    let keys: Vec<_> = keys.collect();
    let used = idempotency::find_many(tx, ROUTE, &keys).await?;
    let answer = |used: &Used| serde_json::from_str::<Answer>(used.reply.as_deref()?).ok();
    let ids: Vec<Uuid> = used.iter().filter_map(answer).map(|answer| answer.id).collect();
    let firsts = revocations::by_ids(tx, &ids).await?;
    let firsts: HashMap<Uuid, Revocation> = firsts.into_iter().map(|r| (r.id, r)).collect();
    let led_to = |used: &Used| {
        let Answer { status, id } = answer(used)?;
        let first = firsts.get(&id)?.clone();
        Some(Verdict::Stands(StatusCode::from_u16(status).ok()?, Box::new(first)))
    };
    let corrupt = || StoreError::Corrupt("an answer without its revocation".to_owned());
    let known = |used: Used| {
        let verdict: Result<_, NotRevoked> = led_to(&used).ok_or_else(|| corrupt().into());
        ((used.caller, used.key), (used.digest, verdict))
    };
    Ok(used.into_iter().map(known).collect())
}

impl Verdict {
    fn carried_out(self, revoked: &[Revocation]) -> Revoked {
        let (status, revocation) = match self {
            Self::Stands(status, first) => (status, *first),
            Self::Drafted(n) if revoked[n].seq.is_some() => {
                (StatusCode::CREATED, revoked[n].clone())
            }
            Self::Drafted(n) | Self::Covered(n) => (StatusCode::OK, revoked[n].clone()),
        };
        Revoked { status, revocation }
    }
}
