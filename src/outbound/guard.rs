//! Which addresses we may talk to. Every request passes here twice: its address is checked as text, and the resolver
//! drops every private answer, so that a name cannot point inside after it was checked.

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The rule for outgoing addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guard {
    allow_private: bool,
    sandbox: Option<SocketAddr>,
}

/// Why an address is not for us. Says the host, never the path or query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked(String);

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Blocked {}

impl Guard {
    /// `allow_private` lets everything through; `sandbox` is the one listener that is allowed besides public hosts.
    pub const fn new(allow_private: bool, sandbox: Option<SocketAddr>) -> Self {
        Self { allow_private, sandbox }
    }

    /// Checks an address as written.
    pub fn check(&self, url: &Url) -> Result<(), Blocked> {
        let host = url.host_str().unwrap_or_default();
        let blocked = |why: &str| Err(Blocked(format!("the address on host '{host}' is not allowed: {why}")));
        if !url.username().is_empty() || url.password().is_some() {
            return blocked("it carries a user name");
        }
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        if let (Some(ip), Some(port), Some(sandbox)) = (literal, url.port_or_known_default(), self.sandbox)
            && SocketAddr::new(ip, port) == sandbox
        {
            return Ok(());
        }
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private => {}
            _ => return blocked("it is not https"),
        }
        match literal {
            Some(ip) if !self.allow_private && !is_public(ip) => blocked("it is a private address"),
            _ if host.is_empty() => blocked("it has no host"),
            _ => Ok(()),
        }
    }
}

/// Names that clouds give to what is inside.
const INTERNAL: [&str; 6] =
    ["localhost", "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "local"];

/// Checks the address of a webhook as written, by the contract's rules: https, a name instead of an IP address, port 443
/// or 8443, no internal name. Where the name leads is for the guard of the client that delivers.
pub fn check_webhook(text: &str) -> Result<(), Blocked> {
    let wrong = |why: &str| Err(Blocked(format!("the webhook address is not allowed: {why}")));
    let Ok(url) = Url::parse(text) else { return wrong("it is no address such as https://example.com/hook") };
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let inside = |name: &&str| host == **name || host.ends_with(&format!(".{name}"));
    if url.scheme() != "https" {
        return wrong("it is not https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("it carries a user name");
    }
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return wrong("it is a bare IP address");
    }
    if !matches!(url.port_or_known_default(), Some(443 | 8443)) {
        return wrong("its port is neither 443 nor 8443");
    }
    if host.ends_with(".internal") || !host.contains('.') || INTERNAL.iter().any(inside) {
        return wrong("its host is an internal name");
    }
    Ok(())
}

/// Resolves names and keeps the public answers only, unless private ones are allowed.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> = found.filter(|addr| allow_private || is_public(addr.ip())).collect();
            if kept.is_empty() {
                return Err(Blocked(format!("the host '{}' has no public address", name.as_str())).into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is on the public internet.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT
        || (a == 192 && b == 0 && c == 0) // protocol assignments
        || (a == 198 && (b == 18 || b == 19))) // benchmarking
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Addresses that embed an IPv4 one are judged by it: mapped, compatible, NAT64 and 6to4.
    if let Some(v4) = ip.to_ipv4() {
        return is_public_v4(v4);
    }
    let segments = ip.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => false,
        [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0 | 0xdb8, ..] | [0x100, 0, 0, 0, ..] => false,
        [first, ..] => {
            let unique_local = first & 0xfe00 == 0xfc00;
            let link_local = first & 0xffc0 == 0xfe80;
            let site_local = first & 0xffc0 == 0xfec0;
            !(unique_local || link_local || site_local || ip.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_in_every_disguise_are_blocked() {
        let guard = Guard::default();
        for address in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:0a00:0001::]/",
            "https://169.254.169.254/latest/meta-data",
            "https://10.1.2.3/",
            "https://192.168.0.1/",
            "https://100.64.0.1/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
            "https://0.0.0.0/",
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://user:pw@example.com/",
        ] {
            assert!(guard.check(&Url::parse(address).unwrap()).is_err(), "{address}");
        }
        for address in ["https://v3.fal.media/files/a.png", "https://8.8.8.8/", "https://[2606:4700::1111]/"] {
            assert!(guard.check(&Url::parse(address).unwrap()).is_ok(), "{address}");
        }
    }

    #[test]
    fn webhooks_go_to_public_names_only() {
        for address in ["https://example.com/hook?a=1", "https://hooks.example.co.uk:8443/"] {
            assert!(check_webhook(address).is_ok(), "{address}");
        }
        for address in [
            "http://example.com/hook",
            "https://example.com:444/",
            "https://93.184.216.34/",
            "https://2130706433/",
            "https://[2606:4700::1111]/",
            "https://localhost/",
            "https://a.localhost/",
            "https://metadata.google.internal/",
            "https://metadata.goog./",
            "https://printer.local/",
            "https://intranet/",
            "https://user:pw@example.com/",
            "hello",
            "",
        ] {
            assert!(check_webhook(address).is_err(), "{address}");
        }
    }

    #[test]
    fn the_sandbox_is_exactly_one_listener() {
        let guard = Guard::new(false, Some("127.0.0.1:9090".parse().unwrap()));
        assert!(guard.check(&Url::parse("http://127.0.0.1:9090/fal/x").unwrap()).is_ok());
        assert!(guard.check(&Url::parse("http://127.0.0.1:9091/fal/x").unwrap()).is_err());
        assert!(guard.check(&Url::parse("http://localhost:9090/fal/x").unwrap()).is_err());
        assert!(Guard::new(true, None).check(&Url::parse("http://10.0.0.1:8000/v1").unwrap()).is_ok());
    }

    #[test]
    fn messages_never_show_what_follows_the_host() {
        let url = Url::parse("http://10.0.0.1/secret?token=abc").unwrap();
        let text = Guard::default().check(&url).unwrap_err().to_string();
        assert!(!text.contains("secret") && !text.contains("abc"), "{text}");
    }

    #[tokio::test]
    async fn names_that_resolve_inside_are_dropped() {
        let name: Name = "localhost".parse().unwrap();
        assert!(Guard::default().resolve(name).await.is_err());
        let name: Name = "localhost".parse().unwrap();
        assert!(Guard::new(true, None).resolve(name).await.is_ok());
    }
}
