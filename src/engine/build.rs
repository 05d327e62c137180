//! One build: drives the scheduler with what readers, workers and the store say, until nothing is left to do.
//!
//! One thread; everything that takes time happens elsewhere and comes back as a [`Message`]. Order per action: decide,
//! look up, hand out, record (appended to the log), go on; announce when its group is on disk. Strata one after another
//! (`plan::family`). See `docs/design/engine.md`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::engine::board::OpenBoard;
use crate::engine::bounds::Limits;
use crate::engine::collected::Collected;
use crate::engine::crew::Worker;
use crate::engine::decide::{Deciding, Decision, SideInput, Work};
use crate::engine::document::Document;
use crate::engine::feeds::Feeds;
use crate::engine::groups::Reduced;
use crate::engine::groups::{Found, is_over_members};
use crate::engine::lookup::Lookup;
use crate::engine::matching::{self, Matching};
use crate::engine::outline::Outline;
use crate::engine::publish::{Job, Published, Publisher};
use crate::engine::question::Asked;
use crate::engine::requests::{self, Damaged, Inputs};
use crate::engine::scheduler::{Command, DocIx, Scheduler, Ticket, Verdict, WorkerIx};
use crate::engine::set_work::{SetWork, set_work};
use crate::engine::sharing::{Sharing, without};
use crate::engine::standing::{Again, Standing};
use crate::engine::supply::Supply;
use crate::engine::tally::Tally;
use crate::engine::target::TargetPlan;
use crate::engine::tries::Faults;
use crate::engine::unseen::Unseen;
use crate::engine::{Interrupts, Options, Parts};
use crate::error::{Error, Result};
use crate::hash::{Map, Set};
use crate::model::action::{Extras, Position, State};
use crate::model::document::DocId;
use crate::model::event::{Event, Sink, Stopped, TargetCounts};
use crate::model::pipeline::{Pipeline, TargetIx};
use crate::module::Report;
use crate::plan::family::{Families, FamilyIx, Input, Origin};
use crate::scan::{ReadOutcome, Reader};
use crate::store::Store;

/// What comes back to the build's thread.
pub(super) enum Message {
    /// A source file was read for an open document.
    Read(Vec<((DocIx, u32), ReadOutcome)>),
    /// A worker says something.
    Reports(WorkerIx, Vec<Report>),
    /// Everything below this position is on disk.
    Synced(Position),
    /// The store cannot be written.
    StoreFailed(Error),
}

/// How long what is in hand may take after the first request to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How often signals, limits and the display are looked at.
const TICK: Duration = Duration::from_millis(100);

/// An open document with what the build does for it.
pub(super) struct Open {
    pub(super) document: Document,
    /// By step: what must run.
    pub(super) work: Vec<Option<Work>>,
    /// Counts readings, so that one from before a restart is ignored.
    pub(super) reading: u32,
    /// Of a child: those that it came with.
    pub(super) feed: Option<u64>,
    /// Of a group: its members.
    pub(super) group: Option<Box<Found>>,
}

/// A request that is with a worker.
pub(super) struct InHand {
    pub(super) ticket: Ticket,
    pub(super) target: TargetIx,
    pub(super) extras: Extras,
    pub(super) since: Instant,
    pub(super) said_slow: bool,
    /// Of a document that is split: what came so far.
    pub(super) children: Collected,
}

