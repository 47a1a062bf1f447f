//! Which versions of a master credential are good: pure judgement over Vault's metadata.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};

/// Most versions of one credential that are good at once.
pub const MAX_GOOD: usize = 3;

/// One version of a secret, as KV v2's `metadata/` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Vault's number, from 1.
    pub number: u64,
    /// When it was written.
    pub created: DateTime<Utc>,
    /// When it is, or was, deleted.
    pub deleted: Option<DateTime<Utc>>,
    /// Whether its data are gone for good.
    pub destroyed: bool,
}

impl Version {
    /// The version's name for ever. It has the time, because a secret that is removed with its
    /// metadata and put again counts from 1 once more.
    #[must_use]
    pub fn name(&self) -> VersionName {
        VersionName { number: self.number, created: self.created_seconds() }
    }

    /// Whether it was destroyed, or its time of deletion has come. `now` in unix seconds.
    #[must_use]
    pub fn has_ended(&self, now: u64) -> bool {
        self.destroyed || self.deleted.is_some_and(|at| seconds(at) <= now)
    }

    /// When it was written, in unix seconds.
    #[must_use]
    pub fn created_seconds(&self) -> u64 {
        seconds(self.created)
    }

    fn is_younger_than(&self, overlap: Duration, now: u64) -> bool {
        now.saturating_sub(self.created_seconds()) < overlap.as_secs()
    }
}

/// `vault:<number>.<created, unix seconds>`, the `cred` claim of what it mints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionName {
    /// Vault's number, from 1.
    pub number: u64,
    /// When the version was written, in unix seconds.
    pub created: u64,
}

impl VersionName {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, created) = text.strip_prefix("vault:")?.split_once('.')?;
        Some(Self { number: number.parse().ok()?, created: created.parse().ok()? })
    }

    /// Whether it was written after `other`. What is put again after its removal counts from 1 once
    /// more, and so the time comes first.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        (self.created, self.number) > (other.created, other.number)
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vault:{}.{}", self.number, self.created)
    }
}

/// The versions of one secret, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions(Vec<Version>);

impl Versions {
    /// Puts them in order.
    #[must_use]
    pub fn new(mut versions: Vec<Version>) -> Self {
        versions.sort_unstable_by_key(|version| version.number);
        Self(versions)
    }

    /// Each version, oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Version> {
        self.0.iter()
    }

    /// The version written last, whatever became of it.
    #[must_use]
    pub fn newest(&self) -> Option<&Version> {
        self.0.last()
    }

    /// The name of the newest: `vault:<number>.<created>`.
    #[must_use]
    pub fn newest_name(&self) -> Option<String> {
        self.newest().map(|newest| newest.name().to_string())
    }

    /// The versions that authenticate at `now` (unix seconds), newest first, at most [`MAX_GOOD`].
    ///
    /// The newest is good, and so is each whose successor is younger than `overlap`; none is
    /// while the newest has ended. Only the last [`MAX_GOOD`] are looked at, ended ones included:
    /// otherwise deleting one would bring back an older one.
    pub fn good(&self, overlap: Duration, now: u64) -> impl Iterator<Item = &Version> {
        let served = self.newest().is_some_and(|newest| !newest.has_ended(now));
        let candidates = self.0.iter().rev().take(if served { MAX_GOOD } else { 0 });
        let successors = std::iter::once(None).chain(self.0.iter().rev().map(Some));
        candidates
            .zip(successors)
            .filter(move |(version, successor)| {
                !version.has_ended(now)
                    && successor.is_none_or(|next| next.is_younger_than(overlap, now))
            })
            .map(|(version, _)| version)
    }

    /// The versions that were destroyed or deleted by `now` (unix seconds).
    pub fn ended(&self, now: u64) -> impl Iterator<Item = &Version> {
        self.0.iter().filter(move |version| version.has_ended(now))
    }

    /// The versions that a successor replaced longer than `overlap` ago, with the end of that
    /// overlap: from then on nothing that they minted is good either.
    pub fn replaced(&self, overlap: Duration, now: u64) -> impl Iterator<Item = (&Version, u64)> {
        let successors = self.0.iter().skip(1).map(Version::created_seconds);
        self.0
            .iter()
            .zip(successors)
            .map(move |(version, succeeded)| (version, succeeded + overlap.as_secs()))
            .filter(move |(_, over)| *over <= now)
    }

    /// Ends the versions named, whatever Vault says of them by now: what was ended once never
    /// authenticates again, undelete included.
    pub fn end(&mut self, names: &[VersionName]) {
        for version in &mut self.0 {
            version.destroyed |= names.contains(&version.name());
        }
    }
}

impl<'a> IntoIterator for &'a Versions {
    type Item = &'a Version;
    type IntoIter = std::slice::Iter<'a, Version>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn seconds(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Versions 1, 2, .. written at these times.
    fn written(at: &[i64]) -> Versions {
        let versions = (1..).zip(at).map(|(number, at)| Version {
            number,
            created: DateTime::from_timestamp(*at, 999_999_999).unwrap(),
            deleted: None,
            destroyed: false,
        });
        Versions::new(versions.collect())
    }

