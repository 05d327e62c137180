//! Events as GELF 1.1 messages, for Graylog.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::http::is_refusal;
use super::transport::Carrier;
use super::{About, Outlet, Sent, Told};
use crate::model::event::{Event, Ran, Summary};
use crate::model::failure::Failure;
use crate::text;

/// Severities of syslog.
const ERROR: u8 = 3;
const WARNING: u8 = 4;
const NOTICE: u8 = 5;
const INFO: u8 = 6;

/// GELF by one of its ways.
pub(super) struct Gelf<C> {
    about: Arc<About>,
    carrier: C,
}

impl<C: Carrier> Gelf<C> {
    pub(super) fn new(about: Arc<About>, carrier: C) -> Self {
        Gelf { about, carrier }
    }
}

impl<C: Carrier> Outlet for Gelf<C> {
    fn send(&mut self, messages: &[Arc<Told>]) -> Sent {
        let mut sent = Sent::default();
        for told in messages {
            let message = bytes(&self.about, told, self.carrier.limit());
            match self.carrier.carry(&message) {
                Ok(()) => {}
                Err(error) if is_refusal(&error) => {
                    sent.refused += 1;
                    sent.error = Some(error);
                }
                Err(error) => return Sent { error: Some(error), ..sent },
            }
            sent.taken += 1;
        }
        match self.carrier.flush() {
            Ok(()) => sent,
            // It only collects until then: nothing was refused.
            Err(error) => Sent { error: Some(error), ..Sent::default() },
        }
    }
}

/// The message of an event, not longer than `limit`: what is too long loses its end.
pub(super) fn bytes(about: &About, told: &Told, limit: usize) -> Vec<u8> {
    let mut message = message(about, told);
    let mut room = limit;
    loop {
        let bytes = Value::Object(message.clone()).to_string().into_bytes();
        if bytes.len() <= limit {
            return bytes;
        }
        room /= 2;
        for value in message.values_mut() {
            if let Value::String(text) = value
                && text.len() > room
            {
                *text = text::shorten(text, room / 4);
            }
        }
        if room < 16 {
            return bytes;
        }
    }
}

/// What is to be said of an event: its severity, a line, and the rest of the text.
pub(super) struct Said {
    pub(super) level: u8,
    pub(super) short: String,
    pub(super) full: Option<String>,
    pub(super) event: &'static str,
    pub(super) target: Option<String>,
    pub(super) document: Option<String>,
    pub(super) ran: Option<Ran>,
    pub(super) failure: Option<Failure>,
}

impl Said {
    fn new(level: u8, event: &'static str, short: impl Into<String>) -> Self {
        Said {
            level,
            short: short.into(),
            full: None,
            event,
            target: None,
            document: None,
            ran: None,
            failure: None,
        }
    }

    fn of(mut self, target: &str, document: Option<&str>) -> Self {
        self.target = Some(target.to_owned());
        self.document = document.map(str::to_owned);
        self
    }

    fn failed(mut self, failure: &Failure) -> Self {
        let place = failure.place.iter().map(|place| format!("at {place}"));
        let parts = std::iter::once(failure.message.clone()).chain(place).chain(failure.traceback.clone());
        self.full = Some(parts.collect::<Vec<_>>().join("\n"));
        self.failure = Some(failure.clone());
        self
    }
}

