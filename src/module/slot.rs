//! A slot: a place where a program runs, with the thread that minds it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::{Error, Result, io_text};
use crate::module::children::Unheard;
use crate::module::host::Host;
use crate::module::launch::{Launch, Request};
use crate::module::log::Grown;
use crate::module::minder::{Command, Minder, Queue};
use crate::module::report::Report;
use crate::module::secrets::Secrets;
use crate::module::{filter, worker};
use crate::time::Millis;

/// A place where one program runs for one document after the other. Dropping it ends what runs.
#[derive(Debug)]
pub struct Slot {
    number: u32,
    queue: Arc<Queue>,
    grown: Grown,
    thread: Option<JoinHandle<()>>,
}

impl Slot {
    /// Begins a slot; its process starts with the first request. `number` is the worker's in its run, given once;
    /// `deliver` is called on the slot's own thread with one batch after the other, the last ends with
    /// [`Report::Ended`].
    pub fn start(
        host: Arc<Host>,
        number: u32,
        launch: Arc<Launch>,
        deliver: impl Fn(Vec<Report>) + Send + 'static,
    ) -> Result<Self> {
        let refused = |error: std::io::Error| {
            Error::unfinished("cannot begin a slot for a module").caused_by(io_text(&error))
        };
        let queue = Arc::new(Queue::new().map_err(refused)?);
        let grown = Grown::default();
        let mut minder = Minder {
            host,
            number,
            queue: Arc::clone(&queue),
            deliver: Box::new(deliver),
            reports: Vec::new(),
            waiting: VecDeque::new(),
            finishing: false,
            restart: false,
            read_again: 0,
            killed: false,
            tell_stack: false,
            channel: None,
            unheard: Unheard::default(),
            memory_kills: None,
            grown: grown.clone(),
            last_exit: None,
            scratch: launch.tmp.join(number.to_string()),
            secrets: Secrets::of(&launch.secrets),
            launch,
        };
        let thread = std::thread::Builder::new()
            .name(format!("minder-{number}"))
            .spawn(move || {
                let in_hand = if minder.launch.program.is_filter() {
                    filter::serve(&mut minder)
                } else {
                    worker::serve(&mut minder)
                };
                minder.end(in_hand);
            })
            .map_err(refused)?;
        Ok(Slot { number, queue, grown, thread: Some(thread) })
    }

    /// The worker's number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Hands over documents. A worker gets as many at a time as its window takes, the rest waits here.
    pub fn send(&self, requests: Vec<Request>) {
        self.queue.push(Command::Send(requests));
    }

    /// Wants a fresh process, once nothing is in hand; what has not been handed out yet goes to it.
    pub fn restart(&self) {
        self.queue.push(Command::Restart);
    }

    /// Says that nothing more will come: what was sent is still done, then the process ends.
    pub fn finish(&self) {
        self.queue.push(Command::Finish);
    }

    /// Asks where the process stands: told by [`Report::Stack`], with nothing if it has nothing in hand. Only for workers
    /// that take SIGUSR1 for this question, as Python's do: others die of it.
    pub fn tell_stack(&self) {
        self.queue.push(Command::TellStack);
    }

    /// Ends the process at once; what was not answered comes back with [`Report::Ended`].
    pub fn kill(&self) {
        self.queue.push(Command::Kill);
    }

    /// When its log was how long, as far as documents are not answered.
    pub fn log_times(&self) -> Vec<(u64, Millis)> {
        self.grown.known()
    }

    /// Waits until the slot has said its last word. Before: [`Slot::finish`] or [`Slot::kill`].
    pub fn join(mut self) {
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the panic hook.
            drop(thread.join());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.kill();
            self.wait();
        }
    }
}
