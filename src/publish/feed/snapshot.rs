use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use scrip_token::Digest;

use super::super::{JOSE, cacheable, is_known};
use super::follower;
use crate::app::App;
use crate::error::{Failure, Problem};
use crate::router::Arrival;

/// `GET /v1/deny/snapshot`: the manifest. 200 `application/jose` with `ETag`, 304, 400, 401, 403,
/// 503.
///
/// # Errors
/// [`Problem`].
pub async fn snapshot(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    follower(&app, &headers, arrival).await?;
    let snapshot = app.snapshots.newest(&app.deny).await;
    let snapshot =
        snapshot.ok_or_else(|| Problem(Failure::unavailable("there is no snapshot yet", 1)))?;
    Ok(cacheable(&headers, JOSE, 0, snapshot.jws.clone()))
}

/// `GET /v1/deny/blobs/{sha256}`: the entries. 200, 206 for one range, 304, 400, 401, 403, 404, 416,
/// 503.
///
/// # Errors
/// [`Problem`].
pub async fn blob(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    headers: HeaderMap,
    Path(sha256): Path<String>,
) -> Result<Response, Problem> {
    follower(&app, &headers, arrival).await?;
    let no_blob = || Problem::not_found("there is no such blob (any more)");
    let digest = Digest::parse(&sha256).map_err(|_| no_blob())?;
    let blob = app.snapshots.blob(&app.store, &digest).await?.ok_or_else(no_blob)?;
    let tag = format!("\"{sha256}\"");
    let total = blob.len();
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    // Where the range was meant for another version, the whole is sent (RFC 9110 section 13.1.5).
    let asked = asked.filter(|_| headers.get(header::IF_RANGE).is_none_or(|of| of == tag.as_str()));
    let mut response = match asked.map_or(Range::None, |asked| range(asked, total)) {
        _ if is_known(&headers, &tag) => StatusCode::NOT_MODIFIED.into_response(),
        Range::None => blob.into_response(),
        Range::Part(first, end) => {
            let mut part = (StatusCode::PARTIAL_CONTENT, blob.slice(first..end)).into_response();
            let span = format!("bytes {first}-{}/{total}", end - 1);
            if let Ok(span) = HeaderValue::from_str(&span) {
                part.headers_mut().insert(header::CONTENT_RANGE, span);
            }
            part
        }
        Range::Absent => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let detail = format!("the blob has {total} bytes");
            return Err(Problem(Failure::new(status, "range-not-satisfiable", detail)));
        }
    };
    let fixed = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
        (header::ACCEPT_RANGES, "bytes"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// What a `Range` asks for (RFC 9110 section 14.2).
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// Nothing that is understood here: another unit, or several ranges. The answer is the whole.
    None,
    /// `first..end`.
    Part(usize, usize),
    /// Bytes that there are not, or no bytes at all.
    Absent,
}

fn range(asked: &str, total: usize) -> Range {
    let Some((unit, span)) = asked.split_once('=') else { return Range::None };
    if !unit.trim().eq_ignore_ascii_case("bytes") || span.contains(',') {
        return Range::None;
    }
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let part = span.split_once('-').and_then(|(first, last)| match (first.trim(), last.trim()) {
        ("", suffix) => Some((total.saturating_sub(number(suffix)?), total)),
        (first, "") => Some((number(first)?, total)),
        (first, last) => Some((number(first)?, number(last)?.checked_add(1)?.min(total))),
    });
    match part {
        Some((first, end)) if first < end => Range::Part(first, end),
        _ => Range::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_answered() {
        assert_eq!(range("bytes=0-3", 10), Range::Part(0, 4));
        assert_eq!(range("bytes=4-", 10), Range::Part(4, 10));
        assert_eq!(range("Bytes=-3", 10), Range::Part(7, 10));
        assert_eq!(range("bytes=-99", 10), Range::Part(0, 10));
        assert_eq!(range("bytes=5-99", 10), Range::Part(5, 10));
        for absent in
            ["bytes=10-", "bytes=3-1", "bytes=a-b", "bytes=-0", "bytes=-", "bytes=0", "bytes=-1-2"]
        {
            assert_eq!(range(absent, 10), Range::Absent, "{absent}");
        }
        for none in ["items=0-1", "bytes=0-1,3-4", "bytes", ""] {
            assert_eq!(range(none, 10), Range::None, "{none}");
        }
    }
}