/// An event in words.
pub(super) fn said(event: &Event) -> Said {
    match event {
        Event::Scanned(scanned) => Said::new(
            INFO,
            "scanned",
            format!("{}: {}", scanned.source, text::count(scanned.documents, "document")),
        ),
        Event::Plan { targets, .. } => {
            let names: Vec<&str> = targets.iter().map(|planned| planned.target.as_str()).collect();
            Said::new(INFO, "plan", format!("to do: {}", names.join(", ")))
        }
        Event::RunStarted { run } => Said::new(INFO, "run-started", format!("run {run} begins")),
        Event::Starting { target, module } => {
            Said::new(INFO, "starting", format!("{module} starts")).of(target, None)
        }
        Event::Warned { doc, target, message } => {
            Said::new(WARNING, "warned", message.clone()).of(target, doc.as_deref())
        }
        Event::Done(done) => {
            let said = Said::new(INFO, "done", format!("{} done: {}", done.target, done.doc));
            Said { ran: done.ran, ..said.of(&done.target, Some(&done.doc)) }
        }
        Event::Skipped { doc, target, reason, ran } => {
            let said = Said::new(INFO, "skipped", format!("{target} skipped: {doc}: {reason}"));
            Said { ran: *ran, ..said.of(target, Some(doc)) }
        }
        Event::Failed { doc, target, failure, ran } => {
            let short = format!("{target} failed: {doc}: {}", failure.summary());
            let said = Said::new(ERROR, "failed", short).of(target, Some(doc)).failed(failure);
            Said { ran: *ran, ..said }
        }
        Event::Retrying { doc, target, failure, attempt, duration, worker, .. } => {
            let short = format!("{target} tries again: {doc}: {}", failure.summary());
            let said = Said::new(WARNING, "retrying", short).of(target, Some(doc)).failed(failure);
            let ran = Ran { duration: *duration, worker: Some(*worker), attempt: *attempt };
            Said { ran: Some(ran), ..said }
        }
        Event::Pausing { target, milliseconds, failure } => {
            let short = format!("{target} pauses for {milliseconds} ms, as it asks");
            Said::new(NOTICE, "pausing", short).of(target, None).failed(failure)
        }
        Event::Slow { doc, target, seconds } => {
            let short = format!("{target} is slow: {doc}: {seconds} s so far");
            Said::new(NOTICE, "slow", short).of(target, Some(doc))
        }
        Event::Matched(matched) => {
            let short = format!("{}: {} documents without a match", matched.with, matched.unmatched);
            Said::new(INFO, "matched", short).of(&matched.target, None)
        }
        Event::Notice { message, .. } => Said::new(NOTICE, "notice", message.clone()),
        Event::Stopping { in_hand } => Said::new(NOTICE, "stopping", format!("stopping, {in_hand} in hand")),
        Event::Finished(summary) => finished(summary),
        Event::Changed(changed) => Said::new(INFO, "changed", text::count(changed.count, "changed file")),
        Event::Started { .. }
        | Event::Progress { .. }
        | Event::Counts(_)
        | Event::Watching(_)
        | Event::InHand { .. } => Said::new(INFO, "other", ""),
    }
}

fn finished(summary: &Summary) -> Said {
    let sum = |of: fn(&crate::model::event::TargetCounts) -> u64| summary.targets.iter().map(of).sum::<u64>();
    let failed = summary.failed_documents;
    let code = summary.exit_code();
    let level = match code {
        0 => INFO,
        1 => WARNING,
        _ => ERROR,
    };
    let stopped = if summary.stopped.is_some() { ", stopped" } else { "" };
    let short = format!(
        "finished: {} built, {} reused, {failed} failed, exit {code}{stopped}",
        sum(|target| target.built),
        sum(|target| target.reused)
    );
    let causes = summary.causes.iter().map(|cause| {
        format!(
            "{}x {}  {}  e.g. {}",
            cause.count,
            cause.target,
            cause.failure.summary(),
            cause.samples.join(", ")
        )
    });
    let causes: Vec<String> = causes.collect();
    let full = (!causes.is_empty()).then(|| causes.join("\n"));
    let ran = Some(Ran { duration: summary.milliseconds * 1000, ..Ran::default() });
    Said { full, ran, ..Said::new(level, "finished", short) }
}

fn message(about: &About, told: &Told) -> Map<String, Value> {
    let said = said(&told.event);
    let mut message = Map::new();
    let mut put = |name: &str, value: Value| drop(message.insert(name.to_owned(), value));
    put("version", "1.1".into());
    put("host", about.host.clone().into());
    put("short_message", said.short.into());
    put("timestamp", json!(told.at.0 as f64 / 1000.0));
    put("level", said.level.into());
    put("_project", about.project.clone().into());
    put("_event", said.event.into());
    if let Some(full) = said.full {
        put("full_message", full.into());
    }
    if let Some(run) = told.run {
        put("_run", run.into());
    }
    if let Some(target) = &said.target {
        if let Some((module, version)) = about.modules.get(target) {
            put("_module", module.clone().into());
            if let Some(version) = version {
                put("_version", version.clone().into());
            }
        }
        put("_target", target.clone().into());
    }
    if let Some(document) = said.document {
        put("_document", document.into());
    }
    if let Some(ran) = said.ran {
        put("_duration_ms", json!(ran.duration as f64 / 1000.0));
        if ran.attempt > 0 {
            put("_attempt", ran.attempt.into());
        }
        if let Some(worker) = ran.worker {
            put("_worker", worker.into());
        }
    }
    if let Some(failure) = said.failure {
        put("_kind", failure.kind.words().into());
        put("_error", failure.error.into());
        if let Some(place) = failure.place {
            put("_place", place.into());
        }
    }
    message
}
