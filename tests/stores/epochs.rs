//! When the database is not believed, and what is made of a follower's evidence.

use super::Fresh;
use scrip::bootstrap::bootstrap;
use scrip::clock;
use scrip::config::Config;
use scrip::deny::epoch::{Continuity, Evidence, continuity, contradicted, renew, resume};
use scrip::deny::{DenyList, Position, PublishError};
use scrip::signer::{self, Purpose, Signer, generate};
use scrip::store::{Lock, deny_batches, deny_entries, installation};
use scrip::witness::{Place, Testimony, Witness};
use scrip_token::compact::Compact;
use scrip_token::deny::{Batch, Entry};
use scrip_token::{Alg, Jti, Typ};
use std::sync::Arc;
use tempfile::TempDir;

on_both!(
    a_batch_that_the_database_should_have_begins_an_epoch,
    n78_evidence_that_proves_nothing_changes_nothing,
    n96_several_that_find_the_same_begin_one_epoch,
    a_database_that_lost_a_batch_is_given_no_other,
    a_replica_that_was_away_for_long_begins_no_epoch,
    a_place_that_is_forgotten_shows_nothing_by_itself,
);

async fn a_batch_that_the_database_should_have_begins_an_epoch(fresh: &Fresh) {
    let set_up = SetUp::of(fresh).await;
    let list = set_up.list().await;
    let kept = set_up.revoke(&list, jti(1)).await;
    let withdrawn = set_up.kid(Purpose::Token).await;
    let lost = set_up.revoke(&list, Entry::Kid { kid: withdrawn.clone() }).await;
    assert_eq!(contradicted(&fresh.store, &list, &kept).await.unwrap(), Evidence::Known);
    assert_eq!(contradicted(&fresh.store, &list, &lost).await.unwrap(), Evidence::Known);
    drop(list);

    // Database and keys come from an equally old backup: only the follower knows better.
    set_up.forget_the_last(&lost).await;
    let list = set_up.list().await;
    let before = set_up.row().await;
    assert_eq!(contradicted(&fresh.store, &list, &kept).await.unwrap(), Evidence::Known);
    assert_eq!(contradicted(&fresh.store, &list, &lost).await.unwrap(), Evidence::Begun);
    let after = set_up.row().await;
    assert!(after.epoch > before.epoch && after.seq == 1, "{after:?}");
    assert!(after.keys_version > before.keys_version + 1, "documents may have been published");

    let mut session = fresh.store.read().await.unwrap();
    let first = deny_batches::one(&mut session, &after.epoch, 1).await.unwrap().unwrap();
    let entries = deny_entries::live(&mut session, &after.epoch, 1, 0, (0, -1), 10).await.unwrap();
    let texts: Vec<&str> = entries.iter().map(|entry| entry.subject.as_str()).collect();
    assert_eq!(texts, ["all", &format!("kid:{withdrawn}")]);
    let keys = signer::keys(&mut session).await.unwrap();
    let key = keys.iter().find(|key| key.jwk.kid == withdrawn).unwrap();
    assert!(key.revoked_at.is_some());
    assert_eq!(list.witness().known().head, first.head);
    assert_eq!(contradicted(&fresh.store, &list, &lost).await.unwrap(), Evidence::Known);
    assert_eq!(set_up.row().await, after);
}

async fn n78_evidence_that_proves_nothing_changes_nothing(fresh: &Fresh) {
    let set_up = SetUp::of(fresh).await;
    let list = set_up.list().await;
    let first = set_up.revoke(&list, jti(1)).await;
    set_up.revoke(&list, jti(2)).await;
    let row = set_up.row().await;

    let mut batch = Batch::parse(&payload(&first)).unwrap();
    batch.seq = 9;
    let ahead = serde_json::to_vec(&batch).unwrap();
    batch.iss = "https://other.example".to_owned();
    let foreign = serde_json::to_vec(&batch).unwrap();
    let (stranger, _) = generate(Alg::EdDSA).unwrap();
    let feed = set_up.kid(Purpose::Feed).await;
    let ours = set_up.signer().await;
    let forged = first.replace(&first[first.len() - 8..], "AAAAAAAA");
    let unproven = [
        String::new(),
        "a.b.c".to_owned(),
        forged,
        stranger.sign(Typ::DenyBatch, &ahead).unwrap(),
        ours.sign_object(Typ::DenyBatch, &feed, &foreign).unwrap(),
        ours.sign_object(Typ::DenyHeartbeat, &feed, &ahead).unwrap(),
        ours.sign_object(Typ::DenyBatch, &feed, b"{}").unwrap(),
        ours.sign_object(Typ::DenyBatch, &set_up.kid(Purpose::Root).await, &ahead).unwrap(),
    ];
    for jws in unproven {
        let found = contradicted(&fresh.store, &list, &jws).await.unwrap();
        assert_eq!(found, Evidence::Unproven, "{jws}");
    }
    fresh.sql("DELETE FROM deny_batches WHERE seq = 1").await;
    assert_eq!(contradicted(&fresh.store, &list, &first).await.unwrap(), Evidence::Forgotten);

    // Signed by a key of ours that was revoked since: a thief may have it.
    let evidence = ours.sign_object(Typ::DenyBatch, &feed, &ahead).unwrap();
    fresh.sql(&format!("UPDATE signing_keys SET revoked_at = 1 WHERE kid = '{feed}'")).await;
    assert_eq!(contradicted(&fresh.store, &list, &evidence).await.unwrap(), Evidence::Unproven);
    assert_eq!(set_up.row().await, row);
}

