//! Runs the samples of a module: by workers that stay alive, side by side, as in a build; nothing is recorded.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::provision::InUse;
use crate::error::{Error, Result};
use crate::golden::made::{Children, Made, child};
use crate::golden::sample::Sample;
use crate::model::pipeline::{Module, SplitLimits};
use crate::module::trials::run_all;
use crate::module::{Done, Host, Launch, Output, Python, Request, SETUP_TIMEOUT, Side};

/// The hard limit of one sample where the module states none.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// A module whose samples are run.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The module.
    pub module: Module,
    /// It takes many documents.
    pub takes_docs: bool,
    /// It makes children.
    pub split: Option<SplitLimits>,
    /// The extension that its results get.
    pub ext: Option<String>,
    /// The interpreter, if it is a function.
    pub python: Option<Python>,
    /// Its environment, which stays as it is.
    pub in_use: Option<InUse>,
    /// The project's folder. Absolute.
    pub root: PathBuf,
}

impl Subject {
    fn launch(&self, sample: &Sample, with: Vec<(String, Side)>, folder: &Path) -> Launch {
        let mut params = self.module.params.clone();
        params.extend(sample.notes.params.clone());
        let env = self.module.settings.env.iter().map(|(name, value)| (name.clone(), value.clone()));
        Launch {
            program: self.module.program.clone(),
            root: self.root.clone(),
            python: self.python.clone(),
            env: env.collect(),
            secrets: self.module.settings.secrets.clone(),
            withheld: Vec::new(),
            params,
            with,
            with_each: Vec::new(),
            sees: sample.sees(self.takes_docs),
            log: folder.join("log"),
            tmp: folder.join("tmp"),
            timeout: self.module.settings.timeout.or(Some(TIMEOUT)),
            memory: self.module.settings.memory,
            batch: self.module.settings.batch,
            at_once: None,
            setup_timeout: SETUP_TIMEOUT,
            ext: self.ext.clone(),
            readable: vec![self.root.clone(), folder.to_owned()],
            code: Vec::new(),
            fingerprint: None,
            split: self.split,
        }
    }
}

/// Runs samples; what came of each. Those that are missing were not done: somebody asked to stop. A module that cannot
/// start fails them all.
pub fn run(
    subject: &Subject,
    samples: &[Sample],
    host: &Arc<Host>,
    jobs: usize,
    folder: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Option<Made>>> {
    // Those with the same params and side inputs share workers.
    let mut groups: Vec<(Launch, Vec<Request>)> = Vec::new();
    for (number, sample) in samples.iter().enumerate() {
        crate::fs::create_dir(folder)?;
        let request = sample.request(number as u64, subject.takes_docs, folder)?;
        let launch = subject.launch(sample, sample.sides()?, folder);
        match groups.iter_mut().find(|(known, _)| *known == launch) {
            Some((_, requests)) => requests.push(request),
            None => groups.push((launch, vec![request])),
        }
    }
    let mut done: HashMap<u64, Made> = HashMap::new();
    for (number, (launch, requests)) in groups.iter().enumerate() {
        let folder = folder.join(format!("group-{number}"));
        crate::fs::create_dir(&folder)?;
        let mut children: BTreeMap<u64, Children> = BTreeMap::new();
        let mut lost: Option<Error> = None;
        // Now, for a file of it may be moved away with the answer.
        let mut hear = |id: u64, name: &str, output: &Output| match child(name, output) {
            Ok((file, content)) => drop(children.entry(id).or_default().insert(file, content)),
            Err(error) => lost = Some(error),
        };
        let answers = match run_all(host, launch, requests, jobs, &folder, &mut hear, stop) {
            Ok(answers) => answers,
            Err(failure) => {
                requests.iter().map(|request| (request.id, Done::Failed(failure.clone()))).collect()
            }
        };
        if let Some(error) = lost {
            return Err(error);
        }
        for (id, answer) in answers {
            let sample = &samples[id as usize];
            let children = children.remove(&id).unwrap_or_default();
            done.insert(id, Made::of(answer, &sample.input, &sample.ext, &children)?);
        }
    }
    Ok((0..samples.len() as u64).map(|id| done.remove(&id)).collect())
}
