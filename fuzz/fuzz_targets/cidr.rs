#![no_main]
//! One network has one spelling, and holds what `ipnet` says that it holds.

use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use scrip_fuzz::two_lines;
use scrip_token::Cidr;

fuzz_target!(|input: &[u8]| {
    let (wide, narrow) = two_lines(input).unwrap_or((input, input));
    let (Some((wide, theirs)), Some((narrow, their_narrow))) = (network(wide), network(narrow))
    else {
        return;
    };
    assert_eq!(wide.covers(&narrow), theirs.contains(&their_narrow), "{wide} {narrow}");
    for address in [their_narrow.network(), their_narrow.broadcast()] {
        // The mapped addresses count as the IPv4 addresses that they carry.
        assert_eq!(
            wide.contains(address),
            theirs.contains(&address.to_canonical()),
            "{wide} {address}"
        );
    }
});

fn network(text: &[u8]) -> Option<(Cidr, IpNet)> {
    let text = str::from_utf8(text).ok()?;
    let cidr = Cidr::parse(text).ok()?;
    let theirs: IpNet = text.parse().expect("a network that ipnet does not know was accepted");
    assert_eq!((cidr.to_string(), theirs.trunc()), (text.to_owned(), theirs));
    assert_eq!(serde_json::to_value(cidr).unwrap(), text);
    Some((cidr, theirs))
}