async fn n96_several_that_find_the_same_begin_one_epoch(fresh: &Fresh) {
    let set_up = SetUp::of(fresh).await;
    let lists = [set_up.list().await, set_up.list().await, set_up.list().await];
    let lost = set_up.revoke(&lists[0], jti(1)).await;
    let [one, two, three] = &lists;
    for list in [two, three] {
        list.witness().note(&Position::from(&set_up.row().await));
    }
    set_up.forget_the_last(&lost).await;
    let (a, b, c) = tokio::join!(
        renew(&fresh.store, one),
        renew(&fresh.store, two),
        renew(&fresh.store, three)
    );
    for renewed in [a, b, c] {
        renewed.unwrap();
    }
    let row = set_up.row().await;
    assert_eq!(row.seq, 1);
    for list in &lists {
        assert_eq!(list.witness().known().epoch, row.epoch);
    }
    let begun = "SELECT count(*) FROM audit WHERE action = 'epoch.begin'";
    assert_eq!(fresh.number(begun).await, 1);
    let told = "SELECT count(*) FROM outbox JOIN audit ON audit.id = outbox.id \
                WHERE action = 'epoch.begin' AND outcome = 'alert'";
    assert_eq!(fresh.number(told).await, 1, "somebody is told of it, once");

    // A start among replicas that have been through it changes nothing.
    let (_place, witnesses) = Place::take(&set_up.config.keys_dir).unwrap();
    resume(&fresh.store, &lists[0], &witnesses).await.unwrap();
    assert_eq!(set_up.row().await, row);
}

async fn a_database_that_lost_a_batch_is_given_no_other(fresh: &Fresh) {
    let set_up = SetUp::of(fresh).await;
    let list = set_up.list().await;
    let lost = set_up.revoke(&list, jti(1)).await;
    set_up.forget_the_last(&lost).await;
    let row = set_up.row().await;
    let mut tx = fresh.store.begin(Lock::Revoke).await.unwrap();
    let now_ms = tx.now_ms(clock::now_ms()).await.unwrap();
    let appended = list.append(&mut tx, now_ms, &[jti(2)]).await;
    assert!(matches!(appended, Err(PublishError::Lost)), "{appended:?}");
    drop(tx);
    let mut session = fresh.store.read().await.unwrap();
    assert!(matches!(list.row(&mut session).await, Err(PublishError::Lost)));
    assert_eq!(set_up.row().await, row);
}

async fn a_replica_that_was_away_for_long_begins_no_epoch(fresh: &Fresh) {
    let set_up = SetUp::of(fresh).await;
    let (here, gone) = (set_up.list().await, set_up.list().await);
    set_up.revoke(&here, jti(1)).await;
    gone.witness().note(&(&set_up.row().await).into());
    gone.witness().sync().await.unwrap();
    drop(gone);
    set_up.revoke(&here, jti(2)).await;
    set_up.revoke(&here, jti(3)).await;
    set_up.forget_what_is_old().await;
    let row = set_up.row().await;

    let list = set_up.list().await;
    let (_place, witnesses) = Place::take(&set_up.config.keys_dir).unwrap();
    assert_eq!(witnesses.iter().map(|one| one.seq).collect::<Vec<_>>(), [3, 1]);
    resume(&fresh.store, &list, &witnesses).await.unwrap();
    assert_eq!(set_up.row().await, row, "somebody knows of all that came after");
}

