//! Workers of a build, and what they are handed. Knows nothing of their answers.

use crate::engine::build::{Build, InHand, Message};
use crate::engine::cards;
use crate::engine::collected::Collected;
use crate::engine::crew::Worker;
use crate::engine::decide::Deciding;
use crate::engine::groups::is_over_members;
use crate::engine::requests::{self, Damaged};
use crate::engine::scheduler::{Ticket, WorkerIx};
use crate::error::Result;
use crate::model::action::{Extras, KeyInput, Position};
use crate::model::event::Event;
use crate::model::pipeline::TargetIx;
use std::time::Instant;

impl Build<'_> {
    pub(super) fn start_worker(&mut self, worker: WorkerIx, target: TargetIx) -> Result<()> {
        let Some(plan) = self.plans[target.0].as_ref() else { return Ok(()) };
        let call = self.scheduler.module_of(worker);
        let plan = plan.call(call);
        let first = self.said_starting.insert((target, call));
        let mut launch = self.parts.launch(plan, worker.0)?;
        launch.at_once = self.scheduler.at_once(worker);
        if let Some(card) = self.scheduler.card_of(worker) {
            let env = launch.env.iter().cloned().collect();
            launch.env.retain(|(name, _)| name != cards::VARIABLE);
            launch.env.push((cards::VARIABLE.to_owned(), cards::name(&env, card)));
            self.standing.crew.leave_card(&launch);
        }
        let outbox = self.outbox.clone();
        let deliver = move |reports| {
            // The build may have ended; then nobody waits for this.
            drop(outbox.send(Message::Reports(worker, reports)));
        };
        let ix = worker.0 as usize;
        self.workers.resize_with(self.workers.len().max(ix + 1), || None);
        self.loads.resize(self.loads.len().max(ix + 1), None);
        let name = &self.pipeline.target(target).name;
        let (store, present) = (self.store, &mut self.lookup.present);
        let mut holds = |at| match store.loads(at) {
            Ok(Some(loads)) => present.holds(at, &loads, &mut store.code_cache()),
            _ => false,
        };
        let recipe = plan.recipe_digest;
        let module = plan.module;
        let crew = &mut self.standing.crew;
        if let Some((known, loads)) = crew.hire(name, &recipe, &launch, &mut holds, Box::new(deliver.clone()))
        {
            self.workers[ix] = Some(known);
            self.loads[ix] = Some(loads);
            return Ok(());
        }
        self.workers[ix] = Some(crew.start(&self.parts.host, name, recipe, launch, Box::new(deliver))?);
        if first && let Some(module) = module {
            let target = self.pipeline.target(target);
            let module = self.pipeline.module(module).name.clone();
            self.sink.event(&Event::Starting { target: target.name.clone(), module });
        }
        Ok(())
    }

    /// Ends a worker whose card another target needs; it says when it is gone.
    pub(super) fn end_worker(&mut self, worker: WorkerIx) {
        match self.workers[worker.0 as usize].as_ref() {
            Some(worker) => worker.finish(),
            None => self.scheduler.ended(worker),
        }
    }

    pub(super) fn send(&mut self, worker: WorkerIx, tickets: &[Ticket]) -> Result<()> {
        let mut batch = Vec::with_capacity(tickets.len());
        let is_fresh = tickets.iter().any(|ticket| self.faults.fresh.remove(ticket));
        let target = self.scheduler.target_of(worker);
        for ticket in tickets {
            self.standing.requests += 1;
            let number = self.standing.requests;
            match self.request(*ticket, target, number)? {
                Ok(request) => {
                    batch.push(request);
                    let request = InHand {
                        ticket: *ticket,
                        target,
                        extras: Extras::default(),
                        since: Instant::now(),
                        said_slow: false,
                        children: Collected::default(),
                    };
                    self.in_hand.insert(number, request);
                    self.say_started(*ticket, target);
                }
                Err(damaged) => self.damaged(worker, *ticket, &damaged)?,
            }
        }
        if let Some(worker) = self.workers[worker.0 as usize].as_ref()
            && !batch.is_empty()
        {
            if is_fresh {
                worker.restart();
            }
            worker.send(batch);
        }
        Ok(())
    }

    pub(super) fn say_started(&mut self, ticket: Ticket, target: TargetIx) {
        if let Some(open) = self.open[ticket.doc.0 as usize].as_ref() {
            let doc = open.document.id.to_string();
            self.sink.event(&Event::Started { doc, target: self.pipeline.target(target).name.clone() });
        }
    }

    pub(super) fn request(
        &mut self,
        ticket: Ticket,
        target: TargetIx,
        number: u64,
    ) -> Result<requests::Made<crate::module::Request>> {
        let (Some(open), Some(plan)) =
            (self.open[ticket.doc.0 as usize].as_ref(), self.plans[target.0].as_ref())
        else {
            return Ok(Err(Damaged(Position(0))));
        };
        let Some(work) = &open.work[ticket.step] else { return Ok(Err(Damaged(Position(0)))) };
        let family = self.families.family(open.document.family);
        if is_over_members(self.pipeline, target) {
            let members = work.inputs.first().map_or(0, members_of);
            return self.group_request(ticket.doc, ticket.step, members, number);
        }
        let deciding =
            Deciding { pipeline: self.pipeline, family, store: self.store, lookup: &mut self.lookup };
        requests::request(&deciding, &mut self.inputs, plan, &open.document, work, number)
    }

    /// Ends the workers of a stratum: none of its targets comes again. Those in hand are ended at once; those that the
    /// next build of this process would start again stay.
    pub(super) fn end_workers(&mut self) {
        let mut leaving = Vec::new();
        for (ix, worker) in std::mem::take(&mut self.workers).into_iter().enumerate() {
            let Some(worker) = worker else { continue };
            if self.scheduler.is_stopping() {
                worker.kill();
            } else if let Some(loads) = self.loads[ix]
                && self.standing.keeps
                && worker.can_stay()
            {
                self.standing.crew.keep(worker, loads);
                continue;
            } else {
                worker.finish();
            }
            leaving.push(worker);
        }
        leaving.into_iter().for_each(Worker::join);
        self.scheduler.workers_ended();
    }
}

fn members_of(input: &KeyInput) -> u64 {
    let facts: Option<serde_json::Value> = serde_json::from_str(&input.facts).ok();
    facts.and_then(|facts| facts.get("members")?.as_u64()).unwrap_or(0)
}
