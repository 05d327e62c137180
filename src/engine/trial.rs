//! One action by itself: a target on one document, with the inputs that are stored for it. Nothing is recorded.
//!
//! What is prepared here lies in a folder of its own and in `blobs/`, so the store need not be held while the module
//! runs, and a build beside it disturbs nobody.

mod fresh;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::engine::decide::{Deciding, Work};
use crate::engine::document::{Content, Document, place_of};
use crate::engine::loads::PresentCode;
use crate::engine::lookup::Lookup;
use crate::engine::matching::{self, Matching};
use crate::engine::outline::Outline;
use crate::engine::requests::{self, INLINE, Inputs};
use crate::engine::services::{self, Reach};
use crate::engine::sets::{Streams, content_of_given, stored};
use crate::engine::sites::{EVERYTHING, Found};
use crate::engine::target::TargetPlan;
use crate::engine::{Parts, modules};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Outcome, Package, State};
use crate::model::document::DocId;
use crate::model::failure::Failure;
use crate::model::pipeline::{TargetIx, Verb};
use crate::module::{self, Launch, OutputBody, Request};
use crate::plan::family::{Families, Family, FamilyIx, Input, Origin};
use crate::scan::{Ask, Given, ReadOutcome, Reader};
use crate::text;

use fresh::Anew;
pub use fresh::Rerun;

/// The folder of trials in a store.
const FOLDER: &str = "try";

/// Everything that one run of a module needs.
pub struct Trial {
    /// The document; the target's name for a set.
    pub doc: DocId,
    /// What the module is given, in words: `words' output (3.0 KiB)`.
    pub input: String,
    /// The module's name.
    pub module: String,
    /// What should be known beside it.
    pub notes: Vec<String>,
    /// How the module is run.
    pub launch: Launch,
    /// The document for it.
    pub request: Request,
    /// The code files of the module, as far as they are known; relative to the project's folder.
    pub code: Vec<String>,
    /// The installed packages that it was seen to load.
    pub packages: Vec<String>,
    /// How the document stands in the target now, if it was built.
    pub stored: Option<Outcome>,
    /// Digest and extension of the input, which are those of a result that passes it on; a set has none.
    pub passed_on: Option<(Digest, String)>,
}

/// How a trial's result stands to what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compared {
    /// The same bytes, extension and meta.
    Same,
    /// Another result.
    Differs,
    /// There was none, but a skip.
    Skipped,
    /// There was none, but a failure.
    Failed,
    /// Nothing is stored.
    None,
}

impl Compared {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Compared::Same => "the same as the stored one",
            Compared::Differs => "differs from the stored one",
            Compared::Skipped => "none is stored: it was skipped",
            Compared::Failed => "none is stored: it failed",
            Compared::None => "none is stored",
        }
    }
}

impl Trial {
    /// The digest of a result.
    pub fn digest(&self, output: &module::Output) -> Digest {
        match &output.body {
            OutputBody::Bytes { digest, .. }
            | OutputBody::File { digest, .. }
            | OutputBody::Folder { digest, .. } => *digest,
            OutputBody::Same | OutputBody::Children(_) => {
                self.passed_on.as_ref().map_or_else(Digest::default, |(digest, _)| *digest)
            }
        }
    }

    /// The extension of a result.
    pub fn ext<'a>(&'a self, output: &'a module::Output) -> &'a str {
        match (&output.body, &self.passed_on) {
            (OutputBody::Same, Some((_, ext))) if output.ext.is_empty() => ext,
            _ => &output.ext,
        }
    }

    /// Compares a result with what is stored.
    pub fn compare(&self, output: &module::Output) -> Compared {
        match &self.stored {
            None => Compared::None,
            Some(Outcome::Skip(_)) => Compared::Skipped,
            Some(Outcome::Failed(_)) => Compared::Failed,
            Some(Outcome::Output(old)) => {
                let is_same = old.digest == self.digest(output)
                    && old.ext == self.ext(output)
                    && old.meta == output.meta;
                if is_same { Compared::Same } else { Compared::Differs }
            }
        }
    }
}

/// A folder for the files of one trial. What is left in it when it is dropped goes, unless it is kept; what was kept
/// goes with the next trial.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    kept: Option<PathBuf>,
}

