//! How columns of the two databases, which agree on integers, bytes and text only, become the
//! types of the rows: `#[sqlx(try_from = "..")]` on the field.

use scrip_token::{Digest, Jti};
use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Type, ValueRef};
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
    type Error = BoxDynError;

    fn try_from(column: Bytes) -> Result<Self, BoxDynError> {
        Ok(column.0.unwrap_or_default().as_slice().try_into()?)
    }
}

impl TryFrom<Bytes> for Option<[u8; 32]> {
    type Error = BoxDynError;

    fn try_from(column: Bytes) -> Result<Self, BoxDynError> {
        column.0.is_some().then(|| column.try_into()).transpose()
    }
}

impl TryFrom<Bytes> for Digest {
    type Error = BoxDynError;

    fn try_from(column: Bytes) -> Result<Self, BoxDynError> {
        column.try_into().map(Self::from_bytes)
    }
}

impl TryFrom<Bytes> for Uuid {
    type Error = BoxDynError;

    fn try_from(column: Bytes) -> Result<Self, BoxDynError> {
        column.try_into().map(Self::from_bytes)
    }
}

impl TryFrom<Bytes> for Jti {
    type Error = BoxDynError;

    fn try_from(column: Bytes) -> Result<Self, BoxDynError> {
        Ok(Self::from_bytes(column.try_into()?)?)
    }
}

impl TryFrom<Bytes> for Option<Jti> {
    type Error = BoxDynError;

    fn try_from(column: Bytes) -> Result<Self, BoxDynError> {
        column.0.is_some().then(|| column.try_into()).transpose()
    }
}

impl TryFrom<Bytes> for Vec<Jti> {
    type Error = BoxDynError;

    fn try_from(column: Bytes) -> Result<Self, BoxDynError> {
        let ids = column.0.unwrap_or_default();
        ids.chunks(16).map(|id| Ok(Jti::from_bytes(id.try_into()?)?)).collect()
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
