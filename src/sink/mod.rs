//! Hands a build's events on to log systems: GELF for Graylog, OTLP, files of JSON lines.
//!
//! Each place has a queue and a thread of its own. A place that is down or slow holds up nothing and fails nothing: what
//! does not fit into its queue is dropped and counted, and what was dropped is said when the build is over. Knows events
//! and addresses, nothing of how a build is done. `docs/reference/log-systems.md` describes what arrives.

mod gelf;
mod http;
mod lines;
pub mod notify;
#[cfg(feature = "otel")]
mod otlp;
mod queue;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::event::{Event, Sink};
use crate::model::pipeline::Pipeline;
use crate::model::telling::{LogKind, LogPlace};
use crate::sink::queue::Queue;
use crate::time::{Millis, now};

/// How long the end of a build waits for places that are slow, all together.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is the same for all that a build says.
#[derive(Clone, Debug)]
pub struct About {
    /// The name of the project's folder.
    pub project: String,
    /// The machine.
    pub host: String,
    /// By target: its module and the version that it states.
    pub modules: HashMap<String, (String, Option<String>)>,
}

impl About {
    /// What a pipeline says of itself.
    pub fn new(pipeline: &Pipeline) -> Self {
        let project = pipeline.root.file_name().map(|name| name.to_string_lossy().into_owned());
        let modules = pipeline.targets.iter().enumerate().filter_map(|(ix, target)| {
            let of = pipeline.modules_of(crate::model::pipeline::TargetIx(ix));
            // Of a route, which module it was is not known here.
            let [only] = of.as_slice() else { return None };
            let module = pipeline.module(*only);
            Some((target.name.clone(), (module.name.clone(), module.version.clone())))
        });
        About {
            project: project.unwrap_or_default(),
            host: crate::sys::host_name(),
            modules: modules.collect(),
        }
    }
}

/// An event on its way, with what every event has.
#[derive(Debug)]
pub struct Told {
    at: Millis,
    run: Option<u32>,
    event: Event,
}

/// Whoever takes messages to a place. Called on the thread of its queue.
trait Outlet: Send {
    /// Takes these, in order, as far as it can; the rest will be given again.
    fn send(&mut self, messages: &[Arc<Told>]) -> Sent;
}

/// What became of messages.
#[derive(Debug, Default)]
struct Sent {
    /// So many of the first are dealt with.
    taken: usize,
    /// So many of these were refused for good: to give them again would be of no use.
    refused: usize,
    /// What went wrong last.
    error: Option<std::io::Error>,
}

impl Sent {
    /// All of so many messages, or none.
    fn whole(count: usize, result: std::io::Result<()>) -> Self {
        match result {
            Ok(()) => Sent { taken: count, ..Sent::default() },
            Err(error) => Sent { error: Some(error), ..Sent::default() },
        }
    }
}

/// All places, and whoever shows the build here.
pub struct Outlets {
    inner: Box<dyn Sink>,
    places: Vec<(String, Queue)>,
    run: Option<u32>,
    clock: fn() -> Millis,
}

impl Outlets {
    /// Opens nothing yet: each place is reached when there is something to say.
    pub fn new(inner: Box<dyn Sink>, about: &About, places: &[LogPlace]) -> Self {
        let about = Arc::new(about.clone());
        let places = places.iter().map(|place| (place.written.clone(), Queue::start(outlet(place, &about))));
        Outlets { inner, places: places.collect(), run: None, clock: now }
    }

    /// Waits a moment for what is still on its way; what was lost, in words.
    pub fn end(self) -> Vec<String> {
        let began = std::time::Instant::now();
        self.places.iter().for_each(|(_, queue)| queue.close());
        let mut lost = Vec::new();
        for (name, queue) in self.places {
            let end = queue.wait(PATIENCE.saturating_sub(began.elapsed()));
            if end.lost > 0 {
                let all = crate::text::thousands(end.lost + end.sent);
                let why = end.error.map(|error| format!(": {error}")).unwrap_or_default();
                let lost_count = crate::text::thousands(end.lost);
                lost.push(format!("{lost_count} of {all} messages did not reach {name}{why}"));
            }
        }
        lost
    }
}

impl Sink for Outlets {
    fn event(&mut self, event: &Event) {
        if let Event::RunStarted { run } = event {
            self.run = Some(*run);
        }
        if !self.places.is_empty() && is_for_logs(event) {
            let told = Arc::new(Told { at: (self.clock)(), run: self.run, event: event.clone() });
            self.places.iter().for_each(|(_, queue)| queue.push(&told));
        }
        self.inner.event(event);
    }
}

/// What is worth keeping: not how far things are at the moment.
fn is_for_logs(event: &Event) -> bool {
    !matches!(
        event,
        Event::Started { .. }
            | Event::Progress { .. }
            | Event::Counts(_)
            | Event::Watching(_)
            | Event::InHand { .. }
    )
}

fn outlet(place: &LogPlace, about: &Arc<About>) -> Box<dyn Outlet> {
    let about = Arc::clone(about);
    match &place.kind {
        LogKind::GelfUdp { host, port } => {
            Box::new(gelf::Gelf::new(about, transport::Udp::new(host.clone(), *port)))
        }
        LogKind::GelfTcp { host, port } => {
            Box::new(gelf::Gelf::new(about, transport::Tcp::new(host.clone(), *port)))
        }
        LogKind::GelfHttp { host, port, path } => {
            Box::new(gelf::Gelf::new(about, http::Client::new(host.clone(), *port, path.clone())))
        }
        #[cfg(feature = "otel")]
        LogKind::Otlp { host, port, path } => Box::new(otlp::Otlp::new(about, host, *port, path)),
        // The Pipelinefile is refused where it asks for this.
        #[cfg(not(feature = "otel"))]
        LogKind::Otlp { .. } => Box::new(Nowhere),
        LogKind::File { path } => Box::new(lines::File::new(path.clone())),
    }
}

#[cfg(not(feature = "otel"))]
struct Nowhere;

#[cfg(not(feature = "otel"))]
impl Outlet for Nowhere {
    fn send(&mut self, messages: &[Arc<Told>]) -> Sent {
        Sent::whole(messages.len(), Err(std::io::Error::other("this pipe was built without OTLP")))
    }
}
