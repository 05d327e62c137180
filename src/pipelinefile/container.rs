//! `image`, `network`, and the command inside: a module in a container.

use super::command;
use super::mistake::Mistake;
use super::section::{At, Log, Section};
use crate::model::pipeline::{Container, Program};

/// Reads the keys of a container; nothing if the table names no image.
pub(super) fn read(source: &str, section: &Section<'_>, log: &Log) -> Option<Program> {
    let network = section.flag("network");
    let Some(image) = section.text("image") else {
        if network.is_some() {
            let message = "`network` belongs to a module with `image`: other modules have what `pipe` has";
            log.add(Mistake::at(section.key_span("network"), message.to_owned()));
        }
        return None;
    };
    if let Some(problem) = unpinned(&image) {
        log.add(problem);
    }
    if section.has("probe") {
        let message = "`probe` asks this machine, and the program runs in a container";
        log.add(Mistake::at(section.key_span("probe"), message.to_owned()).help("leave it out"));
    }
    let cmd = section.text("cmd");
    let program = match &cmd {
        Some(cmd) => command::cmd(source, cmd, log)?,
        None => match section.text("shell") {
            Some(script) => command::shell(source, &script, log)?,
            None => Program::Worker(Vec::new()),
        },
    };
    let network = network.is_some_and(|network| network.value);
    Some(Program::Image(Box::new(Container { image: image.value, program, network })))
}

/// What is wrong with an image that is not named by its content.
fn unpinned(image: &At<String>) -> Option<Mistake> {
    let name = image.value.trim();
    let (before, digest) = match name.split_once('@') {
        Some((before, digest)) => (before, digest),
        None if name.starts_with("sha256:") => ("-", name),
        None => {
            let message = "`image` has no digest: the same name can be another image tomorrow";
            let find = format!("podman image inspect --format '{{{{.Digest}}}}' {name}");
            return Some(
                Mistake::at(image.span.clone(), message.to_owned())
                    .label("wanted: NAME@sha256:…")
                    .help(format!("of an image that is here: {find}")),
            );
        }
    };
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if before.is_empty() || !is_digest || name != image.value || name.contains(char::is_whitespace) {
        let message = "`image` is no NAME@sha256:… with 64 hexadecimal digits".to_owned();
        return Some(Mistake::at(image.span.clone(), message));
    }
    None
}
