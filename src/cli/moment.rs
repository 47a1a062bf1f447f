//! Times as people type them.

use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// A moment: RFC 3339, or seconds since the epoch as they stand in a token. Written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(DateTime<Utc>);

impl Moment {
    /// Seconds since the epoch; `None` for a time that is out of range.
    pub(super) fn at(seconds: u64) -> Option<Self> {
        DateTime::from_timestamp_secs(i64::try_from(seconds).ok()?).map(Self)
    }

    /// Seconds since the epoch.
    pub(super) fn seconds(self) -> i64 {
        self.0.timestamp()
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seconds) = text.parse() {
            return Self::at(seconds).ok_or("out of range");
        }
        let moment = DateTime::parse_from_rfc3339(text)
            .map_err(|_| "neither RFC 3339 (2026-11-21T17:00:00Z) nor seconds since the epoch")?;
        Ok(Self(moment.to_utc()))
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_moment() {
        for text in ["1795000000", "2026-11-18T11:06:40Z", "2026-11-18T12:06:40+01:00"] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.seconds(), 1_795_000_000, "{text}");
            assert_eq!(moment.to_string(), "2026-11-18T11:06:40Z");
        }
        for bad in ["", "yesterday", "-1", "1e9", "2026-11-18", "99999999999999999"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
