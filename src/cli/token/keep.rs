//! Keeps a file fresh: a token in it is alive, and one that has ended is removed.

use std::time::{Duration, UNIX_EPOCH};

use scrip_client::{Changes, ClientError, Token};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::super::moment::Moment;
use super::super::print::plain;
use super::file::TokenFile;
use crate::clock;

/// How often the end of the token is looked for, and what could not be written is tried again.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// A file, and what has to be done to it.
pub(super) struct Keeper {
    file: TokenFile,
    changes: Changes,
    looks: Interval,
    /// When what is in the file ends, in seconds since the epoch.
    ends: Option<u64>,
    /// A token that could not be written yet.
    unwritten: Option<Token>,
    /// What went wrong with the file last, so that it is not said each second.
    wrong: String,
}

/// Something that people may want to know, in words for them.
pub(super) enum News {
    /// A new token is in the file.
    Fresh(String),
    /// There was none to be had.
    Failed(ClientError, String),
    /// The file is not as it should be.
    Wrong(String),
}

impl Keeper {
    /// Of a file in which there is a token until `ends`.
    pub(super) fn new(
        file: TokenFile,
        ends: Option<u64>,
        changes: Changes,
        every: Duration,
    ) -> Self {
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { file, changes, looks, ends, unwritten: None, wrong: String::new() }
    }

    /// Waits for a new token, or for the time to look after the file, and does what is to be done;
    /// not cancelled in the middle of that.
    pub(super) async fn step(&mut self) -> Option<News> {
        tokio::select! {
            Some(change) = self.changes.next() => match change {
                Ok(token) => self.write(token),
                Err(error) => {
                    let why = plain(&error.to_string());
                    let said = format!("no new token: {why}; {}", self.standing());
                    Some(News::Failed(error, said))
                }
            },
            _ = self.looks.tick() => self.look(),
        }
    }

    fn look(&mut self) -> Option<News> {
        let now = clock::now_seconds();
        if let Some(token) = self.unwritten.take_if(|token| ends(token) > now) {
            return self.write(token);
        }
        self.ends.filter(|ends| now >= *ends)?;
        match self.file.remove() {
            Ok(()) => {
                self.ends = None;
                self.wrong(format!(
                    "the token has ended: {} is gone until there is another",
                    self.file
                ))
            }
            Err(error) => {
                self.wrong(format!("the token in {} has ended, and stays: {error}", self.file))
            }
        }
    }

    fn write(&mut self, token: Token) -> Option<News> {
        if let Err(error) = self.file.put(token.expose()) {
            self.unwritten = Some(token);
            return self.wrong(format!(
                "{} is not written: {error}; {}",
                self.file,
                self.standing()
            ));
        }
        self.ends = Some(ends(&token));
        self.unwritten = None;
        self.wrong.clear();
        Some(News::Fresh(format!("token {}: {}", token.jti(), self.standing())))
    }

    fn wrong(&mut self, what: String) -> Option<News> {
        if self.wrong == what {
            return None;
        }
        self.wrong.clone_from(&what);
        Some(News::Wrong(what))
    }

    /// How things stand with the file.
    pub(super) fn standing(&self) -> String {
        match self.ends.and_then(Moment::at) {
            Some(ends) => format!("what is in {} lives until {ends}", self.file),
            None => format!("there is nothing in {}", self.file),
        }
    }
}

fn ends(token: &Token) -> u64 {
    token.expires_at().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