impl Folder {
    /// Makes it in the store at `store`, and removes those of processes that are gone.
    pub fn begin(store: &Path) -> Result<Self> {
        let all = store.join(FOLDER);
        crate::fs::create_dir(&all)?;
        let listed = std::fs::read_dir(&all).map_err(|e| Error::io("read the folder", &all, &e))?;
        for entry in listed.flatten() {
            let is_at_work = Path::new("/proc").join(entry.file_name()).exists();
            if !is_at_work {
                crate::fs::remove_dir(&entry.path())?;
            }
        }
        let path = all.join(std::process::id().to_string());
        crate::fs::remove_dir(&path)?;
        crate::fs::create_dir(&path.join("tmp"))?;
        Ok(Folder { path, kept: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves a file of it for people to look at, under a name that says what it is; where it is then.
    pub fn keep(&mut self, file: &Path, ext: &str) -> Result<PathBuf> {
        let dot = if ext.is_empty() { "" } else { "." };
        let path = self.path.join(format!("output{dot}{}", crate::model::selection::safe_component(ext)));
        std::fs::rename(file, &path).map_err(|e| Error::io("keep", &path, &e))?;
        self.kept = Some(path.clone());
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind goes with the next trial.
        if self.kept.is_none() {
            drop(crate::fs::remove_dir(&self.path));
            return;
        }
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let path = entry.path();
            if self.kept.as_ref() != Some(&path) {
                drop(crate::fs::remove_dir(&path));
                drop(crate::fs::remove_file(&path));
            }
        }
    }
}

/// Finds the inputs of a target for one document, as they are stored; those that targets before make of it anew where
/// `rerun` is there. For a set the document does not matter.
pub fn prepare(
    parts: &Parts<'_>,
    ix: TargetIx,
    doc: &DocId,
    folder: &Path,
    mut rerun: Option<&mut Rerun<'_>>,
) -> Result<Trial> {
    let families = Families::new(parts.pipeline, &Families::closure(parts.pipeline, [ix]));
    let facts = modules::facts(
        parts.pipeline,
        parts.store,
        &parts.interpreter,
        Reach::Servers(Some(&services::modules_of(parts.pipeline, [ix]))),
    )?;
    let mut outline = Outline::new(parts, facts)?;
    let mut inputs = Inputs::in_folder(folder.join("in"))?;
    let mut present = PresentCode::new(&parts.sites);
    let mut plan_of = |ix| -> Result<TargetPlan> {
        let mut plan = outline.plan(parts, &families, ix, &mut present, &mut inputs)?;
        matching::load(parts, &families, &mut plan, None)?;
        Ok(plan)
    };
    let plan = plan_of(ix)?;
    let mut before = BTreeMap::new();
    if rerun.is_some() {
        for ix in fresh::targets_before(&families, ix) {
            before.insert(ix, plan_of(ix)?);
        }
    }
    let preparing = Preparing { parts, families: &families, plan: &plan, folder };
    let mut trial = match parts.pipeline.target(ix).verb {
        Verb::Each => {
            let fresh = rerun.as_mut().map(|rerun| (&before, &mut **rerun));
            preparing.document(doc, &mut inputs, &mut Lookup::new(present), fresh)?.0
        }
        Verb::All => preparing.set(&DocId::of_set(preparing.name()), None, inputs)?,
        Verb::Group => preparing.group(doc, inputs)?,
    };
    trial.launch.log = folder.join("log");
    trial.launch.tmp = folder.join("tmp");
    // Whoever debugs takes the time that it takes.
    trial.launch.timeout = None;
    Ok(trial)
}

/// The plans of the targets before, and what runs their modules.
type Fresh<'a, 'b> = (&'a BTreeMap<TargetIx, TargetPlan>, &'a mut Rerun<'b>);

/// Finds the inputs of a target for several documents, as they are stored: each trial with the number of the module that
/// its route chose, or why there is none.
pub fn prepare_all(
    parts: &Parts<'_>,
    ix: TargetIx,
    docs: &[DocId],
    folder: &Path,
) -> Result<Vec<(usize, std::result::Result<Trial, Error>)>> {
    let families = Families::new(parts.pipeline, &Families::closure(parts.pipeline, [ix]));
    let facts = modules::facts(
        parts.pipeline,
        parts.store,
        &parts.interpreter,
        Reach::Servers(Some(&services::modules_of(parts.pipeline, [ix]))),
    )?;
    let mut outline = Outline::new(parts, facts)?;
    let mut inputs = Inputs::in_folder(folder.join("in"))?;
    let mut present = PresentCode::new(&parts.sites);
    let mut plan = outline.plan(parts, &families, ix, &mut present, &mut inputs)?;
    matching::load(parts, &families, &mut plan, None)?;
    let preparing = Preparing { parts, families: &families, plan: &plan, folder };
    let mut lookup = Lookup::new(present);
    let one = |doc| match preparing.document(doc, &mut inputs, &mut lookup, None) {
        Ok((trial, call)) => (call, Ok(trial)),
        Err(error) => (0, Err(error)),
    };
    Ok(docs.iter().map(one).collect())
}

/// How a set stands in the store: the whole, or one group.
fn stored_of_set(
    parts: &Parts<'_>,
    families: &Families,
    ix: TargetIx,
    doc: &DocId,
) -> Result<Option<Outcome>> {
    let (dir, name) = place_of(doc);
    let mut entry = None;
    for of in families.of_document(doc) {
        let family = families.family(of);
        if family.step_of(ix).is_some() && !family.is_merges() {
            entry = parts.store.entry(&family.name, dir, name)?;
        }
    }
    let Some(entry) = entry else { return Ok(None) };
    let Some(before) = crate::engine::sets::before(parts.store, entry.story)? else { return Ok(None) };
    let target = &parts.pipeline.target(ix).name;
    let result = crate::engine::sets::result_of(parts.store, &before, target)?;
    Ok(result.and_then(|result| result.record).map(|act| act.outcome.clone()))
}

/// Finds the inputs of a set as `made` has them, a store in which everything before it was made anew; what is stored of the
/// set itself is that of the project.
pub fn prepare_over(
    parts: &Parts<'_>,
    made: &Parts<'_>,
    ix: TargetIx,
    doc: &DocId,
    folder: &Path,
) -> Result<Trial> {
    let families = Families::new(parts.pipeline, &Families::closure(parts.pipeline, [ix]));
    let stored = stored_of_set(parts, &families, ix, doc)?;
    let trial = prepare(made, ix, doc, folder, None)?;
    let input = format!("{}, made anew", trial.input);
    Ok(Trial { input, stored, ..trial })
}

#[derive(Clone, Copy)]
struct Preparing<'a> {
    parts: &'a Parts<'a>,
    families: &'a Families,
    plan: &'a TargetPlan,
    folder: &'a Path,
}

impl Preparing<'_> {
    fn name(&self) -> &str {
        &self.parts.pipeline.target(self.plan.ix).name
    }

    /// The trial of one document, and the number of the module that its route chose.
    fn document(
        &self,
        doc: &DocId,
        inputs: &mut Inputs,
        lookup: &mut Lookup,
        fresh: Option<Fresh<'_, '_>>,
    ) -> Result<(Trial, usize)> {
        let Parts { pipeline, store, .. } = *self.parts;
        let elsewhere = || {
            let message = format!("`{doc}` does not come to target `{}`", self.name());
            Error::no_match(message).hint(format!("pipe graph     shows what `{}` takes", self.name()))
        };
        // What a split made does not come to it, but to what is behind it.
        let of = self.families.of_document(doc).find_map(|ix| {
            let family = self.families.family(ix);
            let step = family.step_of(self.plan.ix)?;
            (!family.is_children() || step > 0).then_some((ix, step))
        });
        let (family_ix, step) = of.ok_or_else(elsewhere)?;
        let family = self.families.family(family_ix);
        let mut notes = Vec::new();
        let mut document = self.open(family_ix, family, step, doc, &mut notes)?;
        let is_fresh = fresh.is_some();
        if let Some((plans, rerun)) = fresh {
            // What is stored is not used: that it is of another file does not matter.
            notes.clear();
            let anew = Anew { plans, inputs, lookup, rerun };
            self.renew(&mut document, family, step, anew)?;
        }
        let deciding = Deciding { pipeline, family, store, lookup };
        let matching = Matching { parts: self.parts, families: self.families };
        let found = matching.of_document(self.plan, &document, step)?;
        let work = deciding
            .work(self.plan, &document, step, &found)
            .map_err(|stands| self.no_input(doc, stands.state, &stands.note))?;
        let plan = self.plan.call(work.call);
        if plan.module.is_none() {
            let message =
                format!("the route of `{}` passes `{doc}` on unchanged: no module runs", self.name());
            return Err(Error::no_match(message));
        }
        let made = requests::request(&deciding, inputs, self.plan, &document, &work, 1)?;
        let request = made.map_err(|_| self.damaged(doc))?;
        let trial = Trial {
            doc: doc.clone(),
            input: self.described(&document, family, &work, is_fresh),
            module: self.module_of(plan),
            notes,
            launch: self.parts.launch(plan, 0)?,
            code: self.code(plan)?,
            packages: self.packages(plan)?,
            request,
            stored: document.results[step]
                .as_ref()
                .and_then(|result| result.record.as_deref())
                .map(|act| act.outcome.clone()),
            passed_on: document.input_facts(work.main),
        };
        Ok((trial, work.call))
    }

    /// The document with its stored results, and its file as it is now.
    fn open(
        &self,
        ix: FamilyIx,
        family: &Family,
        step: usize,
        doc: &DocId,
        notes: &mut Vec<String>,
    ) -> Result<Document> {
        let store = self.parts.store;
        let (dir, name) = place_of(doc);
        let entry = store.entry(&family.name, dir, name)?.filter(|entry| !entry.flags.gone);
        let known = match &entry {
            Some(entry) => stored(store, self.parts.pipeline, (ix, family), doc.clone(), entry, &|_| true)?,
            None => None,
        };
        let is_known = known.is_some();
        let unknown = || Document::unknown(ix, family, doc.clone());
        let mut document = known.unwrap_or_else(unknown);
        let Origin::Source(source) = family.origin else { return Ok(document) };
        let roots = &self.parts.roots[source.0];
        if let Some(giver) = roots.giver() {
            let problem = match giver.read(doc.rel())? {
                Given::Document(given) => {
                    document.digest = Some(given.digest);
                    document.content = Some(content_of_given(*given));
                    return Ok(document);
                }
                Given::Broken { problem, .. } => problem,
                Given::Absent => "there is no such document".to_owned(),
                Given::Changing => "it is being written".to_owned(),
            };
            return Err(Error::no_match(format!("cannot read `{doc}`: {problem}")));
        }
        let outcome = Reader::new(store.salt())?.read(roots, doc.rel(), Ask { keep: INLINE, mime: true });
        let place = &family.steps[step];
        let reads_it = place.inputs.contains(&Input::Origin)
            || place.with.iter().any(|(_, input)| *input == Input::Origin);
        let why = match outcome {
            ReadOutcome::Read(read) => {
                if !reads_it && document.digest.is_some_and(|before| before != read.digest) {
                    notes.push(format!(
                        "`{doc}` was edited since the last build; what is stored is of before"
                    ));
                }
                document.digest = Some(read.digest);
                document.content = Some(Content {
                    digest: read.digest,
                    length: read.length,
                    bytes: read.bytes,
                    mime: read.mime.map(str::to_owned),
                    given: None,
                    path: roots.path_of(doc.rel()),
                });
                return Ok(document);
            }
            ReadOutcome::Vanished => "there is no such file".to_owned(),
            ReadOutcome::Unreadable(why) => why,
            ReadOutcome::Special => "it is no regular file".to_owned(),
            ReadOutcome::Changing | ReadOutcome::Stopped => "it keeps changing while it is read".to_owned(),
        };
        if is_known && !reads_it {
            notes.push(format!("`{doc}` itself cannot be read now ({why}); what is stored is used"));
            return Ok(document);
        }
        Err(Error::no_match(format!("cannot read `{doc}`: {why}")))
    }

    /// One group of a target, by parent or by value.
    fn group(&self, doc: &DocId, inputs: Inputs) -> Result<Trial> {
        let Parts { pipeline, store, .. } = *self.parts;
        let streams = Streams {
            pipeline,
            families: self.families,
            store,
            roots: &self.parts.roots,
            sites: &self.parts.sites,
            only: None,
            is_current: None,
            group: None,
        };
        let elsewhere = || {
            Error::no_match(format!("target `{}` has no group `{doc}`", self.name()))
                .hint(format!("pipe ls {}     lists them", self.name()))
        };
        let is_by_value = self.families.list.iter().any(|family| family.group_target() == Some(self.plan.ix));
        if !is_by_value {
            let ix = self
                .families
                .of_document(doc)
                .find(|ix| self.families.family(*ix).step_of(self.plan.ix).is_some());
            let ix = ix.ok_or_else(elsewhere)?;
            let family = self.families.family(ix);
            let (dir, name) = place_of(doc);
            let entry = store.entry(&family.name, dir, name)?.ok_or_else(elsewhere)?;
            let document = stored(store, pipeline, (ix, family), doc.clone(), &entry, &|_| true)?;
            let document = document.ok_or_else(elsewhere)?;
            let step = family.step_of(self.plan.ix).unwrap_or_default();
            let group = crate::engine::members::children_of(store, &document, family, step)?;
            let mut trial = self.set(doc, Some(&group), inputs)?;
            let mut lookup = Lookup::new(PresentCode::new(&self.parts.sites));
            let deciding = Deciding { pipeline, family, store, lookup: &mut lookup };
            let matching = Matching { parts: self.parts, families: self.families };
            let found = matching.of_document(self.plan, &document, step)?;
            let mut work = Work::of(self.plan, Vec::new(), Input::Origin);
            deciding
                .take_sides(self.plan, &document, step, &found, &mut work)
                .map_err(|stands| self.no_input(doc, stands.state, &stands.note))?;
            let mut inputs = Inputs::in_folder(self.folder.join("sides"))?;
            let with = requests::sides(&deciding, &mut inputs, &document, &work)?;
            trial.request.with = with.map_err(|_| self.damaged(doc))?;
            return Ok(trial);
        }
        let by = crate::engine::kin::by_of(self.parts, self.families, self.plan.ix)?;
        let by = by.map_err(|(state, note)| self.no_input(doc, state, &note))?;
        let mut found = None;
        let path = self.folder.join("groups.jsonl");
        streams.groups(self.plan.ix, &by, &self.plan.sees, path.clone(), &mut |group| {
            if group.value == doc.rel() {
                found = Some(group);
            }
            Ok(())
        })?;
        let found = found.ok_or_else(elsewhere)?;
        self.set(doc, Some(&crate::engine::members::Group::Noted(path, found.from, found.to)), inputs)
    }

    fn set(
        &self,
        doc: &DocId,
        group: Option<&crate::engine::members::Group>,
        mut inputs: Inputs,
    ) -> Result<Trial> {
        let Parts { pipeline, store, .. } = *self.parts;
        let doc = doc.clone();
        if let Some((state, why)) = self.plan.lacks() {
            return Err(self.no_input(&doc, state, &why));
        }
        let streams = Streams {
            pipeline,
            families: self.families,
            store,
            roots: &self.parts.roots,
            sites: &self.parts.sites,
            only: None,
            is_current: None,
            group,
        };
        let (_, members, coverage) = streams.root(self.plan.ix, &self.plan.sees)?;
        let absent = coverage.missing + coverage.unfinished;
        if members == 0 && absent > 0 {
            return Err(self.no_input(&doc, State::Unfinished, ""));
        }
        let notes = match absent {
            0 => Vec::new(),
            _ => vec![format!("{} left out: failed, or not built yet", text::count(absent, "document"))],
        };
        let manifest = self.folder.join("manifest.jsonl");
        let made =
            streams.request(self.plan.ix, &self.plan.sees, (manifest, false), members, 1, &mut inputs)?;
        let request = made.map_err(|_| self.damaged(&doc))?;
        let of = &pipeline.target(self.plan.ix).streams;
        let of: Vec<String> = of.iter().map(|node| format!("`{}`", pipeline.node_name(*node))).collect();
        let stored = stored_of_set(self.parts, self.families, self.plan.ix, &doc)?;
        Ok(Trial {
            input: format!("{} of {}", text::count(members, "document"), of.join(", ")),
            module: self.module_of(self.plan),
            doc,
            notes,
            launch: self.parts.launch(self.plan, 0)?,
            code: self.code(self.plan)?,
            packages: self.packages(self.plan)?,
            request,
            stored,
            passed_on: None,
        })
    }

    /// The files that count as a module's code, and those that its workers were seen to load.
    fn code(&self, plan: &TargetPlan) -> Result<Vec<String>> {
        let mut files: Vec<String> = plan.recipe.files.iter().map(|(file, _)| file.clone()).collect();
        for loads in self.parts.store.all_loads()?.iter().filter(|loads| loads.module == plan.identity) {
            files.extend(loads.files.iter().map(|(file, _)| file.clone()));
        }
        files.sort();
        files.dedup();
        files.retain(|file| self.parts.pipeline.root.join(file).is_file());
        Ok(files)
    }

    fn packages(&self, plan: &TargetPlan) -> Result<Vec<String>> {
        let loads = self.parts.store.all_loads()?;
        let of_module = loads.iter().filter(|loads| loads.module == plan.identity);
        // In other versions it had others.
        let is_present = |package: &&Package| {
            package.path != EVERYTHING && self.parts.sites.find(&plan.identity, package) == Found::Same
        };
        let packages = of_module.flat_map(|loads| &loads.packages).filter(is_present);
        let mut packages: Vec<String> =
            packages.map(|package| format!("{}=={}", package.name, package.version)).collect();
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    fn module_of(&self, plan: &TargetPlan) -> String {
        plan.module.map_or_else(String::new, |ix| self.parts.pipeline.module(ix).name.clone())
    }

    fn described(&self, document: &Document, family: &Family, work: &Work, is_fresh: bool) -> String {
        let origin = requests::origin(family, document, work.main);
        let length = match origin {
            Input::Origin => document.content.as_ref().map(|content| content.length),
            Input::Step(step) => {
                document.results[step].as_ref().and_then(|r| r.output()).map(|output| output.length)
            }
        };
        let what = match work.main {
            Input::Origin => "the file".to_owned(),
            Input::Step(step) => {
                let name = &self.parts.pipeline.target(family.steps[step].target).name;
                let s = if name.ends_with('s') { "" } else { "s" };
                let anew = if is_fresh { ", made anew" } else { "" };
                format!("{name}'{s} output{anew}")
            }
        };
        length.map_or_else(|| what.clone(), |length| format!("{what} ({})", text::size(length)))
    }

    /// Why there is nothing to hand over, and what to do.
    fn no_input(&self, doc: &DocId, state: State, note: &str) -> Error {
        let target = self.name();
        let is_set = doc.rel().is_empty();
        let build =
            if is_set { format!("pipe build {target}") } else { format!("pipe build {target} --docs {doc}") };
        match state {
            State::LeftOut => Error::no_match(format!("`where` of target `{target}` leaves `{doc}` out")),
            State::Absent => Error::no_match(format!(
                "`{doc}` does not come to target `{target}`: skipped or left out before"
            ))
            .hint(format!("pipe log {doc}")),
            State::Skipped => Error::no_match(format!("`{doc}` is skipped in `{target}`: {note}")),
            State::Failed => {
                let failure: Option<Failure> = serde_json::from_str(note).ok();
                let why = failure.map_or_else(|| note.to_owned(), |failure| failure.message);
                Error::unfinished(format!("`{target}` has no input for `{doc}`: {why}")).hint(build)
            }
            State::Blocked => {
                // Another document than this one is to be named.
                let why = note.strip_suffix(&format!(" on {doc}")).unwrap_or(note);
                Error::unfinished(format!("`{target}` has no input for `{doc}`: {why}"))
                    .hint(format!("pipe log {doc}"))
                    .hint(build)
            }
            State::Unfinished | State::Done => {
                Error::unfinished(format!("`{target}` has no stored input for `{doc}` yet")).hint(build)
            }
        }
    }

    fn damaged(&self, doc: &DocId) -> Error {
        Error::unfinished(format!("the stored input of `{}` for `{doc}` is damaged or gone", self.name()))
            .hint("pipe doctor     finds out what else is, and what to do")
    }
}