/// A build under way.
pub(super) struct Build<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) store: &'a Arc<Store>,
    pub(super) families: &'a Families,
    pub(super) parts: &'a Parts<'a>,
    pub(super) options: &'a Options,
    pub(super) outline: &'a mut Outline,
    pub(super) sink: &'a mut dyn Sink,
    pub(super) interrupts: &'a Interrupts,
    pub(super) scheduler: Scheduler,
    pub(super) open: Vec<Option<Open>>,
    pub(super) plans: Vec<Option<TargetPlan>>,
    pub(super) lookup: Lookup,
    pub(super) inputs: Inputs,
    pub(super) workers: Vec<Option<Worker>>,
    pub(super) standing: &'a mut Standing,
    /// With a shared cache.
    pub(super) sharing: Option<Sharing>,
    /// What the next build must look at again.
    pub(super) again: Again,
    /// Of a build that looks only at what changed: documents of sources that were closed here, by family, directory and
    /// name. They are all that later strata have to look at.
    pub(super) closed: Option<BTreeSet<(FamilyIx, Arc<str>, String)>>,
    /// What each worker had loaded, as recorded.
    pub(super) loads: Vec<Option<Position>>,
    pub(super) in_hand: Map<u64, InHand>,
    pub(super) reader: Reader,
    pub(super) inbox: Receiver<Message>,
    pub(super) outbox: Sender<Message>,
    /// What is said when its frame is on disk, in order.
    pub(super) announcements: VecDeque<(Position, Announcement)>,
    pub(super) publisher: Publisher,
    pub(super) tally: Tally,
    pub(super) stopped: Option<Stopped>,
    pub(super) stopping_since: Option<Instant>,
    pub(super) definitions: Map<DefinitionKey, Position>,
    /// Every definition that entries of this build have.
    pub(super) used_definitions: Set<Position>,
    /// Load sets were learned while documents went through.
    pub(super) has_learned: bool,
    pub(super) mark: u64,
    /// Results that are no longer those of their keys.
    pub(super) replaced: HashSet<Position>,
    /// Targets of which it was said that they are not reproducible.
    pub(super) said_otherwise: HashSet<TargetIx>,
    pub(super) faults: Faults,
    pub(super) limits: Limits,
    pub(super) asked: Asked,
    pub(super) board: OpenBoard<'a>,
    pub(super) readings: u32,
    unseen: Unseen,
    /// Results that lack a field of their target's template: the first, and how many.
    pub(super) nameless: BTreeMap<TargetIx, (DocId, u64)>,
    pub(super) feeds: Feeds,
    /// Families with groups that are not settled.
    pub(super) unsettled_groups: HashSet<FamilyIx>,
    /// Families whose groups were looked at.
    pub(super) looked_at: HashSet<FamilyIx>,
    /// What trees of merges came to.
    pub(super) reduced: HashMap<TargetIx, Reduced>,
    /// Sources to be read, until the next wait.
    pub(super) to_read: Vec<((DocIx, u32), Arc<crate::scan::Roots>, String)>,
    pub(super) said_starting: HashSet<(TargetIx, usize)>,
    replanned: HashSet<usize>,
    last_counts: Instant,
}

/// What many stories share: (family, stratum, the definition before, which targets stay open).
pub(super) type DefinitionKey = (FamilyIx, usize, Option<Position>, Vec<bool>);

/// What a build leaves behind beside what is in the store.
pub(super) struct Finished {
    /// By target.
    pub counts: Vec<TargetCounts>,
    /// Documents of sources that went as far as their first stratum lets them.
    pub through: u64,
    /// Why it did not come to its end, if so.
    pub stopped: Option<Stopped>,
    /// What became of publishing.
    pub published: Published,
    /// Results that were taken from the shared cache.
    pub taken: u64,
    /// What the next build must look at again.
    pub again: Again,
    /// What ran, by target, and what was counted.
    pub ran: Vec<(crate::engine::tally::Ran, std::collections::BTreeMap<String, f64>)>,
}

/// Something that waits for its frame to be on disk.
pub(super) enum Announcement {
    Event(Box<Event>),
    Publish(Box<Job>),
    /// To whoever shares the cache: the document's id.
    Give(String),
}

