//! The deny list as one content-addressed file.
//!
//! Little-endian: `"SCRIPDN1" | u32 n_jti | u32 n_rules`, then n_jti times (16 bytes of UUID in
//! network order, u32 `until`) strictly ascending, then n_rules times (u16 length, the entry's JSON
//! as in its batch) in byte order without repetition, and nothing after.

use crate::deny::Entry;
use crate::json;
use crate::jti::Jti;

const MAGIC: &[u8; 8] = b"SCRIPDN1";
const JTI_BYTES: usize = 20;

/// Why bytes are not a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Not the magic bytes of this format.
    #[error("blob: not of this format")]
    Magic,
    /// The counts promise more, or less, than there is.
    #[error("blob: length does not fit its counts")]
    Length,
    /// Entries are out of order or repeated.
    #[error("blob: entries are not strictly ascending")]
    Order,
    /// A jti or a rule does not parse.
    #[error("blob: entry {0} is malformed")]
    Entry(usize),
    /// An entry that does not fit the format: a rule above 64 KiB, an `until` after 2106.
    #[error("blob: entry does not fit")]
    Unfit,
}

/// The entries of a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blob {
    /// Single tokens with the time until which they are kept, ascending.
    pub jtis: Vec<(Jti, u32)>,
    /// All other entries, ascending by their JSON.
    pub rules: Vec<Entry>,
}

impl Blob {
    /// Sorts entries into a blob. Of two entries for one jti the later `until` counts.
    ///
    /// # Errors
    /// [`BlobError::Unfit`].
    pub fn from_entries(entries: impl IntoIterator<Item = Entry>) -> Result<Self, BlobError> {
        let (mut jtis, mut rules) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Jti { jti, until } => {
                    jtis.push((jti, u32::try_from(until).map_err(|_| BlobError::Unfit)?));
                }
                rule => rules.push((text(&rule)?, rule)),
            }
        }
        jtis.sort_unstable_by_key(|(jti, until)| (*jti, std::cmp::Reverse(*until)));
        jtis.dedup_by_key(|(jti, _)| *jti);
        rules.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        rules.dedup_by(|(a, _), (b, _)| a == b);
        Ok(Self { jtis, rules: rules.into_iter().map(|(_, rule)| rule).collect() })
    }

    /// How many entries it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.jtis.len() + self.rules.len()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`BlobError::Unfit`].
    pub fn encode(&self) -> Result<Vec<u8>, BlobError> {
        let count = |n: usize| u32::try_from(n).map_err(|_| BlobError::Unfit);
        let mut out = Vec::with_capacity(16 + self.jtis.len() * JTI_BYTES + self.rules.len() * 128);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&count(self.jtis.len())?.to_le_bytes());
        out.extend_from_slice(&count(self.rules.len())?.to_le_bytes());
        for (jti, until) in &self.jtis {
            out.extend_from_slice(jti.as_bytes());
            out.extend_from_slice(&until.to_le_bytes());
        }
        for rule in &self.rules {
            let text = text(rule)?;
            let length = u16::try_from(text.len()).map_err(|_| BlobError::Unfit)?;
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&text);
        }
        Ok(out)
    }

    /// Reads the file, whole or not at all. Nothing is allocated beyond what the bytes hold.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BlobError> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or(BlobError::Magic)?;
        let n_jti = u32::from_le_bytes(take(&mut rest)?) as usize;
        let n_rules = u32::from_le_bytes(take(&mut rest)?) as usize;
        let table = n_jti.checked_mul(JTI_BYTES).ok_or(BlobError::Length)?;
        let (mut table, mut rest) = rest.split_at_checked(table).ok_or(BlobError::Length)?;

        let mut jtis: Vec<(Jti, u32)> = Vec::with_capacity(n_jti);
        for position in 0..n_jti {
            let jti = Jti::from_bytes(take(&mut table)?).map_err(|_| BlobError::Entry(position))?;
            let until = u32::from_le_bytes(take(&mut table)?);
            if jtis.last().is_some_and(|(last, _)| *last >= jti) {
                return Err(BlobError::Order);
            }
            jtis.push((jti, until));
        }

        let mut rules = Vec::new();
        let mut last: &[u8] = &[];
        for position in n_jti..n_jti + n_rules {
            let length = usize::from(u16::from_le_bytes(take(&mut rest)?));
            let (text, after) = rest.split_at_checked(length).ok_or(BlobError::Length)?;
            rest = after;
            if text <= last {
                return Err(BlobError::Order);
            }
            last = text;
            match json::read(text) {
                Ok(Entry::Jti { .. }) | Err(_) => return Err(BlobError::Entry(position)),
                Ok(rule) => rules.push(rule),
            }
        }
        if rest.is_empty() { Ok(Self { jtis, rules }) } else { Err(BlobError::Length) }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BlobError> {
    let (head, after) = rest.split_first_chunk::<N>().ok_or(BlobError::Length)?;
    *rest = after;
    Ok(*head)
}

fn text(rule: &Entry) -> Result<Vec<u8>, BlobError> {
    serde_json::to_vec(rule).map_err(|_| BlobError::Unfit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deny::True;

    fn jti(n: u8) -> Jti {
        Jti::new(1_795_000_000_000, [n; 10])
    }

    fn blob() -> Blob {
        let entries = [
            Entry::Jti { jti: jti(9), until: 5 },
            Entry::All { all: True, before: 1, until: 9 },
            Entry::Jti { jti: jti(1), until: 5 },
            Entry::Kid { kid: "k".repeat(43) },
            Entry::Jti { jti: jti(9), until: 7 },
            Entry::Kid { kid: "k".repeat(43) },
            Entry::Kid { kid: "j".repeat(43) },
        ];
        Blob::from_entries(entries).unwrap()
    }

    #[test]
    fn sorted_once_each_and_read_back() {
        let blob = blob();
        assert_eq!(blob.jtis, [(jti(1), 5), (jti(9), 7)]);
        assert_eq!(blob.count(), 5);
        assert_eq!(Blob::decode(&blob.encode().unwrap()), Ok(blob));
        let empty = Blob::default().encode().unwrap();
        assert_eq!((empty.len(), Blob::decode(&empty)), (16, Ok(Blob::default())));
    }

    #[test]
    fn n79_n93_cut_padded_or_reordered_blobs_are_refused() {
        let good = blob().encode().unwrap();
        for cut in 0..good.len() {
            assert!(Blob::decode(&good[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Blob::decode(&[&good[..], &[0]].concat()), Err(BlobError::Length));
        let mut swapped = good.clone();
        swapped[16..36].copy_from_slice(&good[36..56]);
        swapped[36..56].copy_from_slice(&good[16..36]);
        assert_eq!(Blob::decode(&swapped), Err(BlobError::Order));
        let mut repeated = good.clone();
        repeated[36..56].copy_from_slice(&good[16..36]);
        assert_eq!(Blob::decode(&repeated), Err(BlobError::Order));
        for (at, value) in [(8, u32::MAX), (12, u32::MAX), (8, 1 << 31)] {
            let mut huge = good.clone();
            huge[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert_eq!(Blob::decode(&huge), Err(BlobError::Length));
        }
        assert_eq!(Blob::decode(b"<html>login</html>"), Err(BlobError::Magic));
    }
}
