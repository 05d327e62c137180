//! The names of sources and targets: which there are, and which is meant.

use super::mistake::Mistake;
use super::module::Modules;
use super::section::{At, Log};
use super::source::quoted;
use super::value;
use crate::model::pipeline::{Node, SourceIx, TargetIx};
use crate::text;

/// All streams of a file by name.
#[derive(Default)]
pub(super) struct Names {
    sources: Vec<String>,
    targets: Vec<String>,
}

impl Names {
    /// Takes in the names in the order of the file, and notes those that cannot be.
    pub(super) fn new(sources: Vec<At<String>>, targets: Vec<At<String>>, log: &Log) -> Names {
        for name in sources.iter().chain(&targets) {
            if !value::is_name(&name.value) {
                log.add(
                    Mistake::at(name.span.clone(), format!("`{}` is no name", name.value))
                        .help("names are letters (a-z), digits, `_` and `-`"),
                );
            }
        }
        for target in &targets {
            if let Some(source) = sources.iter().find(|source| source.value == target.value) {
                log.add(
                    Mistake::at(
                        target.span.clone(),
                        format!("a source and a target are called `{}`", target.value),
                    )
                    .label("the target")
                    .also(source.span.clone(), "the source")
                    .help("rename one of them: both are streams"),
                );
            }
        }
        let texts = |names: Vec<At<String>>| names.into_iter().map(|name| name.value).collect();
        Names { sources: texts(sources), targets: texts(targets) }
    }

    pub(super) fn find(&self, name: &str) -> Option<Node> {
        let source = self.sources.iter().position(|known| known == name).map(|ix| Node::Source(SourceIx(ix)));
        let target =
            || self.targets.iter().position(|known| known == name).map(|ix| Node::Target(TargetIx(ix)));
        source.or_else(target)
    }

    /// The stream of this name, or a mistake.
    pub(super) fn stream(&self, written: &At<String>, modules: &Modules<'_>, log: &Log) -> Option<Node> {
        let name = written.value.as_str();
        if let Some(node) = self.find(name) {
            return Some(node);
        }
        let message = format!("`{name}` is neither a source nor a target");
        let mistake = Mistake::at(written.span.clone(), message).label("not found");
        let known = self.sources.iter().chain(&self.targets).map(String::as_str);
        log.add(match text::nearest(name, known.clone()) {
            Some(near) => {
                let kind = if self.sources.iter().any(|source| source == near) { "source" } else { "target" };
                mistake.fix(
                    format!("a {kind} with a similar name exists"),
                    written.span.clone(),
                    quoted(near),
                )
            }
            None if modules.is_known(name) => {
                mistake.help(format!("`{name}` is a module: name the target that runs it"))
            }
            None => mistake.help(format!("there are: {}", known.collect::<Vec<_>>().join(", "))),
        });
        None
    }

    /// The target of this name, or a mistake; `prefix` stands before it in the text.
    pub(super) fn target(&self, written: &At<String>, prefix: &str, log: &Log) -> Option<TargetIx> {
        let name = written.value.as_str();
        if let Some(ix) = self.targets.iter().position(|known| known == name) {
            return Some(TargetIx(ix));
        }
        let mistake =
            Mistake::at(written.span.clone(), format!("there is no target `{name}`")).label("not found");
        log.add(match text::nearest(name, self.targets.iter().map(String::as_str)) {
            Some(near) => {
                let meant = quoted(&format!("{prefix}{near}"));
                mistake.fix("a target with a similar name exists", written.span.clone(), meant)
            }
            None => mistake.help(format!("there are: {}", self.targets.join(", "))),
        });
        None
    }

    /// The target that `-D` names, or a mistake that has no place in the file.
    pub(super) fn overridden(&self, name: &str, written: &str, log: &Log) -> Option<TargetIx> {
        let found = self.targets.iter().position(|known| known == name).map(TargetIx);
        if found.is_none() {
            let mistake = Mistake::nowhere(format!("`-D {written}`: there is no target `{name}`"));
            log.add(match text::nearest(name, self.targets.iter().map(String::as_str)) {
                Some(near) => mistake.help(format!("did you mean `{near}`?")),
                None => mistake.help(format!("there are: {}", self.targets.join(", "))),
            });
        }
        found
    }

    /// What a stream is called.
    pub(super) fn name(&self, node: Node) -> &str {
        match node {
            Node::Source(SourceIx(ix)) => &self.sources[ix],
            Node::Target(TargetIx(ix)) => &self.targets[ix],
        }
    }
}
