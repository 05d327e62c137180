//! Where a build's events go beside the terminal: addresses of log systems, and who is told at its end.

use std::path::{Path, PathBuf};

/// A place for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// As it is written.
    pub written: String,
    /// What it is.
    pub kind: LogKind,
}

/// The kinds of places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// GELF over UDP.
    GelfUdp {
        /// The machine.
        host: String,
        /// Its port.
        port: u16,
    },
    /// GELF over TCP.
    GelfTcp {
        /// The machine.
        host: String,
        /// Its port.
        port: u16,
    },
    /// GELF over HTTP.
    GelfHttp {
        /// The machine.
        host: String,
        /// Its port.
        port: u16,
        /// Where it is posted to.
        path: String,
    },
    /// OTLP over HTTP, as JSON.
    Otlp {
        /// The machine.
        host: String,
        /// Its port.
        port: u16,
        /// What stands before `/v1/traces`.
        path: String,
    },
    /// JSON lines at the end of a file.
    File {
        /// Absolute.
        path: PathBuf,
    },
}

/// Who is told when a build is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// When anything failed, or the build could not finish.
    pub failed: bool,
    /// Whenever a build that had something to do is over.
    pub finished: bool,
    /// A shell command, which gets the message on its standard input.
    pub cmd: Option<String>,
    /// An address that the message is posted to.
    pub url: Option<HttpAddress>,
}

/// An address for HTTP without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAddress {
    /// As it is written.
    pub written: String,
    /// The machine.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// With a `/` in front.
    pub path: String,
}

/// Every beginning of an address, for messages.
pub const SCHEMES: [&str; 5] = ["gelf+udp://", "gelf+tcp://", "gelf+http://", "otlp+http://", "file:"];

const GELF_PORT: u16 = 12201;
const OTLP_PORT: u16 = 4318;

impl LogPlace {
    /// Reads an address; paths are relative to `root`. The error says what is wanted.
    pub fn parse(text: &str, root: &Path) -> Result<LogPlace, String> {
        let kind = if let Some(path) = text.strip_prefix("file:") {
            if path.is_empty() || path.starts_with("//") {
                return Err("the path of a file behind `file:`, as in \"file:events.jsonl\"".to_owned());
            }
            LogKind::File { path: root.join(path) }
        } else if let Some((host, port, path)) = split(text, "gelf+udp://", GELF_PORT)? {
            without_path(&path)?;
            LogKind::GelfUdp { host, port }
        } else if let Some((host, port, path)) = split(text, "gelf+tcp://", GELF_PORT)? {
            without_path(&path)?;
            LogKind::GelfTcp { host, port }
        } else if let Some((host, port, path)) = split(text, "gelf+http://", GELF_PORT)? {
            let path = if path.is_empty() || path == "/" { "/gelf".to_owned() } else { path };
            LogKind::GelfHttp { host, port, path }
        } else if let Some((host, port, path)) = split(text, "otlp+http://", OTLP_PORT)? {
            if !cfg!(feature = "otel") {
                return Err("another place: this pipe was built without the feature `otel`".to_owned());
            }
            LogKind::Otlp { host, port, path: path.trim_end_matches('/').to_owned() }
        } else if text.contains("https://") {
            return Err("without TLS: name a collector on this machine, which sends it on".to_owned());
        } else {
            return Err(format!("an address that begins with {}", SCHEMES.join(", ")));
        };
        Ok(LogPlace { written: text.to_owned(), kind })
    }
}

impl HttpAddress {
    /// Reads an address that begins with `http://`.
    pub fn parse(text: &str) -> Result<HttpAddress, String> {
        if text.starts_with("https://") {
            let with = "`cmd` can speak TLS: cmd = \"curl -sS --json @- https://…\"";
            return Err(format!("an address that begins with http://; {with}"));
        }
        let Some((host, port, path)) = split(text, "http://", 80)? else {
            return Err("an address that begins with http://".to_owned());
        };
        let path = if path.is_empty() { "/".to_owned() } else { path };
        Ok(HttpAddress { written: text.to_owned(), host, port, path })
    }
}

fn without_path(path: &str) -> Result<(), String> {
    if path.is_empty() || path == "/" { Ok(()) } else { Err("HOST:PORT, with no path behind it".to_owned()) }
}

/// `SCHEME HOST [: PORT] [/ PATH]`; nothing if it is another scheme.
fn split(text: &str, scheme: &str, port: u16) -> Result<Option<(String, u16, String)>, String> {
    let Some(rest) = text.strip_prefix(scheme) else { return Ok(None) };
    let wanted = || format!("{scheme}HOST:PORT");
    let (place, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (host, behind) = match place.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or_else(wanted)?,
        None => place.find(':').map_or((place, ""), |at| place.split_at(at)),
    };
    let port = match behind.strip_prefix(':') {
        Some(number) => number.parse().ok().filter(|port| *port > 0).ok_or_else(wanted)?,
        None if behind.is_empty() => port,
        None => return Err(wanted()),
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "@?#".contains(c);
    if host.is_empty()
        || host.contains(is_odd)
        || path.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Err(wanted());
    }
    Ok(Some((host.to_owned(), port, path.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Result<LogKind, String> {
        LogPlace::parse(text, Path::new("/project")).map(|place| place.kind)
    }

    #[test]
    fn addresses_have_the_ports_that_are_usual() {
        let host = || "graylog".to_owned();
        assert_eq!(kind("gelf+udp://graylog"), Ok(LogKind::GelfUdp { host: host(), port: 12201 }));
        assert_eq!(kind("gelf+tcp://graylog:99"), Ok(LogKind::GelfTcp { host: host(), port: 99 }));
        let gelf = LogKind::GelfHttp { host: "::1".into(), port: 7, path: "/gelf".into() };
        assert_eq!(kind("gelf+http://[::1]:7/"), Ok(gelf));
        assert_eq!(kind("file:logs/a.jsonl"), Ok(LogKind::File { path: "/project/logs/a.jsonl".into() }));
        if cfg!(feature = "otel") {
            let otlp = LogKind::Otlp { host: host(), port: 4318, path: "/otlp".into() };
            assert_eq!(kind("otlp+http://graylog/otlp/"), Ok(otlp));
        }
    }

    #[test]
    fn what_is_no_address_says_what_is_wanted() {
        for text in [
            "graylog:12201",
            "gelf://graylog",
            "gelf+udp://",
            "gelf+udp://h:0",
            "gelf+udp://h:x",
            "gelf+tcp://h:1/path",
            "gelf+udp://a b",
            "gelf+tcp://user@host",
            "file:",
            "otlp+https://h",
        ] {
            assert!(kind(text).is_err(), "{text}");
        }
        assert!(HttpAddress::parse("https://chat/x").unwrap_err().contains("curl"));
        let address = HttpAddress::parse("http://chat/x?y=1").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.path.as_str()), ("chat", 80, "/x?y=1"));
    }
}
