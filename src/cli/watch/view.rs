//! What `pipe watch` builds, as the Pipelinefile says now.

use std::path::PathBuf;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::select::wanted;
use crate::cli::watch::Args;
use crate::engine::Options;
use crate::error::Result;
use crate::hash::Digest;
use crate::project::Project;

/// A project that can be built.
pub(super) struct View {
    pub(super) project: Project,
    pub(super) options: Options,
    /// Files besides code that decide what is built: the Pipelinefile, and where it leads if it is a link.
    pub(super) files: Vec<PathBuf>,
}

impl View {
    /// Reads the Pipelinefile and looks at the code. Warnings are said, unless the Pipelinefile is one that is `known`.
    pub(super) fn read(
        args: &Args,
        global: &Global,
        out: &mut Output,
        known: Option<Digest>,
    ) -> Result<View> {
        let project = Project::for_build(&global.locate_with(&args.define, out.talk_has_colour()))?;
        let wanted = wanted(&project, &args.names)?;
        let warnings = project.warnings();
        if !warnings.is_empty() && !out.is_json() && known != Some(project.loaded.digest) {
            out.drawn(&warnings);
            out.drawn("\n");
        }
        let options = Options {
            wanted,
            jobs: global.jobs(),
            docs: None,
            not_named: std::collections::HashMap::new(),
            sample_size: None,
            sample: None,
            fail_fast: false,
            max_fail: None,
            allow_failures: None,
            gone: false,
            dry_run: false,
            reads_all: false,
            update: std::collections::BTreeSet::new(),
            changes: None,
            command: crate::env::command_line(),
        };
        let file = project.place.file.clone();
        let target = file.canonicalize().ok();
        let files = target.into_iter().chain([file]).collect();
        Ok(View { project, options, files })
    }
}
