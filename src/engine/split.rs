//! A document that is being split: its children are recorded as they come, and listed for the answer.
//!
//! Nothing counts before the answer: a child's record is found by what the list says of it, and without a list nobody
//! asks. Knows nothing of what becomes of the children.

use crate::engine::answers::Made;
use crate::engine::build::{Announcement, Build, InHand};
use crate::engine::scheduler::WorkerIx;
use crate::error::Result;
use crate::model::action::{Act, Outcome, Output, Place};
use crate::model::children::{self, Child, key_inputs};
use crate::model::failure::{Failure, FailureKind};
use crate::module::{Done, Output as Sent, OutputBody};
use crate::plan::key::action_key;
use crate::store::Store;

impl Build<'_> {
    /// A part of a document that is split.
    pub(super) fn child(&mut self, worker: WorkerIx, request: u64, name: &str, sent: Sent) -> Result<()> {
        let Some(in_hand) = self.in_hand.get_mut(&request) else { return Ok(()) };
        let (ticket, target) = (in_hand.ticket, in_hand.target);
        if !self.scheduler.is_current(ticket) || !in_hand.children.accepts(name) {
            return Ok(());
        }
        let (Some(open), Some(plan)) =
            (self.open[ticket.doc.0 as usize].as_ref(), self.plans[target.0].as_mut())
        else {
            return Ok(());
        };
        let Some(work) = &open.work[ticket.step] else { return Ok(()) };
        let recipe = match plan.recipe_at {
            Some(at) => at,
            None => *plan.recipe_at.insert(self.store.intern_recipe(&plan.recipe)?),
        };
        let (output, bytes) = keep(self.store, sent)?;
        let child = Child::new(name, &output);
        let inputs = key_inputs(&work.inputs, name);
        let act = Act {
            key: action_key(&plan.recipe_digest, &inputs).0.prefix(),
            run: self.store.run(),
            recipe,
            loads: self.loads[worker.0 as usize],
            doc: open.document.number,
            mark: self.mark,
            inputs,
            outcome: Outcome::Output(output),
            start: crate::time::now(),
            duration: 0,
            worker: worker.0,
            attempt: 1,
            log: None,
            extras: String::new(),
        };
        let (at, _) = self.store.add_act(act, bytes.as_deref())?;
        children::add(&mut in_hand.children.list, &child);
        if self.sharing.is_some() {
            let doc = open.document.id.child(name).to_string();
            self.announce_at(at, Announcement::Give(doc));
        }
        Ok(())
    }

    /// What is to be recorded of an answer: of a split the list of its children.
    pub(super) fn made(&self, request: &mut InHand, done: Done) -> Result<Made> {
        let target = self.pipeline.target(request.target);
        let refuse = |kind, error: &str, message: &str| Ok(Err(Failure::new(kind, error, message)));
        match done {
            Done::Output(Sent { body: OutputBody::Children(_), .. }) if !target.split => {
                refuse(FailureKind::BadReply, "bad reply", "children, and the target has no `split = true`")
            }
            Done::Output(Sent { body: OutputBody::Children(_), .. }) => {
                let collected = std::mem::take(&mut request.children);
                if let Some(refused) = collected.refused {
                    return Ok(Err(refused));
                }
                let (digest, length) =
                    (crate::hash::Digest::of(&collected.list), collected.list.len() as u64);
                let ext = children::EXT.to_owned();
                let output = Output { digest, length, ext, place: Place::Blob, meta: String::new() };
                Ok(Ok((Outcome::Output(output), Some(collected.list))))
            }
            Done::Output(_) if target.split => {
                let message = "a target with `split = true` makes children: yield Child(name, value)";
                refuse(FailureKind::ModuleError, "no children", message)
            }
            done => self.outcome(request.ticket, done),
        }
    }
}

/// A child as it will be recorded; a large one is in the store after this.
fn keep(store: &Store, sent: Sent) -> Result<(Output, Option<Vec<u8>>)> {
    let output =
        |digest, length| Output { digest, length, ext: sent.ext, place: Place::Blob, meta: sent.meta };
    Ok(match sent.body {
        OutputBody::Bytes { bytes, digest } => (output(digest, bytes.len() as u64), Some(bytes)),
        OutputBody::File { path, digest, length } => {
            store.adopt_blob(&digest, &path)?;
            (output(digest, length), None)
        }
        OutputBody::Folder { bytes, digest, large } => {
            for file in large {
                store.adopt_blob(&file.digest, &file.path)?;
            }
            (output(digest, bytes.len() as u64), Some(bytes))
        }
        OutputBody::Same | OutputBody::Children(_) => {
            (output(crate::hash::Digest::of(b""), 0), Some(Vec::new()))
        }
    })
}