async fn a_place_that_is_forgotten_shows_nothing_by_itself(fresh: &Fresh) {
    let set_up = SetUp::of(fresh).await;
    let list = set_up.list().await;
    set_up.revoke(&list, jti(1)).await;
    let first = list.witness().known();
    set_up.revoke(&list, jti(2)).await;
    set_up.revoke(&list, jti(3)).await;
    set_up.forget_what_is_old().await;
    let row = set_up.row().await;

    // What was revoked for ever is never too old: a database that does not say so has lost it.
    let revoked = Testimony { revoked: [set_up.kid(Purpose::Token).await].into(), ..first.clone() };
    let ahead = Testimony { keys: row.keys_version + 1, ..first.clone() };
    for (witness, found) in [
        (&first, Continuity::Forgotten),
        (&revoked, Continuity::Lost),
        (&ahead, Continuity::Lost),
        (&list.witness().known(), Continuity::Shown),
    ] {
        let mut session = fresh.store.read().await.unwrap();
        let judged = continuity(&mut session, &row, witness).await.unwrap();
        assert_eq!(judged, found, "{witness:?}");
    }

    resume(&fresh.store, &list, &[first]).await.unwrap();
    assert!(set_up.row().await.epoch > row.epoch, "nobody knows of what came after");
}

/// An installation on a database of its own.
pub struct SetUp<'f> {
    fresh: &'f Fresh,
    config: Config,
    _folder: TempDir,
}

impl<'f> SetUp<'f> {
    pub async fn of(fresh: &'f Fresh) -> Self {
        let folder = TempDir::new().unwrap();
        let config = Config::embedded("127.0.0.1:1".parse().unwrap(), folder.path());
        bootstrap(&fresh.store, &config).await.unwrap();
        Self { fresh, config, _folder: folder }
    }

    /// As a replica has it that starts now and believes the database.
    pub async fn list(&self) -> DenyList {
        let signer = Arc::new(self.signer().await);
        let (place, _) = Place::take(&self.config.keys_dir).unwrap();
        let mut session = self.fresh.store.read().await.unwrap();
        let found = Testimony::read(&mut session, clock::now_seconds()).await.unwrap().unwrap();
        let witness = Witness::new(place, found);
        DenyList::new(self.config.issuer.clone(), signer, witness, (&self.row().await).into())
    }

    async fn signer(&self) -> Signer {
        let signer = Signer::open(&self.config.keys_dir).unwrap();
        let keys = signer::keys(&mut self.fresh.store.read().await.unwrap()).await.unwrap();
        signer.load(&keys, clock::now_seconds()).unwrap();
        signer
    }

    async fn kid(&self, purpose: Purpose) -> String {
        let keys = signer::keys(&mut self.fresh.store.read().await.unwrap()).await.unwrap();
        signer::single(&keys, purpose, clock::now_seconds()).unwrap().jwk.kid.clone()
    }

    pub async fn row(&self) -> installation::Installation {
        let mut session = self.fresh.store.read().await.unwrap();
        installation::read(&mut session).await.unwrap().unwrap()
    }

    /// The batch that it became.
    pub async fn revoke(&self, list: &DenyList, entry: Entry) -> String {
        let mut tx = self.fresh.store.begin(Lock::Revoke).await.unwrap();
        let now_ms = tx.now_ms(clock::now_ms()).await.unwrap();
        let appended = list.append(&mut tx, now_ms, &[entry]).await.unwrap();
        let position = &appended.position;
        let batch = deny_batches::one(&mut tx, &position.epoch, position.seq).await.unwrap();
        tx.commit().await.unwrap();
        list.acknowledge(appended).await.unwrap();
        batch.unwrap().jws.unwrap()
    }

    /// The database as it was before that batch.
    async fn forget_the_last(&self, jws: &str) {
        let Batch { seq, prev, .. } = Batch::parse(&payload(jws)).unwrap();
        let head =
            if self.fresh.is_postgres() { format!("'\\x{prev}'") } else { format!("x'{prev}'") };
        for table in ["deny_batches", "deny_entries"] {
            self.fresh.sql(&format!("DELETE FROM {table} WHERE seq = {seq}")).await;
        }
        let sql = format!("UPDATE installation SET seq = {}, head = {head}", seq - 1);
        self.fresh.sql(&sql).await;
    }

    /// As upkeep leaves it when all that there is has been there for long.
    async fn forget_what_is_old(&self) {
        let mut tx = self.fresh.store.begin(Lock::Admin).await.unwrap();
        deny_batches::prune(&mut tx, i64::MAX, 100).await.unwrap();
        tx.commit().await.unwrap();
    }
}

fn jti(millisecond: u64) -> Entry {
    let now = clock::now_seconds();
    Entry::Jti { jti: Jti::new(now * 1000 + millisecond, [7; 10]), until: now + 300 }
}

fn payload(jws: &str) -> Vec<u8> {
    Compact::parse(jws.as_bytes(), jws.len()).unwrap().payload
}
