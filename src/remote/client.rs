//! Requests to module servers: one HTTP client for all of them, with limits and without redirects. The owner of ureq.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::remote::address::Address;
use crate::remote::description::Description;
use crate::remote::{FINGERPRINT_HEADER, NDJSON};

/// For a connection, and for the name of a host.
const CONNECT: Duration = Duration::from_secs(5);
/// For the answer to a question.
const QUESTION: Duration = Duration::from_secs(70);
/// A server says something at least every ten seconds while it works; this long it may be silent.
const SILENCE: Duration = Duration::from_secs(40);
/// What a server says of its modules is no longer than this.
const LONGEST_DESCRIPTION: u64 = 8 << 20;
/// Of an answer that is no answer, so much is looked at.
const LONGEST_REFUSAL: u64 = 64 * 1024;

/// Why a server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Not reached, or lost on the way: it may be there the next time.
    Unreachable(String),
    /// It has enough to do: ask again after so long.
    Busy(Duration),
    /// It has other code than the request was meant for.
    Changed,
    /// The request is larger than it takes.
    TooLarge,
    /// It will not answer otherwise the next time: wrong token, no such module, no module server.
    Refused(String),
}

impl Trouble {
    /// In words, without the address.
    pub fn text(&self) -> String {
        match self {
            Trouble::Unreachable(text) | Trouble::Refused(text) => text.clone(),
            Trouble::Busy(_) => "the server has too much to do".to_owned(),
            Trouble::Changed => "the module has changed on its server".to_owned(),
            Trouble::TooLarge => {
                "the document, with all that goes with it, is more than the server takes".to_owned()
            }
        }
    }
}

/// What asks one server, or one module of it.
pub struct Client {
    agent: Agent,
    address: Address,
    token: Option<String>,
}

impl Client {
    /// For this address; an error if it is none, or if the token must not go there.
    pub fn new(url: &str, token: Option<String>) -> Result<Client, Trouble> {
        let address =
            Address::parse(url).map_err(|wanted| Trouble::Refused(format!("the address {wanted}")))?;
        if token.is_some() && !address.may_have_token() {
            let text = "a token is sent only by https, or to this machine";
            return Err(Trouble::Refused(text.to_owned()));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .proxy(None)
            .user_agent(concat!("pipe/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_resolve(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .no_delay(true);
        if address.is_safe {
            config = config.tls_config(tls());
        }
        Ok(Client { agent: config.build().new_agent(), address, token })
    }

    /// The description of the module.
    pub fn describe(&self) -> Result<Description, Trouble> {
        let text = self.get(&self.address.url)?;
        let description: Description = serde_json::from_slice(&text).map_err(|_| no_server())?;
        match description.problem() {
            None => Ok(description),
            Some(problem) => Err(Trouble::Refused(problem)),
        }
    }

    /// The descriptions of all modules of the server.
    pub fn modules(&self) -> Result<Vec<Description>, Trouble> {
        #[derive(serde::Deserialize)]
        struct All {
            modules: Vec<Description>,
        }
        let text = self.get(&format!("{}/modules", self.address.url))?;
        let all: All = serde_json::from_slice(&text).map_err(|_| no_server())?;
        match all.modules.iter().find_map(Description::problem) {
            None => Ok(all.modules),
            Some(problem) => Err(Trouble::Refused(problem)),
        }
    }

    fn get(&self, url: &str) -> Result<Vec<u8>, Trouble> {
        let mut request = self.agent.get(url).header("accept", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.config().timeout_global(Some(QUESTION)).build();
        let mut response = request.call().map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(refusal(status, &mut response));
        }
        let body = response.body_mut().with_config().limit(LONGEST_DESCRIPTION).read_to_vec();
        body.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => Trouble::Refused("its answer is without end".to_owned()),
            error => unreachable(&error),
        })
    }

    /// Hands over a setup and documents, a line each; the lines of the reply.
    pub fn run(
        &self,
        body: &[u8],
        fingerprint: Option<&str>,
        limit: Option<Duration>,
    ) -> Result<impl BufRead + use<>, Trouble> {
        let url = format!("{}/run", self.address.url);
        let mut request = self.agent.post(&url).header("content-type", NDJSON).header("accept", NDJSON);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(fingerprint) = fingerprint {
            request = request.header(FINGERPRINT_HEADER, fingerprint);
        }
        let request = request.config().timeout_global(limit).build();
        let mut response = request.send(body).map_err(|error| unreachable(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(refusal(status, &mut response));
        }
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if kind != Some(NDJSON) {
            return Err(no_server());
        }
        Ok(BufReader::with_capacity(
            64 * 1024,
            response.into_body().into_with_config().limit(u64::MAX).reader(),
        ))
    }
}

/// TLS with the certificates that this system trusts.
fn tls() -> TlsConfig {
    // What cannot be read is missing then, and the connection says so.
    let found = rustls_native_certs::load_native_certs().certs;
    let certs: Vec<Certificate<'static>> =
        found.iter().map(|cert| Certificate::from_der(cert).to_owned()).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certs))
        .unversioned_rustls_crypto_provider(provider)
        .build()
}

fn no_server() -> Trouble {
    Trouble::Refused("what answers there is no module server".to_owned())
}

fn unreachable(error: &ureq::Error) -> Trouble {
    use std::io::ErrorKind;
    let text = match error {
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => "nobody answers there: connection refused".to_owned(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                "the connection was lost".to_owned()
            }
            _ => {
                let text = crate::error::io_text(error);
                if text.contains("certificate") {
                    return Trouble::Refused(format!("its certificate is not trusted here: {text}"));
                }
                text
            }
        },
        ureq::Error::Timeout(_) => "it did not answer in time".to_owned(),
        ureq::Error::HostNotFound => "there is no host of that name".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
            return no_server();
        }
        ureq::Error::Rustls(error) => return Trouble::Refused(format!("no TLS with it: {error}")),
        error => error.to_string(),
    };
    Trouble::Unreachable(text)
}

fn refusal(status: u16, response: &mut ureq::http::Response<ureq::Body>) -> Trouble {
    let header = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let after = header("retry-after").and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(1);
    let place = header("location");
    match status {
        429 | 503 => Trouble::Busy(Duration::from_secs(after)),
        300..=399 => {
            let place =
                place.map(|place| format!(" (to {})", crate::text::printable(&place))).unwrap_or_default();
            Trouble::Refused(format!("it sends elsewhere{place}, where nobody follows: name that address"))
        }
        401 => Trouble::Refused("it wants another token".to_owned()),
        409 => Trouble::Changed,
        413 => Trouble::TooLarge,
        _ => {
            let said = words(response).map(|said| format!(": {said}")).unwrap_or_default();
            match status {
                404 => Trouble::Refused(format!("there is no such module{said}")),
                500..=599 => Trouble::Unreachable(format!("it answers with {status}{said}")),
                _ => Trouble::Refused(format!("it answers with {status}{said}")),
            }
        }
    }
}

/// What a server says of its refusal, if it is one of ours.
fn words(response: &mut ureq::http::Response<ureq::Body>) -> Option<String> {
    let mut text = Vec::new();
    response.body_mut().as_reader().take(LONGEST_REFUSAL).read_to_end(&mut text).ok()?;
    let said: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let message = said.get("error")?.get("message")?.as_str()?;
    Some(crate::text::printable(message))
}
