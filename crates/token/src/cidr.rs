//! Source networks in canonical text.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::name::Malformed;
use crate::text::text_form;

/// A network such as `10.20.0.0/16` or `2001:db8::/32`.
///
/// One network has one spelling (RFC 4632, RFC 5952): no host bits, no leading zeros, no
/// IPv4-mapped IPv6, no zone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Reads the canonical text of a network.
    ///
    /// # Errors
    /// [`Malformed`] for any other spelling.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let malformed = Malformed { kind: "canonical CIDR" };
        let (address, prefix) = text.split_once('/').ok_or(malformed)?;
        let cidr = Self {
            address: address.parse().map_err(|_| malformed)?,
            prefix: prefix.parse().map_err(|_| malformed)?,
        };
        // The standard library reads one spelling of an IPv4 address, and many of an IPv6 one.
        let spelling = if cidr.address.is_ipv4() {
            prefix.bytes().all(|b| b.is_ascii_digit())
                && (prefix.len() == 1 || !prefix.starts_with('0'))
        } else {
            cidr.to_string() == text
        };
        let canonical = spelling
            && cidr.prefix <= cidr.width()
            && cidr.bits() & !cidr.mask() == 0
            && !cidr.is_mapped();
        if canonical { Ok(cidr) } else { Err(malformed) }
    }

    /// The network of one address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Whether `address` lies inside. An IPv4-mapped IPv6 address counts as the IPv4 address that
    /// it carries; a v4 network holds no other v6 address, and the other way about.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.covers(&Self::host(address))
    }

    /// Whether every address of `narrower` lies inside `self`.
    #[must_use]
    pub fn covers(&self, narrower: &Self) -> bool {
        self.address.is_ipv4() == narrower.address.is_ipv4()
            && self.prefix <= narrower.prefix
            && narrower.bits() & self.mask() == self.bits()
    }

    fn width(&self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// The address, left-aligned in 128 bits so that one mask serves both families.
    fn bits(&self) -> u128 {
        match self.address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }

    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0)
    }

    fn is_mapped(&self) -> bool {
        let mapped = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0).to_bits();
        self.address.is_ipv6() && self.prefix >= 96 && self.bits() >> 32 == mapped >> 32
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

text_form!(Cidr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n30_one_network_has_one_spelling() {
        for good in ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.7/32", "::/0", "2001:db8::/32", "::1/128"]
        {
            let cidr = Cidr::parse(good).unwrap();
            assert_eq!((cidr.to_string(), format!("{cidr:?}")), (good.to_owned(), good.to_owned()));
        }
        for bad in [
            "010.0.0.0/8",
            "10.0.0.1/8",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "::ffff:10.0.0.0/104",
            "::ffff:0:0/96",
            "10.0.0.0/33",
            "::/129",
            "fe80::1%eth0/64",
            "10.0.0.0",
            "10.0.0.0/",
            "2001:DB8::/32",
            "2001:db8:0::/32",
            "2001:db8::1/32",
            "",
            "/8",
            " 10.0.0.0/8",
            "10/8",
        ] {
            assert!(Cidr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn n138_mapped_addresses_are_folded_and_no_others() {
        let ten = Cidr::parse("10.0.0.0/8").unwrap();
        assert!(ten.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!ten.contains("::10.0.0.1".parse().unwrap()));
        assert!(!ten.contains("64:ff9b::a00:1".parse().unwrap()));
        assert!(!Cidr::parse("::/0").unwrap().contains("10.0.0.1".parse().unwrap()));
        assert!(!Cidr::parse("0.0.0.0/0").unwrap().contains("2001:db8::1".parse().unwrap()));
    }
}
