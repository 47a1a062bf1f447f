//! `mint_group_over_single`: the recorder alone. Many callers of one recorder share its commits;
//! callers with a recorder each have a commit each, at once as far as the database allows.

use std::time::Duration;

use scrip::caller::Caller;
use scrip::clock;
use scrip::mint::request::MintRequest;
use scrip::policy::{self, Approved, Policy};
use scrip::recorder::{Order, Recorder};
use scrip::store::{Store, credentials};
use scrip_token::{Alg, QualifiedName};
use secrecy::SecretString;
use tokio::task::JoinSet;

use crate::field::{Field, POLICY};
use crate::figures::{Times, ratio, title};
use crate::harness::service::Installation;

const CALLERS: usize = 64;
const CLIENTS: usize = 10;
/// What each caller has recorded in a round.
const GROUPED: usize = 256;
const SINGLE: usize = 32;

pub(crate) async fn run(rounds: u64) {
    let installations = [
        ("sqlite", 7, Installation::on_sqlite()),
        ("postgres", 3, Installation::on_postgres().await),
    ];
    for (name, limit, installation) in installations {
        let mut field = Field::new(installation, CLIENTS).await;
        field.acme.stop().await;
        let bench = Bench::open(&field).await;
        let (mut grouped, mut single) = (Times::default(), Times::default());
        // The first round finds caches cold.
        for round in 0..=rounds {
            let (one, _) = Recorder::start(bench.store.clone());
            let group = bench.record(GROUPED, || one.clone()).await;
            let alone = bench.record(SINGLE, || Recorder::start(bench.store.clone()).0).await;
            if round > 0 {
                grouped.push(group);
                single.push(alone);
            }
        }
        title(&format!("{name}: {CALLERS} callers of the recorder, time for a thousand tokens"));
        single.row("one commit for each");
        grouped.row("what has queued is one commit");
        let what = format!("recorder alone, over one commit for each, tokens; >= {limit}");
        let over = single.median() / grouped.median();
        ratio(&format!("mint_group_over_single_{name}"), over, &what);
    }
}

struct Bench {
    store: Store,
    policy: Policy,
    callers: Vec<Caller>,
    issuer: String,
}

impl Bench {
    async fn open(field: &Field) -> Self {
        let url = field.acme.installation.setting("SCRIP_DATABASE_URL").as_str();
        let store = Store::connect(&SecretString::from(url)).await.expect("nobody has it open");
        let mut session = store.read().await.expect("it answers");
        let versions = credentials::of_client(&mut session, &field.first.id).await;
        let cred = versions.expect("it answers").remove(0).version;
        drop(session);
        let caller = |n| Caller {
            client: QualifiedName::parse(&format!("acme/c{n}")).expect("a name"),
            cred: cred.clone(),
            address: [127, 0, 0, 1].into(),
        };
        let policy = Policy::from_toml(POLICY.as_bytes()).expect("it keeps the rules");
        let callers = (0..CLIENTS).map(caller).collect();
        Self { store, policy, callers, issuer: field.acme.installation.url() }
    }

    /// Has each of the callers record so many, one after the other; the time for a thousand.
    async fn record(&self, each: usize, recorder: impl Fn() -> Recorder) -> Duration {
        let queues: Vec<Vec<Order>> =
            (0..CALLERS).map(|n| (0..each).map(|_| self.order(n)).collect()).collect();
        let mut callers = JoinSet::new();
        let begun = clock::monotonic();
        for queue in queues {
            let recorder = recorder();
            callers.spawn(async move {
                for order in queue {
                    recorder.record(order).await.expect("it is recorded");
                }
            });
        }
        callers.join_all().await;
        begun.elapsed() * 1000 / u32::try_from(CALLERS * each).expect("not that many")
    }

    fn order(&self, n: usize) -> Order {
        let caller = &self.callers[n % CLIENTS];
        let request = MintRequest::default();
        let approved: Approved = policy::judge(caller, &request, &self.policy, &self.issuer)
            .expect("the policy grants its defaults");
        let request_id = format!("{n:036}");
        Order {
            approved,
            asked: serde_json::Value::Null,
            alg: Alg::ES256,
            repeat: None,
            address: caller.address,
            request_id,
        }
    }
}
