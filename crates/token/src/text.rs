//! Values whose JSON form is their text.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};

use crate::name::Malformed;

/// Reads and writes a type by its `parse` and its `Display`, in JSON too.
macro_rules! text_form {
    ($($name:ident),*) => {$(
        impl std::str::FromStr for $name {
            type Err = crate::name::Malformed;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
                crate::text::read(text)
            }
        }
    )*};
}
pub(crate) use text_form;

/// Shows a type that wraps its text; quoted in `Debug`.
macro_rules! text_shown {
    ($($name:ident),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }
    )*};
}
pub(crate) use text_shown;

pub(crate) fn read<'de, T: FromStr<Err = Malformed>, D: Deserializer<'de>>(
    text: D,
) -> Result<T, D::Error> {
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err = Malformed>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    text.deserialize_str(Text(PhantomData))
}
