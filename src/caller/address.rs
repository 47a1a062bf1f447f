//! The client's address, behind proxies that are trusted by configuration only.

use std::net::IpAddr;

use axum::http::HeaderMap;
use scrip_token::Cidr;

/// Most addresses of `X-Forwarded-For` that are looked at.
const MOST_HOPS: usize = 32;

/// The peer's address, unless the peer is a trusted proxy; then the rightmost address of
/// `X-Forwarded-For`, over all its lines, that is not. `None` for junk behind a trusted proxy.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Cidr]) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return Some(peer);
    }
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let mut nearest = peer;
    let mut hops = 0;
    for line in lines.iter().rev() {
        for hop in line.to_str().ok()?.rsplit(',') {
            hops += 1;
            nearest = hop.trim().parse::<IpAddr>().ok()?.to_canonical();
            if hops > MOST_HOPS {
                return None;
            }
            if !is_trusted(nearest) {
                return Some(nearest);
            }
        }
    }
    Some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn address(peer: &str, lines: &[&str]) -> Option<String> {
        let headers = lines
            .iter()
            .map(|line| {
                let name = axum::http::HeaderName::from_static("x-forwarded-for");
                (name, HeaderValue::from_str(line).unwrap())
            })
            .collect();
        let trusted = ["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap()];
        client_address(peer.parse().unwrap(), &headers, &trusted).map(|a| a.to_string())
    }

    #[test]
    fn n137_only_trusted_proxies_are_believed_and_from_the_right() {
        assert_eq!(address("192.0.2.1", &["10.0.0.5"]).unwrap(), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &[]).unwrap(), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &["6.6.6.6, 192.0.2.7"]).unwrap(), "192.0.2.7");
        assert_eq!(address("10.0.0.1", &["6.6.6.6", "192.0.2.7, 10.1.1.1"]).unwrap(), "192.0.2.7");
        assert_eq!(address("::ffff:10.0.0.1", &["::ffff:192.0.2.7"]).unwrap(), "192.0.2.7");
        for junk in ["junk", "192.0.2.7:80", "[2001:db8::1]", "", "192.0.2.7,,10.0.0.2"] {
            assert_eq!(address("10.0.0.1", &[junk]), None, "{junk}");
        }
        assert_eq!(address("10.0.0.1", &[&["10.0.0.2"; 1000].join(",")]), None);
    }
}
