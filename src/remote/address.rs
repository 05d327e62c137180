//! Addresses of module servers: what is accepted, and where a token may go.

use std::net::IpAddr;

/// An address as it is written, taken apart as far as we must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it is asked, without a slash at its end.
    pub url: String,
    /// `https`.
    pub is_safe: bool,
    /// Without the port.
    pub host: String,
    /// What stands behind host and port; empty or with a slash in front.
    pub path: String,
}

impl Address {
    /// Reads one; else what is wanted instead.
    pub fn parse(text: &str) -> Result<Address, String> {
        let (is_safe, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("must begin with https:// or http://".to_owned()),
        };
        if rest.contains(|c: char| c.is_whitespace() || c.is_control()) || rest.contains(['?', '#', '\\']) {
            return Err("is a plain address: no spaces, no `?`, no `#`".to_owned());
        }
        let rest = rest.trim_end_matches('/');
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err("holds no password: put a token into the environment".to_owned());
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or("has no `]` behind its host")?,
            None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
        };
        if !(port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())) {
            return Err("has a port that is no number".to_owned());
        }
        if host.is_empty() {
            return Err("has no host".to_owned());
        }
        let scheme = if is_safe { "https" } else { "http" };
        let url = format!("{scheme}://{rest}");
        Ok(Address { url, is_safe, host: host.to_owned(), path: path.to_owned() })
    }

    /// Whether it leads to this machine and nowhere else.
    pub fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether a token may be sent there: nobody on the way can read it.
    pub fn may_have_token(&self) -> bool {
        self.is_safe || self.is_here()
    }
}

/// The address of a module: as it is written, or by its name where only a server is named.
pub fn module_url(text: &str, name: &str) -> Result<String, String> {
    let address = Address::parse(text)?;
    Ok(if address.path.is_empty() { format!("{}/modules/{name}", address.url) } else { address.url })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_alone_stands_for_its_module_of_that_name() {
        let url = |text| module_url(text, "ocr").unwrap();
        assert_eq!(url("https://h:7070"), "https://h:7070/modules/ocr");
        assert_eq!(url("https://h:7070/"), "https://h:7070/modules/ocr");
        assert_eq!(url("https://h/modules/tesseract/"), "https://h/modules/tesseract");
    }

    #[test]
    fn a_token_goes_only_where_nobody_can_read_it() {
        let may = |text| Address::parse(text).unwrap().may_have_token();
        assert!(may("https://mt.lan/x") && may("http://127.0.0.1:7070") && may("http://[::1]:7070"));
        assert!(may("http://localhost:1"));
        assert!(!may("http://mt.lan/x") && !may("http://10.0.0.1") && !may("http://127.0.0.1.evil.net"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "ftp://h",
            "h:7070",
            "https://",
            "https:///x",
            "https://u:p@h",
            "https://h:x",
            "https://h/a b",
            "http://h/?a=1",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
