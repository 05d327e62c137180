//! Modules on servers: what code they have, asked once at the beginning of a build.
//!
//! What a server says is kept, and holds while it cannot be reached (`semantics.md` 34). A service that does not say which
//! code it has is asked anew by each build, or after its `ttl`. Knows nothing of documents.

use std::collections::HashSet;
use std::time::Duration;

use crate::engine::target::{ModuleFacts, ServiceFacts, identity};
use crate::error::{Error, Result};
use crate::model::pipeline::{Module, ModuleIx, Program, Service};
use crate::remote::{Address, Client, Description, Trouble};
use crate::store::Store;
use crate::time::Millis;

/// A definition of a service with a `ttl` holds for such a part of it: then every document is looked up again.
const PARTS: u64 = 10;

/// Who is asked.
#[derive(Clone, Copy)]
pub enum Reach<'a> {
    /// The servers of these modules, of all if none are named.
    Servers(Option<&'a HashSet<ModuleIx>>),
    /// Nobody: what they said last holds.
    Nobody,
}

/// The facts of modules on servers, one after the other.
pub struct Services<'a> {
    store: &'a Store,
    ask: Reach<'a>,
    /// Hosts that were not reached.
    away: HashSet<String>,
}

impl<'a> Services<'a> {
    /// Nobody asked yet.
    pub fn new(store: &'a Store, ask: Reach<'a>) -> Self {
        Services { store, ask, away: HashSet::new() }
    }

    /// What is known of a module; an error if its server refuses, or was never reached.
    pub fn facts(&mut self, ix: ModuleIx, module: &Module, service: &Service) -> Result<ModuleFacts> {
        let is_asked = match self.ask {
            Reach::Servers(wanted) => wanted.is_none_or(|wanted| wanted.contains(&ix)),
            Reach::Nobody => false,
        };
        let kept = self.store.kept("service", service.url.as_bytes())?;
        let kept = kept.and_then(|kept| serde_json::from_slice::<Description>(&kept).ok());
        let (description, notice) = if is_asked { self.ask(module, service, kept)? } else { (kept, None) };
        let mut facts = of_description(module, service, description.as_ref(), crate::time::now());
        if let Some(service) = &mut facts.service {
            service.notice = notice;
        }
        Ok(facts)
    }

    fn ask(
        &mut self,
        module: &Module,
        service: &Service,
        kept: Option<Description>,
    ) -> Result<(Option<Description>, Option<String>)> {
        let url = &service.url;
        let host = Address::parse(url).map(|address| address.host).unwrap_or_default();
        let asked = if self.away.contains(&host) {
            Err(Trouble::Unreachable("its host did not answer a moment ago".to_owned()))
        } else {
            let token = crate::env::token(service.token.as_deref().unwrap_or(crate::env::TOKEN));
            Client::new(url, token).and_then(|client| client.describe())
        };
        let refused = |trouble: &Trouble| {
            Error::unfinished(format!("module `{}` cannot be used: {url}: {}", module.name, trouble.text()))
        };
        match asked {
            Ok(description) => {
                if kept.as_ref() != Some(&description) {
                    let bytes = serde_json::to_vec(&description).unwrap_or_default();
                    self.store.keep("service", url.as_bytes(), &bytes)?;
                }
                Ok((Some(description), None))
            }
            Err(trouble @ (Trouble::Unreachable(_) | Trouble::Busy(_))) => {
                self.away.insert(host);
                if kept.is_none() {
                    return Err(refused(&trouble)
                        .hint("start the server, or correct `url`: nothing is known of its module yet"));
                }
                let text = trouble.text();
                let name = &module.name;
                let notice = format!(
                    "the server of `{name}` is not reached ({url}: {text}): what it said last of its code holds"
                );
                Ok((kept, Some(notice)))
            }
            Err(trouble) => {
                let error = refused(&trouble);
                Err(match &trouble {
                    Trouble::Refused(text) if text.contains("token") => {
                        let name = service.token.as_deref().unwrap_or(crate::env::TOKEN);
                        error.hint(format!("the token is what the variable {name} holds"))
                    }
                    Trouble::Refused(text) if text.contains("certificate") => {
                        error.hint("SSL_CERT_FILE=FILE pipe …    trusts the certificates of a file")
                    }
                    _ => error.hint("pipe modules --from SERVER    lists what a module server has"),
                })
            }
        }
    }
}

/// The facts of a module by what its server says.
fn of_description(
    module: &Module,
    service: &Service,
    description: Option<&Description>,
    now: Millis,
) -> ModuleFacts {
    let stated = description.and_then(|description| description.fingerprint.clone());
    let (mut program, files) = match description {
        // The parts that the module would have here: wherever the same code runs, its results are the same.
        Some(description) if !description.program.is_empty() => {
            (description.program.clone(), description.files.clone())
        }
        _ => {
            let mut program =
                vec![("command".to_owned(), service.url.clone()), ("kind".to_owned(), "url".to_owned())];
            program.extend(stated.clone().map(|stated| ("fingerprint".to_owned(), stated)));
            let version = description.and_then(|description| description.version.clone());
            program.extend(version.map(|version| ("version".to_owned(), version)));
            (program, Vec::new())
        }
    };
    if let Some(version) = &module.version {
        program.retain(|(name, _)| name != "version");
        program.push(("version".to_owned(), version.clone()));
    }
    program.sort();
    let is_stated = stated.is_some() || program.iter().any(|(name, _)| name == "version");
    let mut facts = ServiceFacts { fingerprint: stated.clone(), ..ServiceFacts::default() };
    if !is_stated {
        let ttl = service.ttl.unwrap_or(Duration::ZERO).as_millis() as u64;
        facts.since = Some(Millis(now.0.saturating_sub(ttl)));
        facts.epoch = Some(now.0 / (ttl / PARTS).max(1));
    }
    let declares = description.filter(|description| !description.params.is_empty());
    let declares = declares.map(|description| description.params.keys().cloned().collect());
    ModuleFacts { identity: identity(&program), program, files, declares, service: Some(facts) }
}

/// The modules that a build of these targets calls.
pub fn modules_of(
    pipeline: &crate::model::pipeline::Pipeline,
    targets: impl IntoIterator<Item = crate::model::pipeline::TargetIx>,
) -> HashSet<ModuleIx> {
    targets.into_iter().flat_map(|ix| pipeline.modules_of(ix)).collect()
}

/// The service behind a module, if it is one.
pub fn service_of(module: &Module) -> Option<&Service> {
    match &module.program {
        Program::Url(service) => Some(service),
        _ => None,
    }
}