    fn good(versions: &Versions, now: u64) -> Vec<u64> {
        versions.good(HOUR, now).map(|version| version.number).collect()
    }

    #[test]
    fn n130_an_old_version_is_good_while_its_successor_is_younger_than_the_overlap() {
        let versions = written(&[1_000, 50_000]);
        assert_eq!(good(&versions, 50_000), [2, 1]);
        assert_eq!(good(&versions, 53_599), [2, 1]);
        assert_eq!(good(&versions, 53_600), [2]);
        assert_eq!(good(&versions, u64::MAX), [2], "the newest has no end");
        assert_eq!(good(&versions, 0), [2, 1], "Vault's clock may be ahead of ours");
        assert_eq!(versions.good(Duration::ZERO, 50_000).count(), 1, "no overlap at all");
        assert_eq!(good(&Versions::default(), 0), [0; 0]);
    }

    #[test]
    fn n130_what_a_version_minted_ends_with_the_overlap_of_its_successor() {
        let versions = written(&[1_000, 50_000, 60_000]);
        let replaced = |now| {
            let replaced = versions.replaced(HOUR, now);
            replaced.map(|(version, over)| (version.number, over)).collect::<Vec<_>>()
        };
        assert_eq!(replaced(53_599), []);
        assert_eq!(replaced(53_600), [(1, 53_600)]);
        assert_eq!(replaced(u64::MAX), [(1, 53_600), (2, 63_600)], "the newest has no end");
    }

    #[test]
    fn at_most_three_are_good_and_deleting_one_brings_none_back() {
        let mut versions = written(&[1, 2, 3, 4, 5]);
        assert_eq!(good(&versions, 10), [5, 4, 3]);
        versions.0[3].destroyed = true;
        assert_eq!(good(&versions, 10), [5, 3]);
    }

    #[test]
    fn while_the_newest_is_deleted_none_is_good() {
        let mut versions = written(&[1_000, 2_000]);
        versions.0[1].deleted = DateTime::from_timestamp(3_000, 0);
        assert_eq!(good(&versions, 2_999), [2, 1], "it is to be deleted later");
        assert_eq!(good(&versions, 3_000), [0; 0]);
        versions.0[1].deleted = None;
        versions.end(&[versions.0[1].name()]);
        assert_eq!(good(&versions, 3_000), [0; 0], "undeleted, but ended before");
    }

    #[test]
    fn a_version_has_ended_from_the_second_of_its_deletion() {
        let mut versions = written(&[1_000, 2_000, 3_000]);
        versions.0[0].deleted = DateTime::from_timestamp(5_000, 0);
        versions.0[1].destroyed = true;
        let ended = |now| versions.ended(now).map(|version| version.number).collect::<Vec<_>>();
        assert_eq!(ended(4_999), [2]);
        assert_eq!(ended(5_000), [1, 2]);
        let newest = versions.newest().unwrap().name();
        assert_eq!(newest.to_string(), "vault:3.3000");
        assert_eq!(VersionName::parse("vault:3.3000"), Some(newest));
        for odd in ["", "vault:3", "embedded:3.3000", "vault:x.1", "vault:1.x"] {
            assert_eq!(VersionName::parse(odd), None, "{odd}");
        }
        let is_after = |one: &str, other: &str| {
            VersionName::parse(one).unwrap().is_after(&VersionName::parse(other).unwrap())
        };
        assert!(is_after("vault:2.7", "vault:1.7") && !is_after("vault:2.7", "vault:2.7"));
        assert!(is_after("vault:1.8", "vault:2.7"), "put again after its removal");
    }

    proptest! {
        /// Whatever time passes and whatever is ended: what is not good never becomes so.
        #[test]
        fn what_stopped_being_good_never_is_again(
            gaps in vec(0_i64..5_000, 0..6),
            deletions in vec(option::of(0_i64..20_000), 6),
            destroyed in vec(any::<bool>(), 6),
            now in 0_u64..20_000,
            later in 0_u64..20_000,
            ended in 0_u64..6,
        ) {
            let mut at = 0;
            let times: Vec<i64> = gaps.iter().map(|gap| { at += gap; at }).collect();
            let mut versions = written(&times);
            for ((version, deletion), destroyed) in versions.0.iter_mut().zip(deletions).zip(destroyed) {
                version.deleted = deletion.and_then(|at| DateTime::from_timestamp(at, 0));
                version.destroyed = destroyed;
            }
            let before = good(&versions, now);
            prop_assert!(before.len() <= MAX_GOOD);
            prop_assert!(versions.good(HOUR, now).all(|version| !version.has_ended(now)));
            let names: Vec<VersionName> =
                versions.iter().filter(|version| version.number == ended).map(Version::name).collect();
            versions.end(&names);
            let after = good(&versions, now + later);
            prop_assert!(after.iter().all(|number| before.contains(number) && *number != ended));
        }
    }
}
