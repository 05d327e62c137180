//! A build as a trace and as log records, in OTLP over HTTP as JSON: a run is a trace, an action is a span of it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::gelf::{Said, said};
use super::http::{Client, is_refusal};
use super::{About, Outlet, Sent, Told};
use crate::hash::Digest;
use crate::model::event::Event;
use crate::time::Millis;

const INTERNAL: u32 = 1;
const OK: u32 = 1;
const ERROR: u32 = 2;

/// A collector.
pub(super) struct Otlp {
    about: Arc<About>,
    traces: Client,
    logs: Client,
    /// When the run began.
    began: Option<Millis>,
    trace: String,
    root: String,
    spans: u64,
    /// The records of so many of the next messages have arrived already.
    logged: usize,
}

impl Otlp {
    pub(super) fn new(about: Arc<About>, host: &str, port: u16, path: &str) -> Self {
        let client = |end: &str| Client::new(host.to_owned(), port, format!("{path}{end}"));
        let mark = format!("{} {} {}", about.project, std::process::id(), crate::time::now_ns());
        let digest = Digest::of(mark.as_bytes()).hex();
        let (trace, root) = (digest[..32].to_owned(), digest[32..48].to_owned());
        Otlp {
            about,
            traces: client("/v1/traces"),
            logs: client("/v1/logs"),
            began: None,
            trace,
            root,
            spans: 0,
            logged: 0,
        }
    }

    /// The span of a try of an action, or, at the end, of the whole run.
    fn span(&mut self, told: &Told, said: &Said) -> Option<Value> {
        let is_whole = matches!(told.event, Event::Finished(_));
        let duration = said.ran?.duration;
        if !is_whole && !matches!(said.event, "done" | "skipped" | "failed" | "retrying") {
            return None;
        }
        let end = u128::from(told.at.0) * 1_000_000;
        let start = match self.began {
            Some(began) if is_whole => u128::from(began.0) * 1_000_000,
            _ => end.saturating_sub(u128::from(duration) * 1000),
        };
        self.spans += 1;
        let own = Digest::of(format!("{} {}", self.trace, self.spans).as_bytes()).hex();
        // A try that is made again failed, as a run did whose exit code is not 0.
        let status = match said.level {
            0..=4 => json!({ "code": ERROR, "message": said.short }),
            _ => json!({ "code": OK }),
        };
        let name = match (&said.target, is_whole) {
            (Some(target), false) => target.clone(),
            _ => "pipe build".to_owned(),
        };
        let mut span = json!({
            "traceId": self.trace, "spanId": if is_whole { &self.root } else { &own[..16] }, "name": name,
            "kind": INTERNAL, "startTimeUnixNano": start.to_string(), "endTimeUnixNano": end.to_string(),
            "attributes": self.attributes(told, said), "status": status,
        });
        if !is_whole {
            span["parentSpanId"] = json!(self.root);
        }
        Some(span)
    }

    fn record(&self, told: &Told, said: &Said) -> Value {
        // Numbers and words of the log data model, by the severities of syslog.
        let (number, word) = match said.level {
            0..=3 => (17, "ERROR"),
            4 => (13, "WARN"),
            5 => (10, "INFO2"),
            _ => (9, "INFO"),
        };
        let body =
            said.full.as_ref().map_or_else(|| said.short.clone(), |full| format!("{}\n{full}", said.short));
        json!({
            "timeUnixNano": (u128::from(told.at.0) * 1_000_000).to_string(), "severityNumber": number,
            "severityText": word, "body": { "stringValue": body }, "traceId": self.trace, "spanId": self.root,
            "attributes": self.attributes(told, said),
        })
    }

    fn attributes(&self, told: &Told, said: &Said) -> Value {
        let mut all = vec![text("pipe.event", said.event)];
        all.extend(told.run.map(|run| number("pipe.run", run.into())));
        if let Some(target) = &said.target {
            all.push(text("pipe.target", target));
            if let Some((module, version)) = self.about.modules.get(target) {
                all.push(text("pipe.module", module));
                all.extend(version.iter().map(|version| text("pipe.version", version)));
            }
        }
        all.extend(said.document.iter().map(|document| text("pipe.document", document)));
        if let Some(ran) = said.ran {
            all.extend((ran.attempt > 0).then(|| number("pipe.attempt", ran.attempt.into())));
            all.extend(ran.worker.map(|worker| number("pipe.worker", worker.into())));
        }
        if let Some(failure) = &said.failure {
            all.push(text("pipe.failure", failure.kind.words()));
            all.push(text("exception.type", &failure.error));
            all.push(text("exception.message", &failure.message));
            all.extend(failure.traceback.iter().map(|traceback| text("exception.stacktrace", traceback)));
        }
        Value::Array(all)
    }

    fn resource(&self) -> Value {
        json!({ "attributes": [
            text("service.name", "pipe"), text("service.version", env!("CARGO_PKG_VERSION")),
            text("host.name", &self.about.host), text("pipe.project", &self.about.project),
        ] })
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Whole numbers are texts in the JSON of protocol buffers.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

impl Outlet for Otlp {
    fn send(&mut self, messages: &[Arc<Told>]) -> Sent {
        let (mut spans, mut records) = (Vec::new(), Vec::new());
        let logged = self.logged.min(messages.len());
        for (i, told) in messages.iter().enumerate() {
            if matches!(told.event, Event::RunStarted { .. }) {
                self.began = Some(told.at);
            }
            let said = said(&told.event);
            if i >= logged {
                records.push(self.record(told, &said));
            }
            spans.extend(self.span(told, &said));
        }
        let scope = json!({ "name": "pipe" });
        let mut refused = None;
        if !records.is_empty() {
            let logs = json!({ "resourceLogs": [
                { "resource": self.resource(), "scopeLogs": [{ "scope": scope, "logRecords": records }] }
            ] });
            match self.logs.post(logs.to_string().as_bytes()) {
                Ok(()) => {}
                // Some take traces alone, some logs alone.
                Err(error) if is_refusal(&error) => refused = Some(error),
                Err(error) => return Sent { error: Some(error), ..Sent::default() },
            }
        }
        self.logged = messages.len();
        if !spans.is_empty() {
            let traces = json!({ "resourceSpans": [
                { "resource": self.resource(), "scopeSpans": [{ "scope": scope, "spans": spans }] }
            ] });
            match self.traces.post(traces.to_string().as_bytes()) {
                Ok(()) => refused = None,
                Err(error) if is_refusal(&error) => {}
                Err(error) => return Sent { error: Some(error), ..Sent::default() },
            }
        }
        self.logged = 0;
        Sent {
            taken: messages.len(),
            refused: if refused.is_some() { messages.len() } else { 0 },
            error: refused,
        }
    }
}
