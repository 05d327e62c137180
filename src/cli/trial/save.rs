//! `pipe try --save-test`: what was tried becomes a golden sample of its module.

use serde_json::Value;

use crate::engine::trial::Trial;
use crate::error::{Error, Result};
use crate::golden::{self, Made, Saved};
use crate::module::{Done, Side};
use crate::pipelinefile::SampleNotes;
use crate::project::Project;

/// A sample that was written.
pub(super) struct Kept {
    /// Its input, relative to the project.
    pub(super) path: String,
    /// It says what must come out: a failure is not what must.
    pub(super) has_result: bool,
}

/// Writes the sample.
pub(super) fn save(project: &Project, trial: &Trial, done: &Done) -> Result<Kept> {
    let pipeline = project.pipeline();
    let module = pipeline.modules.iter().find(|module| module.name == trial.module);
    let of_module = module.map(|module| module.params.clone()).unwrap_or_default();
    let params = trial.launch.params.clone().into_iter();
    let notes = SampleNotes {
        params: params.filter(|(name, value)| of_module.get(name) != Some(value)).collect(),
        meta: meta(trial)?,
        id: trial.request.input.id.clone(),
    };
    let with: Vec<(&str, &Side)> = trial
        .launch
        .with
        .iter()
        .chain(&trial.request.with)
        .map(|(name, side)| (name.as_str(), side))
        .collect();
    let last = trial.doc.as_str().rsplit('/').next().unwrap_or_default();
    let name = last.rsplit_once('.').map_or(last, |(stem, _)| if stem.is_empty() { last } else { stem });
    let folder = golden::folder_of(&project.root, &trial.module);
    let sample = golden::save(&folder, &Saved { name, input: &trial.request.input, with, notes })?;
    let shown = sample.input.strip_prefix(&project.root).unwrap_or(&sample.input).display().to_string();
    let is_split = matches!(done, Done::Output(output) if output.ext == crate::model::children::EXT);
    let made = match done {
        Done::Output(output) if !is_split => Some(golden::made(output, &sample)?),
        Done::Skip(reason) => Some(Made::Skip(reason.clone())),
        _ => None,
    };
    if let Some(made) = &made {
        golden::bless(&sample, made)?;
    }
    Ok(Kept { path: shown, has_result: made.is_some() })
}

fn meta(trial: &Trial) -> Result<std::collections::BTreeMap<String, Value>> {
    let Some(meta) = &trial.request.input.meta else { return Ok(std::collections::BTreeMap::new()) };
    serde_json::from_str(meta)
        .map_err(|e| Error::unfinished("the document's meta cannot be read").caused_by(e))
}
