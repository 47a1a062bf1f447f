//! Amounts of money: exact decimals, counted in millionths. No binary fraction is ever near them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Decimals that an amount may have.
const PLACES: usize = 6;
/// Digits that it may have before them.
const DIGITS: usize = 9;
/// Millionths in one.
const ONE: u64 = 1_000_000;

/// An amount that is not negative, in whatever currency: the installation has one. Written as a
/// decimal, `12.5`, and never as a number of JSON, which many a reader takes for a binary fraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Money(u64);

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMoney {
    /// `-1`.
    #[error("is negative")]
    Negative,
    /// `1e6`.
    #[error("has an exponent")]
    Exponent,
    /// A billion or more.
    #[error("is not below 1000000000")]
    Huge,
    /// `0.0000001`: finer than what is counted.
    #[error("has more than {PLACES} decimals")]
    Fine,
    /// Anything else.
    #[error("is no decimal such as 12.50")]
    Malformed,
}

impl Money {
    /// Reads `0`, `12` or `12.50`: below 1,000,000,000, with 6 decimals at most.
    ///
    /// # Errors
    /// [`NotMoney`]; a superfluous zero before the point, a sign or a space is malformed.
    pub fn parse(text: &str) -> Result<Self, NotMoney> {
        if text.starts_with('-') {
            return Err(NotMoney::Negative);
        }
        let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !are_digits(whole) || !are_digits(places) || (whole.len() > 1 && whole.starts_with('0'))
        {
            let exponent = text.starts_with(|c: char| c.is_ascii_digit())
                && text.bytes().filter(|b| matches!(b, b'e' | b'E')).count() == 1;
            return Err(if exponent { NotMoney::Exponent } else { NotMoney::Malformed });
        }
        if whole.len() > DIGITS {
            return Err(NotMoney::Huge);
        }
        if places.len() > PLACES {
            return Err(NotMoney::Fine);
        }
        let digits = whole.bytes().chain(places.bytes()).chain(std::iter::repeat(b'0'));
        let digits = digits.take(whole.len() + PLACES);
        Ok(Self(digits.fold(0, |amount, digit| amount * 10 + u64::from(digit - b'0'))))
    }

    /// The amount of so many millionths.
    #[must_use]
    pub fn from_millionths(amount: u64) -> Self {
        Self(amount)
    }

    /// The amount in millionths.
    #[must_use]
    pub fn millionths(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / ONE)?;
        match self.0 % ONE {
            0 => Ok(()),
            places => write!(f, ".{}", format!("{places:06}").trim_end_matches('0')),
        }
    }
}

impl TryFrom<String> for Money {
    type Error = NotMoney;

    fn try_from(text: String) -> Result<Self, NotMoney> {
        Self::parse(&text)
    }
}

impl From<Money> for String {
    fn from(amount: Money) -> Self {
        amount.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn n47_amounts_are_exact_decimals_and_nothing_else() {
        for (text, millionths) in [
            ("0", 0),
            ("0.000001", 1),
            ("0.15", 150_000),
            ("12.50", 12_500_000),
            ("999999999.999999", 999_999_999_999_999),
        ] {
            assert_eq!(Money::parse(text), Ok(Money(millionths)), "{text}");
        }
        for (text, why) in [
            ("-1", NotMoney::Negative),
            ("-0", NotMoney::Negative),
            ("1e6", NotMoney::Exponent),
            ("1.5E-3", NotMoney::Exponent),
            ("1000000000", NotMoney::Huge),
            ("18446744073709551616", NotMoney::Huge),
            ("0.0000001", NotMoney::Fine),
            ("0.0000000", NotMoney::Fine),
            ("", NotMoney::Malformed),
            (".5", NotMoney::Malformed),
            ("5.", NotMoney::Malformed),
            ("007", NotMoney::Malformed),
            ("+1", NotMoney::Malformed),
            (" 1", NotMoney::Malformed),
            ("1,5", NotMoney::Malformed),
            ("1.2.3", NotMoney::Malformed),
            ("0x10", NotMoney::Malformed),
            ("inf", NotMoney::Malformed),
            ("NaN", NotMoney::Malformed),
            ("\u{661}", NotMoney::Malformed),
        ] {
            assert_eq!(Money::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(Money(12_500_000).to_string(), "12.5");
        assert_eq!(Money(ONE).to_string(), "1");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millionths in 0..1_000_000_000_000_000_u64) {
            prop_assert_eq!(Money::parse(&Money(millionths).to_string()), Ok(Money(millionths)));
        }

        #[test]
        fn whatever_is_read_is_a_decimal(text in "[-+0-9.eE ]{0,20}") {
            if let Ok(amount) = Money::parse(&text) {
                let (whole, places) = text.split_once('.').unwrap_or((&text, ""));
                let padded = format!("{whole}{places:0<6}");
                prop_assert_eq!(padded.parse::<u64>().unwrap(), amount.millionths());
            }
        }
    }
}
