//! Reads policies and requests exactly as documented, where serde's derived code is more generous:
//! it takes `null` for an absent member and an array for an object.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use scrip_token::Budget;
use scrip_token::limits::MAX_INTEGER;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Failure, Problem};

/// The query of a request. A refusal names the parameter that is unknown, repeated or odd.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        query.map(|axum::extract::Query(query)| Self(query)).map_err(|error| {
            let detail = error.body_text();
            Problem(Failure::new(StatusCode::BAD_REQUEST, "invalid-request", detail))
        })
    }
}

/// A `T` that is written as an object.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(crate) struct Object<T>(#[serde(deserialize_with = "object")] pub(crate) T);

/// Reads an object by the names of its members.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<T, D::Error> {
    struct Members<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("named members")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    value.deserialize_map(Members(PhantomData))
}

/// Reads the object of a member that may be left out. Left out, not `null`.
pub(crate) fn object_if_present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    object(value).map(Some)
}

/// Reads a budget that can stand in a token: not `{}`, and within what every JSON library reads.
pub(crate) fn budget<'de, D: Deserializer<'de>>(value: D) -> Result<Budget, D::Error> {
    let budget: Budget = object(value)?;
    if budget.is_unlimited() || budget.amounts().any(|amount| amount >= MAX_INTEGER) {
        return Err(D::Error::custom("a budget has at least one member, each below 2^53"));
    }
    Ok(budget)
}

/// Whether no value stands twice.
pub(crate) fn are_different<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().all(|(i, value)| !values[..i].contains(value))
}
