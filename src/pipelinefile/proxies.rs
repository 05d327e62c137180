//! `--proxy ocr=https://…`: for once, a module runs on a server; `--proxy https://…`: all that it offers do.

use crate::error::{Error, Result};
use crate::model::pipeline::Service;

/// One `--proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The module as targets call it.
    pub module: String,
    /// Where it runs.
    pub service: Service,
    /// It was named; else it is one of all that a server offers, which nobody needs to call.
    pub is_named: bool,
}

impl Proxy {
    /// Reads `ocr=https://host:7070`, or with the module's own path.
    pub fn parse(text: &str) -> Result<Proxy> {
        let wrong = |why: &str| {
            Error::usage(format!("`--proxy {text}` {why}"))
                .hint("write --proxy MODULE=URL, as in --proxy ocr=https://gpu.lan:7070")
        };
        let Some((module, url)) = text.split_once('=').filter(|(module, _)| !module.is_empty()) else {
            return Err(wrong("names no module"));
        };
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let Some(rest) = rest.map(|rest| rest.trim_end_matches('/')).filter(|rest| !rest.is_empty()) else {
            return Err(wrong("names no address: it begins with https:// or http://"));
        };
        let server = url.trim_end_matches('/');
        if !rest.contains('/') {
            return Ok(Proxy { is_named: true, ..Proxy::on(server, module) });
        }
        let service = Service { url: server.to_owned(), token: None, ttl: None };
        Ok(Proxy { module: module.to_owned(), service, is_named: true })
    }

    /// The server of `--proxy https://host:7070`: all that it offers.
    pub fn server(text: &str) -> Option<&str> {
        let is_address = text.starts_with("https://") || text.starts_with("http://");
        is_address.then(|| text.trim_end_matches('/'))
    }

    /// A module that a server offers.
    pub fn on(server: &str, module: &str) -> Proxy {
        let url = format!("{server}/modules/{module}");
        let service = Service { url, token: None, ttl: None };
        Proxy { module: module.to_owned(), service, is_named: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_alone_stands_for_its_module_of_that_name() {
        let url = |text: &str| Proxy::parse(text).unwrap().service.url;
        assert_eq!(url("ocr=https://h:7070"), "https://h:7070/modules/ocr");
        assert_eq!(url("ocr=http://h:7070/"), "http://h:7070/modules/ocr");
        assert_eq!(url("ocr=https://h/tesseract/"), "https://h/tesseract");
        assert_eq!(Proxy::server("https://h:7070/"), Some("https://h:7070"));
        assert_eq!(Proxy::server("ocr=https://h:7070"), None);
        for wrong in ["", "ocr", "=https://h", "ocr=h:7070", "ocr=https://"] {
            assert_eq!(Proxy::parse(wrong).unwrap_err().kind.exit_code(), 2, "{wrong}");
        }
    }
}
