//! A worker's line as it is understood, with no worker behind it: what fuzz targets ask (`crate::probe`).
//! Results that lie in files are left where they are.

use crate::model::failure::Failure;
use crate::module::describe::{Description, find_description};
use crate::module::output::Place;
use crate::module::protocol::{Frame, Line, read_line};
use crate::module::report::Done;

/// What a line turned out to be.
#[derive(Debug)]
pub enum Reply {
    /// The answer for a document; absent where its result lies in a file.
    Answer(u64, Option<Done>),
    /// Something else that is said for a document, or of the worker.
    Word,
    /// The worker cannot start.
    Fatal(Failure),
    /// Meant for us, but wrong: what is wrong.
    Broken(String),
    /// Something that the program printed.
    Stray,
}

/// Reads a line without its end.
pub(crate) fn read(line: &[u8]) -> Reply {
    match read_line(line) {
        Line::Frame(frame) => of_frame(*frame),
        Line::Broken(problem) => Reply::Broken(problem),
        Line::Stray => Reply::Stray,
    }
}

fn of_frame(frame: Frame<'_>) -> Reply {
    if let Some(fault) = frame.fatal {
        return Reply::Fatal(fault.into_failure());
    }
    let Some(id) = frame.id else { return Reply::Word };
    match (frame.output, frame.skip, frame.error) {
        (Some(output), None, None) if output.path.is_some() => Reply::Answer(id, None),
        (Some(output), None, None) => {
            let nowhere = std::path::PathBuf::new;
            let place = Place { ours: &nowhere, within: None, keep: &nowhere, ext: None };
            Reply::Answer(id, Some(place.of_frame(output, None)))
        }
        (None, Some(reason), None) => Reply::Answer(id, Some(Done::Skip(reason))),
        (None, None, Some(fault)) => Reply::Answer(id, Some(Done::Failed(fault.into_failure()))),
        _ => Reply::Word,
    }
}

/// What a worker printed when it was asked what it is.
pub(crate) fn description(printed: &[u8]) -> Option<Result<Description, Failure>> {
    find_description(printed)
}
