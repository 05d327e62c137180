//! `pipe doctor`: reads the whole store, says what is damaged, and sees to it that the next build mends it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::owner;
use crate::engine::clean::{Clean, clean};
use crate::error::Result;
use crate::project::Project;
use crate::store::examine::{Affected, Asked, Examination, Examining, Fault, Kind, Share, examine, sample};
use crate::text::{count, size, thousands};
use crate::time;

/// At most so many lines of one sort, unless more is asked for.
const LINES: usize = 20;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Verify the whole store, set aside what is damaged, make the index again
///
/// Reads every record and hashes every result. What is damaged is named with the documents concerned; the next build
/// makes those results again and leaves all others as they are. Exit 3 if anything was damaged. The source files are
/// looked at with `--sample` alone, the published files not at all.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Hash only a part, chosen anew each time (1%): of the results, and of the source files whose stamps are unchanged
    #[arg(long, value_name = "SHARE", value_parser = percent)]
    sample: Option<f64>,
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let fits = number.filter(|share| *share > 0.0 && *share <= 100.0);
    fits.ok_or_else(|| "a share of all, up to 100%: 1%, 0.1%".to_owned())
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_reading(&global.locate(out.talk_has_colour()))?;
        let pipeline = project.pipeline();
        let is_wanted = |family: &str, target: &str| {
            let is_there = pipeline.find_source(family).is_some() || pipeline.find_target(family).is_some();
            is_there && pipeline.find_target(target).is_some()
        };
        let mut last = Instant::now();
        let mut tell = |what: &str, done: u64, total: u64| {
            if last.elapsed() >= TELL_EVERY {
                last = Instant::now();
                let share =
                    if total > 0 { format!(" {} of {}", size(done), size(total)) } else { String::new() };
                out.say(format!("  reading   {what}{share}"));
            }
        };
        let mut asked = Asked { is_wanted: &is_wanted, tell: &mut tell, command: crate::env::command_line() };
        let share = self.sample.map(|percent| Share::of_percent(percent, time::now().0));
        let (store, mut found) = owner::take(&project, || {
            let examining = match share {
                Some(share) => sample(&project.store_dir, share, &mut asked),
                None => examine(&project.store_dir, &mut asked),
            };
            Ok(match examining? {
                Examining::Done(store, found) => Ok((store, found)),
                Examining::Held(holder) => Err(holder),
            })
        })?;
        let looked = share.map_or(Ok(()), |share| {
            let command = crate::env::command_line();
            let clean = clean(pipeline, &store, share, command, &mut *asked.tell)?;
            add_sources(clean, &mut found);
            Ok(())
        });
        let closed = store.close();
        looked.and(closed)?;
        if out.is_json() {
            out.json_line("doctor", &found)?;
        } else {
            show(&found, self.sample.is_some(), global.verbose > 0, out)?;
        }
        Ok(if found.is_fine() { Exit::FINE } else { Exit::UNFINISHED })
    }
}

/// Source files that are not what they were count as damaged.
fn add_sources(clean: Clean, found: &mut Examination) {
    found.sources = clean.hashed;
    for changed in clean.changed {
        let affected = |target| Affected { doc: changed.doc.clone(), target };
        found.affected.extend(changed.targets.into_iter().map(affected));
        found.faults.push(Fault {
            kind: Kind::Source,
            problem: "the file's bytes changed, though its size and times did not".to_owned(),
            place: changed.doc,
        });
    }
}

fn show(found: &Examination, is_sample: bool, all: bool, out: &mut Output) -> Result<()> {
    if is_sample {
        let results = found.results + found.unread;
        let read = [
            count(found.frames, "record"),
            format!(
                "{} of {} hashed ({})",
                thousands(found.results),
                count(results, "result"),
                size(found.bytes)
            ),
            format!("{} hashed", count(found.sources, "clean source file")),
        ];
        headed(out, "Read", &read.join(", "))?;
    } else {
        let read = [
            count(found.frames, "record"),
            format!("{} hashed ({})", count(found.results, "result"), size(found.bytes)),
            count(found.tables, "table"),
            count(found.pages, "page"),
        ];
        headed(out, "Read", &read.join(", "))?;
        let has = [count(found.documents, "document"), count(found.sets, "set")];
        headed(out, "Index", &format!("made again: {}", has.join(", ")))?;
    }
    if found.known > 0 {
        let stretches = count(found.known, "stretch").replace("stretchs", "stretches");
        headed(
            out,
            "Known",
            &format!("{stretches} of the log found damaged before; what they held was made again"),
        )?;
    }
    if found.is_fine() {
        let fine = if is_sample { "nothing of it is damaged" } else { "nothing is damaged" };
        return headed(out, "Fine", fine);
    }
    let most = if all { usize::MAX } else { LINES };
    for fault in found.faults.iter().take(most) {
        headed(out, "Damaged", &format!("{}: {}", fault.place, fault.problem))?;
    }
    more(found.faults.len(), most, out)?;
    let mut documents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for affected in &found.affected {
        documents.entry(&affected.doc).or_default().push(&affected.target);
    }
    for (doc, targets) in documents.iter().take(most) {
        headed(out, "Affected", &format!("{doc}  {}", targets.join(", ")))?;
    }
    more(documents.len(), most, out)?;
    let (results, of) = (found.affected.len() as u64, documents.len() as u64);
    if results == 0 {
        return headed(out, "Mended", "no result of a document is lost");
    }
    let results = format!("{} of {} to be made again", count(results, "result"), count(of, "document"));
    headed(out, "To do", &format!("{results}; nothing else is touched"))?;
    out.hint("pipe build     makes them again");
    Ok(())
}

fn more(all: usize, shown: usize, out: &mut Output) -> Result<()> {
    match all.saturating_sub(shown) {
        0 => Ok(()),
        rest => headed(out, "", &format!("and {} more (-v shows them)", thousands(rest as u64))),
    }
}

fn headed(out: &mut Output, head: &str, text: &str) -> Result<()> {
    out.line(format!("  {head:<9} {text}"))
}
