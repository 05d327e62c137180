//! How things are now, as a build would find them: plans of all targets, sources' stamps; nothing is run or kept.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::engine::loads::PresentCode;
use crate::engine::lookup::Lookup;
use crate::engine::outline::Outline;
use crate::engine::requests::Inputs;
use crate::engine::services::Reach;
use crate::engine::target::TargetPlan;
use crate::engine::{Interrupts, Options, Parts, modules, scan_sources};
use crate::error::Result;
use crate::model::event::{Event, Sink};
use crate::model::pipeline::{Pipeline, TargetIx};
use crate::module::Host;
use crate::plan::family::Families;
use crate::query::Asked;
use crate::scan::Scan;

/// See the module's text.
pub struct Present<'a> {
    /// The parts of a build that does not take place.
    pub parts: Parts<'a>,
    /// What decides the targets now.
    pub outline: Outline,
    /// By target.
    pub plans: Vec<TargetPlan>,
    /// Records.
    pub lookup: Lookup,
}

impl<'a> Present<'a> {
    /// Plans every target as a build would at its beginning.
    pub fn new(asked: &Asked<'a>, families: &Families) -> Result<Self> {
        let host = Arc::new(Host::of_this_program());
        let parts = Parts::new(asked.pipeline, asked.pipelinefile, asked.store, host)?;
        let facts = modules::facts(parts.pipeline, parts.store, &parts.interpreter, Reach::Nobody)?;
        let mut outline = Outline::new(&parts, facts)?;
        let mut present = PresentCode::new(&parts.sites);
        // Not the folder of a build, which may be running beside this.
        let mut inputs = Inputs::in_folder(asked.store.tmp().join("asked"))?;
        let targets = (0..asked.pipeline.targets.len()).map(TargetIx);
        let plan = |ix| outline.plan(&parts, families, ix, &mut present, &mut inputs);
        let plans = targets.map(plan).collect::<Result<Vec<_>>>()?;
        let lookup = Lookup::new(PresentCode::new(&parts.sites));
        Ok(Present { parts, outline, plans, lookup })
    }

    /// Scans the sources as a build would; none is taken for gone by mistake, for nothing is retired.
    pub fn scan(&self, families: &Families) -> Result<Vec<Scan>> {
        let options = looking(self.parts.pipeline);
        scan_sources(&self.parts, families, &options, &self.outline, &mut Nobody, &Interrupts::default())
    }

    /// The same for a target and what it needs: what others have not done yet is no reason to look at a document.
    pub fn scan_for(&self, target: TargetIx) -> Result<Vec<Scan>> {
        let pipeline = self.parts.pipeline;
        let wanted = Families::closure(pipeline, [target]);
        let families = Families::new(pipeline, &wanted);
        let options = Options { wanted, ..looking(pipeline) };
        scan_sources(&self.parts, &families, &options, &self.outline, &mut Nobody, &Interrupts::default())
    }
}

/// What a build is asked for that only looks.
pub fn looking(pipeline: &Pipeline) -> Options {
    Options {
        wanted: (0..pipeline.targets.len()).map(TargetIx).collect::<BTreeSet<_>>(),
        jobs: 1,
        docs: None,
        not_named: HashMap::new(),
        sample_size: None,
        sample: None,
        fail_fast: false,
        max_fail: None,
        allow_failures: None,
        gone: true,
        dry_run: true,
        reads_all: false,
        update: std::collections::BTreeSet::new(),
        changes: None,
        command: Vec::new(),
    }
}

struct Nobody;

impl Sink for Nobody {
    fn event(&mut self, _: &Event) {}
}
