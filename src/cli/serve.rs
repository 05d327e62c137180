//! `pipe serve`: offers the project's modules over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::interrupt;
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::pipeline::{Module, Program};
use crate::project::Project;
use crate::serve::{Limits, Server, Settings, Tls, Tokens};

/// What is in hand at the end has so long.
const FAREWELL: Duration = Duration::from_secs(30 * 60);

/// Offer this project's modules over HTTP, for builds on other machines
///
/// A build elsewhere names one as `url = "https://HOST:7070/modules/NAME"`. Documents come in, results go back; nothing is
/// kept here. SIGTERM and Ctrl-C end it once what is in hand is done; the second time at once.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Where to listen. What other machines can reach takes a token and TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,

    /// A file with the tokens that let in, a line each; without it, whoever is on this machine may use it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The certificate, as a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The key of the certificate, as a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// The most that one request may have
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    max_size: u64,

    /// The most documents in hand at once; more are refused, to come again in a moment
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_documents: u32,
}

fn size(text: &str) -> std::result::Result<u64, String> {
    crate::model::selection::parse_size(text)
        .filter(|size| *size > 0)
        .ok_or_else(|| "a size such as 64MiB".to_owned())
}

#[derive(Serialize)]
struct Started<'a> {
    url: &'a str,
    modules: &'a [String],
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_build(&global.locate(out.talk_has_colour()))?;
        let tokens = self.token_file.as_deref().map(Tokens::read).transpose()?.unwrap_or_default();
        let tls = self.tls_cert.clone().zip(self.tls_key.clone());
        let tls = tls.map(|(certificate, key)| Tls { certificate, key });
        let limits =
            Limits { request: self.max_size, documents: self.max_documents as usize, workers: global.jobs() };
        let is_open = tokens.is_empty();
        let settings = Settings { listen: self.listen, tokens, tls, limits };
        let interrupts = interrupt::watch()?;
        drop(interrupts.sleeper.set(std::thread::current()));
        let server = Server::start(project.pipeline(), &project.store_dir.join("serve"), settings)?;
        if out.is_json() {
            out.json_line("serving", &Started { url: server.url(), modules: server.modules() })?;
        } else {
            out.line(format!("Serving {} at {}", server.modules().join(", "), server.url()))?;
            let is_elsewhere = |module: &&Module| matches!(module.program, Program::Url(_));
            for module in project.pipeline().modules.iter().filter(is_elsewhere) {
                let name = &module.name;
                out.say(format!(
                    "not offered: `{name}` runs on a server itself, which laptops can ask directly"
                ));
            }
            if is_open {
                out.say("without a token: whoever is on this machine may use it (--token-file)");
            }
        }
        out.flush()?;
        let seen = || interrupts.seen().map_or(0, |(_, count)| count);
        while seen() == 0 {
            std::thread::park();
        }
        out.say("Ending: what is in hand is done first (again: at once)");
        let all = server.end(FAREWELL, || seen() > 1);
        let signal = interrupts.seen().map_or(0, |(signal, _)| signal);
        Ok(if all { Exit::FINE } else { Exit(128 + signal as u8) })
    }
}
