//! What the command line of a benchmark asks for: parts of it, and a number for those that take one.

use std::str::FromStr;

pub(crate) struct Asked {
    parts: Vec<String>,
    numbers: Vec<String>,
}

impl Asked {
    /// Flags are cargo's, and mean nothing here.
    pub(crate) fn read() -> Self {
        let words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
        let (numbers, parts) = words.partition(|word| word.bytes().all(|b| b.is_ascii_digit()));
        Self { parts, numbers }
    }

    /// Whether this part is asked for, or all are.
    pub(crate) fn names(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|asked| asked == part)
    }

    /// The number, where there is one.
    pub(crate) fn number<N: FromStr>(&self) -> Option<N> {
        self.numbers.first()?.parse().ok()
    }
}
