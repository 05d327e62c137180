//! `[log]` and `[notify]`: where events go, and who is told at the end.

use std::path::Path;

use super::keys;
use super::mistake::Mistake;
use super::section::{Log, Section};
use crate::model::telling::{HttpAddress, LogPlace, Notify};

/// Reads `[log]`.
pub(super) fn places(root: &Path, section: &Section<'_>, log: &Log) -> Vec<LogPlace> {
    section.allow(&[keys::LOG]);
    if !section.has("to") {
        log.add(
            Mistake::at(section.span.clone(), "`[log]` has no `to`")
                .help("say where events go: to = \"gelf+udp://HOST:12201\""),
        );
    }
    let mut places = Vec::new();
    for text in section.texts("to").unwrap_or_default() {
        match LogPlace::parse(&text.value, root) {
            Ok(place) => places.push(place),
            Err(wanted) => log.add(Mistake::at(text.span, format!("`to` must be {wanted}"))),
        }
    }
    places
}

/// Reads `[notify]`.
pub(super) fn notify(section: &Section<'_>, log: &Log) -> Notify {
    section.allow(&[keys::NOTIFY]);
    let mut notify = Notify::default();
    let words = section.texts("on").unwrap_or_default();
    for word in &words {
        match word.value.as_str() {
            "failed" => notify.failed = true,
            "finished" => notify.finished = true,
            other => {
                let message = format!("`on` is \"failed\", \"finished\" or both, not \"{other}\"");
                let mistake = Mistake::at(word.span.clone(), message);
                log.add(match crate::text::nearest(other, ["failed", "finished"]) {
                    Some(near) => {
                        mistake.fix("a similar word is known", word.span.clone(), format!("\"{near}\""))
                    }
                    None => mistake,
                });
            }
        }
    }
    if !section.has("on") {
        // What people who write nothing more want to hear of.
        notify.failed = true;
    }
    notify.cmd = section.text("cmd").map(|cmd| cmd.value);
    if let Some(url) = section.text("url") {
        match HttpAddress::parse(&url.value) {
            Ok(address) => notify.url = Some(address),
            Err(wanted) => log.add(Mistake::at(url.span, format!("`url` must be {wanted}"))),
        }
    }
    if !section.has("cmd") && !section.has("url") {
        log.add(
            Mistake::at(section.span.clone(), "`[notify]` has neither `cmd` nor `url`")
                .help("say who is told: cmd = \"mail -s pipe me@example.org\""),
        );
    }
    notify
}