impl<'a> Build<'a> {
    /// A build that has opened nothing yet.
    pub(super) fn new(
        parts: &'a Parts<'a>,
        families: &'a Families,
        options: &'a Options,
        outline: &'a mut Outline,
        sink: &'a mut dyn Sink,
        interrupts: &'a Interrupts,
        standing: &'a mut Standing,
    ) -> Result<Self> {
        let (outbox, inbox) = channel();
        let pipeline = parts.pipeline;
        let (limits, rates) = crate::engine::lanes::limits(pipeline, options.jobs);
        let synced = outbox.clone();
        parts.store.on_sync(Box::new(move |result| {
            // The build may have ended; then nobody waits for this.
            drop(synced.send(match result {
                Ok(position) => Message::Synced(position),
                Err(error) => Message::StoreFailed(error),
            }));
        }));
        let sharing = parts.cache.as_ref().and_then(|folder| {
            let started = Sharing::start(folder, parts.store, &pipeline.root);
            started.map_err(|error| sink.event(&without(&error))).ok()
        });
        Ok(Build {
            pipeline,
            store: parts.store,
            families,
            parts,
            options,
            outline,
            sink,
            interrupts,
            scheduler: Scheduler::with_routes(families, &limits, options.jobs),
            open: Vec::new(),
            plans: vec![None; pipeline.targets.len()],
            lookup: Lookup::new(crate::engine::loads::PresentCode::new(&parts.sites)),
            inputs: Inputs::new(parts.store)?,
            workers: Vec::new(),
            standing,
            sharing,
            again: Again::default(),
            closed: None,
            loads: Vec::new(),
            in_hand: Map::default(),
            reader: Reader::new(parts.store.salt())?,
            inbox,
            outbox,
            announcements: VecDeque::new(),
            publisher: Publisher::start(Arc::clone(parts.store), &pipeline.root)?,
            tally: Tally::new(pipeline),
            stopped: None,
            stopping_since: None,
            definitions: Map::default(),
            used_definitions: Set::default(),
            has_learned: false,
            mark: parts.store.newest_mark(),
            replaced: HashSet::new(),
            said_otherwise: HashSet::new(),
            faults: Faults::default(),
            limits: Limits { rates, ..Limits::default() },
            asked: Asked::default(),
            board: interrupts.board.open(),
            readings: 0,
            nameless: BTreeMap::new(),
            unseen: Unseen::new(pipeline, &options.wanted, parts.store)?,
            feeds: Feeds::default(),
            unsettled_groups: HashSet::new(),
            looked_at: HashSet::new(),
            reduced: HashMap::new(),
            to_read: Vec::new(),
            said_starting: HashSet::new(),
            replanned: HashSet::new(),
            last_counts: Instant::now(),
        })
    }

    /// Does everything of one stratum. Before: [`Build::plan_stratum`].
    pub(super) fn stratum(&mut self, stratum: usize, supply: &mut Supply<'_>) -> Result<()> {
        let most = (128 * self.options.jobs).max(512);
        // Opened in bursts: one at a time would wake a reader for each.
        let few = most - most / 8;
        let mut more = true;
        loop {
            // Those that wait for their children do not count.
            let open = |build: &Self| build.scheduler.open_documents().saturating_sub(build.feeds.waiting());
            while self.feed(stratum, open(self) < most)? {
                self.commands()?;
            }
            let is_time = open(self) <= few;
            while is_time && more && open(self) < most && !self.scheduler.is_stopping() {
                match supply.next(self.store)? {
                    Some(unopened) => self.open_document(stratum, unopened)?,
                    None => more = false,
                }
                self.commands()?;
                while self.feed(stratum, open(self) < most)? {
                    self.commands()?;
                }
            }
            self.try_again();
            self.commands()?;
            if self.can_feed(open(self) < most || self.scheduler.is_stopping()) {
                continue;
            }
            if self.scheduler.open_documents() == 0 && (!more || self.scheduler.is_stopping()) {
                return Ok(());
            }
            self.read_sources();
            self.store.hurry(self.scheduler.running() == 0);
            self.wait(self.idle(TICK))?;
        }
    }

    /// What is known beside documents.
    pub(super) fn outline(&self) -> &Outline {
        self.outline
    }

    /// Whether nothing more is to be begun.
    pub(super) fn stopped_for_good(&self) -> bool {
        self.scheduler.is_stopping()
    }

    /// Whether a target of this stratum, or of one before it, is another than was predicted before anything ran.
    pub(super) fn replanned(&self, stratum: usize) -> bool {
        self.replanned.iter().any(|planned| *planned <= stratum)
    }

