//! Networks against `ipnet`, and against counting.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use scrip_token::Cidr;

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text).unwrap()
}

#[test]
fn n30_small_networks_hold_their_addresses_and_no_neighbour() {
    let base = Ipv4Addr::new(192, 0, 2, 0).to_bits();
    for prefix in 24..=32 {
        let size = 1_u32 << (32 - prefix);
        for first in (base..base + 256).step_by(size as usize) {
            let network = cidr(&format!("{}/{prefix}", Ipv4Addr::from_bits(first)));
            for address in base - 257..=base + 513 {
                let inside = (first..first + size).contains(&address);
                let v4 = Ipv4Addr::from_bits(address);
                assert_eq!(network.contains(v4.into()), inside, "{v4} {network}");
                assert_eq!(network.contains(v4.to_ipv6_mapped().into()), inside);
                assert!(!network.contains(Ipv6Addr::from_bits(address.into()).into()));
            }
        }
    }
}

#[test]
fn n30_small_networks_hold_their_addresses_and_no_neighbour_v6() {
    let base = "2001:db8::".parse::<Ipv6Addr>().unwrap().to_bits();
    for prefix in 120..=128 {
        let size = 1_u128 << (128 - prefix);
        for first in (base..base + 256).step_by(size as usize) {
            let network = cidr(&format!("{}/{prefix}", Ipv6Addr::from_bits(first)));
            for address in base - 257..=base + 513 {
                let inside = (first..first + size).contains(&address);
                let v6 = Ipv6Addr::from_bits(address);
                assert_eq!(network.contains(v6.into()), inside, "{v6} {network}");
            }
        }
    }
}

#[test]
fn n48_a_network_covers_another_if_it_holds_all_of_its_addresses() {
    let addresses: Vec<Ipv4Addr> = (0..16).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
    let networks: Vec<Cidr> = (28..=32_u8)
        .flat_map(|prefix| {
            let of = move |address: &Ipv4Addr| Cidr::parse(&format!("{address}/{prefix}")).ok();
            addresses.iter().filter_map(of).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(networks.len(), 1 + 2 + 4 + 8 + 16);
    for wide in &networks {
        for narrow in &networks {
            let mut held = addresses.iter().filter(|address| narrow.contains((**address).into()));
            let all = held.all(|address| wide.contains((*address).into()));
            assert_eq!(wide.covers(narrow), all, "{wide} {narrow}");
        }
    }
}

#[test]
fn n138_the_families_do_not_mix() {
    let mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped();
    for network in ["::/0", "::/64", "::/95", "::1/128"] {
        assert!(!cidr(network).contains(mapped.into()), "{network}");
        assert!(!cidr(network).covers(&cidr("10.0.0.0/8")), "{network}");
        assert!(!cidr("0.0.0.0/0").covers(&cidr(network)), "{network}");
    }
    assert!(cidr("10.0.0.1/32").contains(mapped.into()));
    assert_eq!(Cidr::host(mapped.into()), cidr("10.0.0.1/32"));
    assert_eq!(format!("{:?}", Cidr::host(mapped.into())), "10.0.0.1/32");
}

proptest! {
    #[test]
    fn containment_agrees_with_ipnet(bits: u32, prefix in 0u8..=32, address: u32) {
        let theirs = Ipv4Net::new(bits.into(), prefix).unwrap().trunc();
        let ours = cidr(&theirs.to_string());
        let near = theirs.network().to_bits() ^ (address >> prefix.min(31));
        for ip in [Ipv4Addr::from_bits(address), near.into()] {
            prop_assert_eq!(ours.contains(ip.into()), theirs.contains(&ip));
            prop_assert_eq!(ours.contains(ip.to_ipv6_mapped().into()), theirs.contains(&ip));
        }
    }

    #[test]
    fn containment_agrees_with_ipnet_v6(bits: u128, prefix in 0u8..=128, flip in 0u32..128) {
        let theirs = Ipv6Net::new(bits.into(), prefix).unwrap().trunc();
        let ours = cidr(&theirs.to_string());
        let ip = Ipv6Addr::from_bits(bits ^ (1 << flip));
        prop_assert_eq!(ours.contains(ip.into()), theirs.contains(&ip));
    }

    #[test]
    fn covering_agrees_with_ipnet(a: u32, flip in 0u32..32, p in 0u8..=32, q in 0u8..=32) {
        let [wide, narrow] = [(a, p), (a ^ (1 << flip), q)]
            .map(|(bits, prefix)| Ipv4Net::new(bits.into(), prefix).unwrap().trunc());
        let covers = cidr(&wide.to_string()).covers(&cidr(&narrow.to_string()));
        prop_assert_eq!(covers, wide.contains(&narrow));
    }

    /// What `ipnet` reads and would write in the same way is a network of ours, unless it is
    /// IPv4-mapped.
    #[test]
    fn n30_the_canonical_texts_are_those_that_ipnet_writes(text in near_canonical()) {
        let theirs = text.parse::<IpNet>().ok();
        let canonical = theirs.filter(|net| net.trunc() == *net && net.to_string() == text);
        let is_mapped = |net: &IpNet| match net.network() {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some() && net.prefix_len() >= 96,
            IpAddr::V4(_) => false,
        };
        let expected = canonical.is_some_and(|net| !is_mapped(&net));
        prop_assert_eq!(Cidr::parse(&text).is_ok(), expected);
    }
}

/// Texts about half of which are canonical.
fn near_canonical() -> impl Strategy<Value = String> {
    let octet = prop::sample::select(vec!["0", "0", "0", "10", "128", "255", "256", "00", "010"]);
    let v4 = prop::collection::vec(octet, 4).prop_map(|octets| octets.join("."));
    let v6 = prop::sample::select(vec![
        "::",
        "::1",
        "2001:db8::",
        "2001:DB8::",
        "2001:db8:0::",
        "2001:0db8::",
        "::ffff:0:0",
        "::ffff:0.0.0.0",
        "::ffff:10.0.0.0",
        "fe80::",
        "fe80::%1",
        "64:ff9b::",
        "1::2::",
    ]);
    let prefix = prop_oneof![
        (0..=129_u32).prop_map(|prefix| prefix.to_string()),
        prop::sample::select(vec!["", "+8", "-1", "08", "8 ", "0"]).prop_map(str::to_owned),
    ];
    (prop_oneof![v4, v6.prop_map(str::to_owned)], prefix)
        .prop_map(|(address, prefix)| format!("{address}/{prefix}"))
}
