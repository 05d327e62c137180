//! Asking the store from the command line: here, or of the build that has it.

use std::sync::Arc;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::error::Result;
use crate::project::Project;
use crate::query::{Answer, Asked, Question};
use crate::socket::{self, Answered, Place};
use crate::store::Store;

/// The project that is asked about: only its Pipelinefile's own text must be right.
pub(super) fn project(global: &Global, out: &Output) -> Result<Project> {
    Project::for_reading(&global.locate(out.talk_has_colour()))
}

/// Asks, and hands each part of the answer on with the output.
pub(super) fn ask(
    project: &Project,
    question: &Question,
    out: &mut Output,
    take: &mut dyn FnMut(&mut Output, Answer) -> Result<()>,
) -> Result<Answered> {
    let place = Place {
        pipeline: project.pipeline(),
        pipelinefile: project.loaded.digest,
        store_dir: &project.store_dir,
        here: &project.place.here,
    };
    let answered = socket::ask_or_open(&place, question, &mut |answer| take(out, answer))?;
    if let Answered::Here(notices) = &answered {
        notices.iter().for_each(|notice| out.warning(notice));
    }
    Ok(answered)
}

/// What is asked of a store that is open here, while nothing else goes on in it.
pub(super) fn here<'a>(project: &'a Project, store: &'a Arc<Store>) -> Asked<'a> {
    Asked {
        pipeline: project.pipeline(),
        pipelinefile: project.loaded.digest,
        store,
        here: &project.place.here,
        building: false,
        idle: false,
        collecting: false,
        board: None,
    }
}

/// The one part of an answer that has just one.
pub(super) fn ask_one(
    project: &Project,
    question: &Question,
    out: &mut Output,
) -> Result<(Option<Answer>, Answered)> {
    let mut one = None;
    let answered = ask(project, question, out, &mut |_, answer| {
        one = Some(answer);
        Ok(())
    })?;
    Ok((one, answered))
}

/// A run on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunNumber {
    /// The newest.
    Last,
    /// This one.
    Number(u32),
}

impl RunNumber {
    /// Its number; the newest that recorded anything for `last`.
    pub(super) fn resolve(self, project: &Project, out: &mut Output) -> Result<Option<u32>> {
        match self {
            RunNumber::Number(number) => Ok(Some(number)),
            RunNumber::Last => match ask_one(project, &Question::Runs, out)?.0 {
                Some(Answer::Runs { runs, .. }) => Ok(runs.last().map(|run| run.number)),
                _ => Ok(None),
            },
        }
    }
}

/// Reads a run: a number, or `last`.
pub(super) fn run_number(text: &str) -> std::result::Result<RunNumber, String> {
    match text {
        "last" => Ok(RunNumber::Last),
        _ => match text.parse() {
            Ok(number) if number > 0 => Ok(RunNumber::Number(number)),
            _ => Err("the number of a run, or `last`".to_owned()),
        },
    }
}