    /// Results that other documents still name, though their keys have others by now.
    pub(super) fn take_replaced(&mut self) -> HashSet<Position> {
        std::mem::take(&mut self.replaced)
    }

    /// Asks the publisher for something.
    pub(super) fn publish(&self, job: Job) {
        self.publisher.ask(job);
    }

    /// Ends the build.
    pub(super) fn finish(self) -> Finished {
        if self.stopped.is_none() && !self.options.is_partial() {
            self.unseen.notices(self.pipeline).iter().for_each(|notice| self.sink.event(notice));
        }
        for (target, (first, results)) in &self.nameless {
            let name = &self.pipeline.target(*target).name;
            let (results, lack) = match results {
                1 => (format!("the result of {first}"), "lacks"),
                n => (format!("{} results, that of {first} among them,", crate::text::thousands(*n)), "lack"),
            };
            let message = format!("{name}: {results} {lack} a field that `publish` names: shown nowhere");
            let hint = Some(format!("pipe why {}", crate::text::shell_word(first.as_str())));
            self.sink.event(&Event::Notice { message, hint });
        }
        let stopped = self.stopped.clone().or_else(|| self.closed_too_early());
        let counts = self.tally.counts(|_| 0);
        let ran = self.tally.all_ran();
        let published = self.publisher.finish();
        let was_ended = matches!(stopped, Some(Stopped::Signal { .. }));
        let (taken, notices) = self.sharing.map(|sharing| sharing.finish(was_ended)).unwrap_or_default();
        notices.iter().for_each(|notice| self.sink.event(notice));
        let (through, again) = (self.tally.through, self.again);
        Finished { counts, through, stopped, published, taken, again, ran }
    }

    /// So many documents differ from what was built.
    pub(super) fn expect_in_all(&mut self, documents: u64) {
        self.tally.to_do = documents;
        self.open_purses();
    }

    /// What the plan line said of a target.
    pub(super) fn expect(&mut self, target: TargetIx, actions: u64) {
        self.tally.plan(target, actions);
    }

    /// No more documents come to the targets of a stratum.
    pub(super) fn all_came(&mut self, stratum: usize) {
        for (ix, of) in self.families.strata.iter().enumerate() {
            if *of == stratum {
                self.tally.all_came(TargetIx(ix));
            }
        }
    }

    /// Plans the targets of a stratum with what is known now.
    pub(super) fn plan_stratum(&mut self, stratum: usize) -> Result<()> {
        for ix in 0..self.pipeline.targets.len() {
            if self.families.strata[ix] == stratum && self.options.wanted.contains(&TargetIx(ix)) {
                let predicted = self.outline.definition(TargetIx(ix));
                let (present, inputs) = (&mut self.lookup.present, &mut self.inputs);
                let mut plan = self.outline.plan(self.parts, self.families, TargetIx(ix), present, inputs)?;
                if self.options.update.contains(&TargetIx(ix)) {
                    plan.hold = None;
                }
                if predicted != Some(plan.definition) {
                    self.replanned.insert(stratum);
                }
                self.plans[ix] = Some(plan);
            }
        }
        self.definitions.clear();
        Ok(())
    }

