//! How columns of the two databases, which agree on integers, bytes and text only, become the
//! types of the rows: `#[sqlx(try_from = "..")]` on the field.

use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Type, ValueRef};
use std::array::TryFromSliceError;
use uuid::Uuid;

/// Bytes, or NULL.
pub(super) struct Bytes(Option<Vec<u8>>);

impl<DB: Database> Type<DB> for Bytes
where
    Vec<u8>: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        Vec::<u8>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        Vec::<u8>::compatible(ty)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for Bytes
where
    Vec<u8>: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        if value.is_null() {
            return Ok(Self(None));
        }
        Vec::decode(value).map(|bytes| Self(Some(bytes)))
    }
}

impl<const N: usize> TryFrom<Bytes> for [u8; N] {
    type Error = TryFromSliceError;

    fn try_from(column: Bytes) -> Result<Self, Self::Error> {
        column.0.unwrap_or_default().as_slice().try_into()
    }
}

impl<const N: usize> TryFrom<Bytes> for Option<[u8; N]> {
    type Error = TryFromSliceError;

    fn try_from(column: Bytes) -> Result<Self, Self::Error> {
        column.0.map(|bytes| bytes.as_slice().try_into()).transpose()
    }
}

impl TryFrom<Bytes> for Uuid {
    type Error = TryFromSliceError;

    fn try_from(column: Bytes) -> Result<Self, Self::Error> {
        column.try_into().map(Self::from_bytes)
    }
}

impl TryFrom<Bytes> for Option<Uuid> {
    type Error = TryFromSliceError;

    fn try_from(column: Bytes) -> Result<Self, Self::Error> {
        Option::<[u8; 16]>::try_from(column).map(|id| id.map(Uuid::from_bytes))
    }
}

/// 0 or 1.
#[derive(sqlx::Type)]
#[sqlx(transparent)]
pub(super) struct Flag(i64);

impl From<Flag> for bool {
    fn from(flag: Flag) -> Self {
        flag.0 != 0
    }
}

/// The least UUIDv7 of a moment: a bound for ids made at, or before, `at_ms`.
pub(super) fn floor(at_ms: i64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&at_ms.clamp(0, (1 << 48) - 1).to_be_bytes()[2..]);
    id
}

/// The moment a UUIDv7 begins with, in milliseconds.
pub(super) fn moment(id: Uuid) -> i64 {
    let mut at_ms = [0; 8];
    at_ms[2..].copy_from_slice(&id.as_bytes()[..6]);
    i64::from_be_bytes(at_ms)
}
