//! `scrip feed tail`: the live feed, for a person.

use std::time::Duration;

use scrip_feed::{Config, Event, Follower, Reader};
use scrip_token::deny::{Batch, Entry, Heartbeat, Manifest};
use serde::Serialize;
use tokio::time::timeout;

use super::super::failure::Failure;
use super::super::moment::Moment;
use super::super::print::{Printer, plain};
use super::{json, line};

/// After so long without an event the feed is called silent, whatever its heartbeat.
const SILENCE: Duration = Duration::from_secs(15);

/// Shows each verified object until it is stopped.
pub(super) async fn run(config: Config, printer: Printer) -> Result<(), Failure> {
    let (handle, reader) =
        Follower::start(config).await.map_err(|error| Failure::Usage(error.to_string()))?;
    let mut events = handle.events();
    loop {
        let seen = match timeout(SILENCE, events.next()).await {
            Ok(Some(event)) => Seen::from_event(event, &reader),
            Ok(None) => return Ok(()),
            Err(_) => Seen::Silent { age: reader.view().age() },
        };
        if printer.json {
            json(&seen)?;
        } else {
            for text in seen.lines() {
                line(plain(&text))?;
            }
        }
    }
}

/// What is shown. `age`: seconds since the deny list was known to be complete.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Seen {
    Batch(Batch),
    Heartbeat {
        #[serde(flatten)]
        heartbeat: Heartbeat,
        age: Option<u64>,
    },
    Snapshot {
        #[serde(flatten)]
        manifest: Manifest,
        age: Option<u64>,
    },
    Alarm {
        alarm: &'static str,
        reason: String,
    },
    Missed {
        events: u64,
    },
    Silent {
        age: Option<u64>,
    },
}

impl Seen {
    fn from_event(event: Event, reader: &Reader) -> Self {
        let age = reader.view().age();
        match event {
            Event::Batch(batch) => Self::Batch(batch),
            Event::Heartbeat(heartbeat) => Self::Heartbeat { heartbeat, age },
            Event::Snapshot(manifest) => Self::Snapshot { manifest, age },
            Event::Alarm { alarm, reason } => Self::Alarm { alarm: alarm.code(), reason },
            Event::Missed(events) => Self::Missed { events },
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::Batch(batch) => {
                let (at, seq) = (moment(batch.iat), batch.seq);
                let entries = batch.entries.iter();
                entries
                    .map(|entry| format!("{at}  batch {seq:<8}  {}", entry_text(entry)))
                    .collect()
            }
            Self::Heartbeat { heartbeat, age } => {
                let Heartbeat { iat, seq, every, .. } = heartbeat;
                let age = aged(*age);
                vec![format!("{}  at {seq:<11}  {age}; the next in {every} s", moment(*iat))]
            }
            Self::Snapshot { manifest, age } => {
                let Manifest { iat, seq, count, epoch, .. } = manifest;
                let age = aged(*age);
                let at = moment(*iat);
                vec![format!("{at}  snapshot {seq:<5}  {count} entries, epoch {epoch}; {age}")]
            }
            Self::Alarm { alarm, reason } => vec![format!("ALARM {alarm}: {reason}")],
            Self::Missed { events } => vec![format!("{events} events went by unseen")],
            Self::Silent { age } => vec![format!("no sign of life; {}", aged(*age))],
        }
    }
}

fn aged(age: Option<u64>) -> String {
    age.map_or("nothing is known yet".to_owned(), |age| format!("{age} s old"))
}

fn moment(seconds: u64) -> String {
    Moment::at(seconds).map_or_else(|| seconds.to_string(), |moment| moment.to_string())
}

/// An entry as a person would ask for it.
fn entry_text(entry: &Entry) -> String {
    match entry {
        Entry::Jti { jti, .. } => format!("token {jti}"),
        Entry::Client { client, before, .. } => {
            format!("client {client} until {}", moment(*before))
        }
        Entry::Sub { sub, before, .. } => {
            format!("subject {} of {} until {}", sub.id, sub.tenant, moment(*before))
        }
        Entry::Tenant { tenant, before, .. } => {
            format!("tenant {tenant} until {}", moment(*before))
        }
        Entry::Cred { cred, .. } => format!("credential {} of {}", cred.version, cred.client),
        Entry::Kid { kid } => format!("key {kid}"),
        Entry::All { before, .. } => format!("everything until {}", moment(*before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scrip_token::{Digest, Jti};
    use serde_json::json;

    const JTI: &str = "01a1ee56-5e7b-7fff-bfff-ffffffffffff";

    #[test]
    fn every_kind_of_entry_is_a_line_that_says_what_is_refused() {
        let kid = "k".repeat(43);
        let entries = json!([
            {"jti": JTI, "until": 9},
            {"client": "acme/billing", "before": 1795000000, "until": 9},
            {"sub": {"tenant": "acme", "id": "client:acme/billing"}, "before": 1795000000, "until": 9},
            {"tenant": "acme", "before": 1795000000, "until": 9},
            {"cred": {"client": "acme/billing", "version": "vault:3"}, "until": 9},
            {"kid": kid},
            {"all": true, "before": 1795000000, "until": 9},
        ]);
        let batch = json!({"ver": 1, "iss": "https://sts.example", "epoch": JTI, "seq": 7,
            "prev": Digest::of(b""), "iat": 1795000000, "entries": entries});
        let batch: Batch = serde_json::from_value(batch).unwrap();
        let said: Vec<String> = Seen::Batch(batch)
            .lines()
            .into_iter()
            .map(|line| {
                line.strip_prefix("2026-11-18T11:06:40Z  batch 7         ").unwrap().to_owned()
            })
            .collect();
        let until = "until 2026-11-18T11:06:40Z";
        assert_eq!(
            said,
            [
                format!("token {JTI}"),
                format!("client acme/billing {until}"),
                format!("subject client:acme/billing of acme {until}"),
                format!("tenant acme {until}"),
                "credential vault:3 of acme/billing".to_owned(),
                format!("key {kid}"),
                format!("everything {until}"),
            ]
        );
    }

    #[test]
    fn a_sign_of_life_says_how_old_the_list_is() {
        let epoch = Jti::parse(JTI).unwrap();
        let heartbeat = Heartbeat {
            ver: 1,
            iss: "https://sts.example".to_owned(),
            epoch,
            seq: 7,
            head: Digest::of(b""),
            iat: 1_795_000_000,
            every: 5,
            keys: 3,
        };
        let seen = Seen::Heartbeat { heartbeat, age: Some(2) };
        assert_eq!(
            seen.lines(),
            ["2026-11-18T11:06:40Z  at 7            2 s old; the next in 5 s"]
        );
        let object = serde_json::to_value(&seen).unwrap();
        assert_eq!(
            (&object["event"], &object["seq"], &object["age"]),
            (&json!("heartbeat"), &json!(7), &json!(2))
        );
        assert_eq!(Seen::Silent { age: None }.lines(), ["no sign of life; nothing is known yet"]);
    }
}