    /// Takes what came, waiting at most so long for the first.
    fn wait(&mut self, limit: Duration) -> Result<()> {
        match self.inbox.recv_timeout(limit) {
            Ok(message) => {
                self.message(message)?;
                for _ in 0..256 {
                    let Ok(message) = self.inbox.try_recv() else { break };
                    self.message(message)?;
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if self.last_counts.elapsed() >= TICK {
            self.last_counts = Instant::now();
            self.tick();
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.look_at_interrupts();
        for (doc, target, seconds) in self.newly_slow() {
            if let Some(open) = self.open[doc.0 as usize].as_ref() {
                let doc = open.document.id.to_string();
                self.sink.event(&Event::Slow {
                    doc,
                    target: self.pipeline.target(target).name.clone(),
                    seconds,
                });
            }
        }
        let counts = self.tally.counts(|target| self.scheduler.running_of(target));
        self.sink.event(&Event::Counts(counts));
        self.look_at_questions();
    }

    fn look_at_interrupts(&mut self) {
        let Some((signal, count)) = self.interrupts.seen() else { return };
        if self.stopping_since.is_none() {
            self.stop(Stopped::Signal { signal });
            self.sink.event(&Event::Stopping { in_hand: self.in_hand.len() });
        }
        let over = self.stopping_since.is_some_and(|since| since.elapsed() >= GRACE);
        if over || count > 1 {
            self.give_up();
        }
    }

    /// Hands out nothing new; the first reason stays.
    pub(super) fn stop(&mut self, why: Stopped) {
        self.stopped.get_or_insert(why);
        self.stopping_since.get_or_insert_with(Instant::now);
        self.scheduler.stop();
    }

    fn give_up(&mut self) {
        for worker in self.workers.iter().flatten() {
            worker.kill();
        }
        self.in_hand.clear();
        self.reader.stop();
        self.scheduler.give_up();
    }

    fn message(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Read(outcomes) => outcomes
                .into_iter()
                .try_for_each(|((doc, reading), outcome)| self.source_read(doc, reading, outcome)),
            Message::Reports(worker, reports) => {
                for report in reports {
                    self.report(worker, report)?;
                }
                self.commands()
            }
            Message::Synced(position) => {
                self.announce(position);
                Ok(())
            }
            Message::StoreFailed(error) => Err(store_failed(error)),
        }
    }

    /// Says and publishes what is on disk now.
    fn announce(&mut self, synced: Position) {
        while let Some((at, _)) = self.announcements.front()
            && *at < synced
            && let Some((at, announcement)) = self.announcements.pop_front()
        {
            match announcement {
                Announcement::Event(event) => self.sink.event(&event),
                Announcement::Publish(job) => self.publisher.ask(*job),
                Announcement::Give(doc) => {
                    self.sharing.iter().for_each(|sharing| sharing.give(at, doc.clone()));
                }
            }
        }
    }

    /// Queues something until its frame is on disk.
    pub(super) fn announce_at(&mut self, at: Position, announcement: Announcement) {
        self.announcements.push_back((at, announcement));
    }

    /// Does all that the scheduler asks for.
    pub(super) fn commands(&mut self) -> Result<()> {
        while let Some(command) = self.scheduler.next_command() {
            match command {
                Command::Decide(ticket) => self.decide(ticket)?,
                Command::Start(worker, target) => self.start_worker(worker, target)?,
                Command::Send(worker, tickets) => self.send(worker, &tickets)?,
                Command::End(worker) => self.end_worker(worker),
                Command::Children(ticket) => self.children(ticket),
                Command::Close(doc) => self.close(doc)?,
            }
        }
        Ok(())
    }

    fn decide(&mut self, ticket: Ticket) -> Result<()> {
        let Some(open) = self.open[ticket.doc.0 as usize].as_ref() else { return Ok(()) };
        let family = self.families.family(open.document.family);
        let target = family.steps[ticket.step].target;
        let Some(plan) = self.plans[target.0].as_mut() else { return Ok(()) };
        if !plan.values.is_empty() {
            let only = self.options.sample_filter();
            matching::load(self.parts, self.families, plan, only.as_ref())?;
        }
        let Some(plan) = self.plans[target.0].as_ref() else { return Ok(()) };
        let is_decided = open.document.results[ticket.step].is_some();
        let over_members = !is_decided && is_over_members(self.pipeline, target);
        let members = match over_members {
            true if family.is_set() && self.reduced.contains_key(&target) => {
                let result = self.reduced.get(&target).map(|reduced| Box::new(reduced.result.clone()));
                result.map(SetWork::Settled)
            }
            true if family.is_set() => {
                Some(set_work(self.parts, self.families, self.options, plan, self.outline)?)
            }
            true => Some(self.group_work(ticket.doc, ticket.step, plan)?),
            false => None,
        };
        let Some(open) = self.open[ticket.doc.0 as usize].as_mut() else { return Ok(()) };
        // A child by the split that made it, and what cannot be read, are decided before.
        if let Some(given) = open.document.results[ticket.step].as_ref() {
            let state = given.state;
            if !(ticket.step == 0 && family.is_children()) {
                self.tally.settled(target, state, false);
            }
            self.scheduler.decided(ticket, Verdict::Settled(state));
            return Ok(());
        }
        if let Some(reduced) = self.reduced.get(&target).filter(|_| family.is_set() && ticket.step == 0) {
            open.document.digest = reduced.root.or(open.document.digest);
        }
        let decision = if let Some(members) = members {
            match members {
                SetWork::Settled(result) => Decision::Settled(result),
                SetWork::Members(mut work) => {
                    let matching = Matching { parts: self.parts, families: self.families };
                    let found = matching.of_document(plan, &open.document, ticket.step)?;
                    let mut deciding = Deciding {
                        pipeline: self.pipeline,
                        family,
                        store: self.store,
                        lookup: &mut self.lookup,
                    };
                    let taken = deciding.take_sides(plan, &open.document, ticket.step, &found, &mut work);
                    if family.head().is_some() || family.is_merges() {
                        open.document.digest = work.inputs.first().and_then(|input| input.digest);
                    }
                    let note = work.note.clone();
                    let mut decision = match taken {
                        Ok(()) => {
                            deciding.answer(plan, &open.document, self.pipeline.target(target), *work)?
                        }
                        Err(settled) => Decision::Settled(settled),
                    };
                    if let Decision::Settled(result) = &mut decision
                        && result.note.is_empty()
                    {
                        result.note = note;
                    }
                    decision
                }
            }
        } else {
            let name = &self.pipeline.target(target).name;
            self.unseen.note(self.store, (target, name), &open.document, family, ticket.step)?;
            let matching = Matching { parts: self.parts, families: self.families };
            let found = matching.of_document(plan, &open.document, ticket.step)?;
            let mut deciding =
                Deciding { pipeline: self.pipeline, family, store: self.store, lookup: &mut self.lookup };
            deciding.decide(plan, &open.document, ticket.step, &found)?
        };
        let decision = match decision {
            Decision::Run(work) => match self.taken(ticket, target, &work)? {
                Some(result) => Decision::Settled(Box::new(result)),
                None => Decision::Run(work),
            },
            settled @ Decision::Settled(_) => settled,
        };
        let (Some(open), Some(plan)) =
            (self.open[ticket.doc.0 as usize].as_mut(), self.plans[target.0].as_ref())
        else {
            return Ok(());
        };
        match decision {
            Decision::Settled(result) => {
                let state = result.state;
                self.tally.settled(target, state, false);
                open.document.results[ticket.step] = Some(*result);
                self.scheduler.decided(ticket, Verdict::Settled(state));
            }
            Decision::Run(work) => {
                let verdict = Verdict::Routed(work.key, work.call);
                let passes = plan.call(work.call).module.is_none();
                open.work[ticket.step] = Some(*work);
                let verdict = if passes { Verdict::Settled(self.pass_on(ticket, target)?) } else { verdict };
                self.scheduler.decided(ticket, verdict);
            }
        }
        Ok(())
    }

    /// A stored result cannot be read: it is set aside for good, and its document is decided anew.
    pub(super) fn damaged(&mut self, worker: WorkerIx, ticket: Ticket, damaged: &Damaged) -> Result<()> {
        if damaged.0 != Position(0) {
            self.store.mark_bad(damaged.0)?;
            let message =
                "a stored result was damaged; it is kept in .pipe/quarantine and made again".to_owned();
            self.sink.event(&Event::Notice { message, hint: Some("pipe doctor".to_owned()) });
        }
        self.scheduler.answered(worker, ticket, State::Unfinished, 0);
        self.decide_anew(self.owner_of(ticket.doc, damaged.0));
        Ok(())
    }

    /// The open document that has this record: the given one, or one that it was split from.
    fn owner_of(&self, doc: DocIx, record: Position) -> DocIx {
        let mut at = Some(doc);
        while let Some(ix) = at {
            let Some(open) = self.open[ix.0 as usize].as_ref() else { break };
            if open.document.results.iter().flatten().any(|result| result.act == Some(record)) {
                return ix;
            }
            at = self.parent_of(open);
        }
        doc
    }

    /// The open document that a child was split from, at any depth; others are their own.
    pub(super) fn root_of(&self, doc: DocIx) -> DocIx {
        let mut root = doc;
        while let Some(parent) = self.open[root.0 as usize].as_ref().and_then(|open| self.parent_of(open)) {
            root = parent;
        }
        root
    }

    fn parent_of(&self, open: &Open) -> Option<DocIx> {
        Some(self.feeds.list.get(&open.feed?)?.ticket.doc)
    }

    /// Decides all that is decided of a document in this stratum once more, a few times at most.
    pub(super) fn decide_anew(&mut self, doc: DocIx) {
        let Some(open) = self.open[doc.0 as usize].as_mut() else { return };
        open.document.restarts += 1;
        if open.document.restarts > 3 {
            return;
        }
        self.scheduler.restart(doc);
        let stratum = open.document.stratum;
        let family = self.families.family(open.document.family);
        for step in usize::from(family.is_children())..family.steps.len() {
            if family.steps[step].stratum == stratum {
                open.document.results[step] = None;
                open.work[step] = None;
            }
        }
        self.scheduler.ready(doc);
    }

    /// Waits until all that was appended is on disk and said.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.store.flush().map_err(store_failed)?;
        self.announce(Position(u64::MAX));
        Ok(())
    }

    /// Entries that were written before all of a module's code was known get the definition that is known now: their
    /// records hold under it as well, or they would not have answered.
    pub(super) fn redefine(&mut self) -> Result<()> {
        if !self.has_learned {
            return Ok(());
        }
        let mut new = HashMap::new();
        for at in &self.used_definitions {
            let Some(old) = self.store.definition(*at)? else { continue };
            let mut definition = (*old).clone();
            for defined in definition.targets.iter_mut().filter(|defined| defined.digest.is_some()) {
                if let Some(ix) = self.pipeline.find_target(&defined.name) {
                    defined.digest = self.outline.definition(ix);
                }
            }
            if definition != *old {
                new.insert(*at, self.store.intern_definition(&definition)?);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        for family in &self.families.list {
            self.store.redefine(&family.name, &new)?;
        }
        self.settle()
    }

    /// Says who had no match, on both sides, in the targets of a stratum that looked for any.
    pub(super) fn say_matched(&mut self, stratum: usize) -> Result<()> {
        if self.options.is_partial() || self.scheduler.is_stopping() {
            return Ok(());
        }
        for ix in 0..self.pipeline.targets.len() {
            let Some(plan) = self.plans[ix].as_ref().filter(|_| self.families.strata[ix] == stratum) else {
                continue;
            };
            if plan.values.iter().all(|value| value.table.is_none()) {
                continue;
            }
            let met = matching::met(self.parts, self.families, plan)?;
            matching::remember(self.parts, &self.pipeline.targets[ix].name, &met)?;
            met.into_iter().for_each(|met| self.sink.event(&Event::Matched(met)));
        }
        Ok(())
    }

    /// Where a step's input comes from, for callers that look at one document.
    pub(super) fn reads_source(&self, document: &Document, work: &Work) -> bool {
        let family = self.families.family(document.family);
        let is_source = |input: Input| requests::origin(family, document, input) == Input::Origin;
        matches!(family.origin, Origin::Source(_))
            && (is_source(work.main)
                || work
                    .with
                    .iter()
                    .any(|(_, side)| matches!(side, SideInput::Own(input) if is_source(*input))))
    }
}

pub(super) fn store_failed(error: Error) -> Error {
    error.context("the store cannot be written; nothing that was not on disk was reported as done")
}
