//! Files of rows, held against the column that names their rows.

use crate::pipelinefile::{Loaded, Mistake};
use crate::scan::Roots;

/// The mistakes of sources whose files have no such column. Reads the first line of each.
pub(super) fn wrong(loaded: &Loaded) -> Vec<Mistake> {
    let of_source = |source: &crate::model::pipeline::Source| {
        let error = Roots::open(source).giver()?.check().err()?;
        let mistake = loaded.mistake_at_source(&source.name, "rows", error.to_string()).on_disk();
        Some(error.hints.iter().fold(mistake, |mistake, hint| mistake.help(hint.clone())))
    };
    loaded.pipeline.sources.iter().filter(|source| source.rows.is_some()).filter_map(of_source).collect()
}
