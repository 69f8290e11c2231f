//! Which addresses may be connected to, looked at after the name was resolved: a name that leads
//! elsewhere tomorrow is looked at again then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Applied, Reach, TransportError, TransportErrorKind};

/// The addresses that may be connected to; an error where none of them may.
pub(super) fn permitted(
    mut addresses: Vec<SocketAddr>,
    reach: Reach,
) -> Result<Vec<SocketAddr>, TransportError> {
    if reach == Reach::Public {
        addresses.retain(|address| is_public(address.ip()));
    }
    if addresses.is_empty() {
        return Err(TransportError {
            kind: TransportErrorKind::Forbidden,
            applied: Applied::No,
            detail: "it is on this host or in a private network, and \
                     connection.allow_private_addresses is false"
                .to_owned(),
        });
    }
    Ok(addresses)
}

/// The same for a host that a proxy resolves: only a written address can be looked at here.
pub(super) fn permitted_by_name(host: &str, reach: Reach) -> Result<(), TransportError> {
    match host.parse::<IpAddr>() {
        Ok(ip) => permitted(vec![SocketAddr::new(ip, 0)], reach).map(drop),
        Err(_) => Ok(()),
    }
}

/// Whether an address is one of the public Internet (IANA's registries of special-purpose
/// addresses, RFC 6890): what is reserved for anything else is not.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match inner(ip) {
            Some(ip) => is_public_v4(ip),
            None => is_public_v6(ip),
        },
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|&(net, bits)| {
        let mask = u32::MAX << (32 - bits);
        ip.to_bits() & mask == Ipv4Addr::from(net).to_bits()
    })
}

/// 2000::/3 is all that was ever given out (RFC 3513, 2.5.4), but for protocols and documentation.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let is_global = first & 0xe000 == 0x2000;
    let is_protocol = first == 0x2001 && second < 0x200;
    let is_documentation =
        (first, second) == (0x2001, 0xdb8) || (first, second & 0xf000) == (0x3fff, 0);
    is_global && !is_protocol && !is_documentation
}

/// The IPv4 address that one of version 6 stands for: mapped (RFC 4291, 2.5.5.2), translated (RFC
/// 6052, 2.1) or 6to4 (RFC 3056).
fn inner(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, .., g, h] = ip.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(of(g, h)),
        _ if a == 0x2002 => Some(of(b, c)),
        _ => ip.to_ipv4_mapped(),
    }
}

/// Networks and their bits.
const SPECIAL_V4: &[([u8; 4], u32)] = &[
    // "This network", and what any socket of this host means.
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Links; clouds keep their metadata at 169.254.169.254.
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast, what is reserved, and broadcast.
    ([224, 0, 0, 0], 3),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for ip in ["1.1.1.1", "172.15.255.255", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]
            .into_iter()
            .chain(["::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "192.0.1.1"])
        {
            assert!(is_public(ip.parse().expect(ip)), "{ip}");
        }
        for ip in
            ["127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "0.0.0.0"]
                .into_iter()
                .chain([
                    "169.254.169.254",
                    "100.64.0.1",
                    "224.0.0.1",
                    "255.255.255.255",
                    "198.19.0.1",
                ])
                .chain([
                    "::1",
                    "::",
                    "fe80::1",
                    "fd00:ec2::254",
                    "ff02::1",
                    "2001:db8::1",
                    "3fff::1",
                ])
                .chain(["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b:1::1"])
        {
            assert!(!is_public(ip.parse().expect(ip)), "{ip}");
        }
    }

    #[test]
    fn what_may_not_be_reached_is_left_out_of_several() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().expect("an address")).collect()
        };
        let both = parse(&["127.0.0.1:80", "1.1.1.1:80"]);
        assert_eq!(permitted(both.clone(), Reach::Anywhere).expect("all"), both);
        assert_eq!(permitted(both, Reach::Public).expect("one"), parse(&["1.1.1.1:80"]));
        let error = permitted(parse(&["[::1]:80"]), Reach::Public).expect_err("none is left");
        assert_eq!(error.kind, TransportErrorKind::Forbidden);
        assert!(permitted_by_name("169.254.169.254", Reach::Public).is_err());
        assert!(permitted_by_name("hooks.example", Reach::Public).is_ok());
    }
}
