//! What the file alone proves wrong about publishing: files written twice, and files that come in again.

use std::path::Path;

use super::disk;
use super::graph::Lineage;
use super::mistake::{Mistake, Span};
use super::section::Log;
use super::source::{DraftSource, quoted};
use super::target::Draft;
use super::with::WithSource;
use crate::model::pipeline::{Node, SourceIx, TargetIx, Verb};
use crate::model::selection::{Field, IdPart, Template};

/// Notes every target that cannot be published as it says.
pub(super) fn check(
    root: &Path,
    sources: &[DraftSource],
    drafts: &[Draft],
    lineage: &Lineage<'_>,
    log: &Log,
) {
    for (ix, draft) in drafts.iter().enumerate() {
        let Some(publish) = &draft.target.publish else { continue };
        check_same(draft, &drafts[..ix], log);
        check_fields(TargetIx(ix), draft, sources, lineage, log);
        check_place(root, sources, drafts, draft, &publish.path, &draft.publish, log);
        if let Some(index) = &publish.index {
            check_listing(draft, &drafts[..=ix], index, log);
            // A path without fields: what a brace in it stands for is written twice.
            if let Ok(listing) = Template::parse(&index.replace('{', "{{").replace('}', "}}")) {
                check_place(root, sources, drafts, draft, &listing, &draft.index, log);
            }
        }
    }
}

/// A listing lies where nothing else is published, and is listed once.
fn check_listing(draft: &Draft, up_to_this: &[Draft], index: &str, log: &Log) {
    let is_own = |other: &Draft| other.target.name == draft.target.name;
    for other in up_to_this {
        let Some(publish) = &other.target.publish else { continue };
        let title = &other.target.name;
        let is_listing = !is_own(other) && publish.index.as_deref() == Some(index);
        let is_file = publish.path.expand(&|_| None, title, "").is_ok_and(|path| path == index);
        if is_listing || is_file {
            let what = if is_listing { "is the listing of" } else { "is published by" };
            log.add(
                Mistake::at(draft.index.clone(), format!("`{index}` {what} target `{title}`"))
                    .also(other.publish.clone(), format!("`{title}`"))
                    .help("a listing is a file of its own"),
            );
        }
    }
}

fn check_same(draft: &Draft, earlier: &[Draft], log: &Log) {
    let template = |draft: &Draft| Some(draft.target.publish.as_ref()?.path.for_target(&draft.target.name));
    if let Some(other) = earlier.iter().find(|other| template(other) == template(draft)) {
        let (a, b) = (&other.target.name, &draft.target.name);
        log.add(
            Mistake::at(draft.publish.clone(), format!("targets `{a}` and `{b}` publish the same files"))
                .label(format!("`{b}`"))
                .also(other.publish.clone(), format!("`{a}`"))
                .help("`{target}` in the template tells them apart"),
        );
    }
}

fn check_fields(ix: TargetIx, draft: &Draft, sources: &[DraftSource], lineage: &Lineage<'_>, log: &Log) {
    let Some(publish) = draft.target.publish.as_ref().filter(|_| !draft.streams.is_empty()) else { return };
    let fields: Vec<&Field> = publish.path.fields().collect();
    let single = |node: &Node| match node {
        Node::Source(SourceIx(ix)) => {
            let source = &sources[*ix].source;
            source.rows.is_none() && source.paths.iter().all(|path| path.path.is_file())
        }
        Node::Target(_) => lineage.is_single(*node),
    };
    let one = draft.target.verb == Verb::All
        || lineage.is_single(Node::Target(ix))
        || (draft.streams.len() == 1 && draft.target.streams.iter().all(single));
    if fields.is_empty() && (draft.target.split || !one) {
        let folder = publish.path.to_string();
        let folder = folder.rsplit_once('/').map_or("out", |(folder, _)| folder).to_owned();
        log.add(
            Mistake::at(draft.publish.clone(), "all documents would be published as one file")
                .help(format!(
                    "name the document in the template, as in {}",
                    quoted(&format!("{folder}/{{id}}.{{ext}}"))
                ))
                .help("publish = true is \"out/{target}/{id}.{ext}\""),
        );
    } else if lineage.makes_children(ix)
        && !fields.iter().any(|field| matches!(field, Field::Id(IdPart::Whole | IdPart::Child)))
    {
        log.add(
            Mistake::at(draft.publish.clone(), "the children of a document would be published as one file")
                .help("a split has many documents: use {id.child} or {id} in the template"),
        );
    }
    let parts = [
        (IdPart::Child, lineage.makes_children(ix), "split"),
        (IdPart::Value, lineage.makes_groups(ix), "group"),
    ];
    for (part, there, verb) in parts {
        let field = Field::Id(part);
        if !there && fields.contains(&&field) {
            let message = format!("the documents of `{}` have no {{{field}}}", draft.target.name);
            let help = format!("only what a `{verb}` makes has it: use {{id}} or another part");
            log.add(Mistake::at(draft.publish.clone(), message).help(help));
        }
    }
}

/// What is published must not come in again, nor lie where the user's files lie.
fn check_place(
    root: &Path,
    sources: &[DraftSource],
    drafts: &[Draft],
    draft: &Draft,
    template: &Template,
    span: &Span,
    log: &Log,
) {
    let name = &draft.target.name;
    let at = || span.clone();
    let folder = template.folder(name);
    let fixed = template.fields().next().is_none();
    if folder.is_empty() && !fixed {
        log.add(
            Mistake::at(at(), format!("`{template}` publishes among your own files"))
                .help(format!("publish into a folder of its own: {}", quoted(&format!("out/{template}")))),
        );
        return;
    }
    let own = if fixed { disk::absolute(root, &template.for_target(name)) } else { root.join(&folder) };
    for source in sources {
        let title = &source.source.name;
        for path in &source.source.paths {
            let read_back = overlaps(&own, &path.path, fixed) && !is_excluded(source, &own, &path.path);
            if read_back {
                let mistake =
                    Mistake::at(at(), format!("target `{name}` would publish into source `{title}`"))
                        .label(format!("`{}` is its folder", path.written))
                        .also(source.span.clone(), "the source")
                        .help("what is published would come in again as documents");
                log.add(match excluding(&own, &path.path) {
                    Some(glob) => mistake.help(format!(
                        "publish elsewhere, or let the source leave it out: exclude = [{glob}]"
                    )),
                    None => mistake.help("publish into a folder of its own, such as \"out\""),
                });
            }
        }
    }
    for reader in drafts {
        for with in &reader.with {
            if let WithSource::File(written, path) = &with.from.value
                && overlaps(&own, path, fixed)
            {
                log.add(
                    Mistake::at(at(), format!("target `{name}` would publish into `{written}`"))
                        .also(
                            with.from.span.clone(),
                            format!("target `{}` reads it here", reader.target.name),
                        )
                        .help("take the target itself as the side input, not what it publishes"),
                );
            }
        }
    }
}

/// Whether files below `own` (or the file `own` itself) may lie in `other`, or are it.
fn overlaps(own: &Path, other: &Path, is_file: bool) -> bool {
    own.starts_with(other) || (!is_file && other.starts_with(own))
}

fn is_excluded(source: &DraftSource, own: &Path, folder: &Path) -> bool {
    let rel = own.strip_prefix(folder).ok().and_then(Path::to_str);
    rel.is_some_and(|rel| !rel.is_empty() && source.globs.as_ref().is_some_and(|globs| globs.excludes(rel)))
}

/// The glob by which a source leaves out what lies below it; nothing where that would be all of it.
fn excluding(own: &Path, folder: &Path) -> Option<String> {
    let rel = own.strip_prefix(folder).ok()?;
    let first = rel.iter().next()?.to_str()?;
    let is_file = rel.components().count() == 1 && rel.extension().is_some();
    Some(quoted(&if is_file { first.to_owned() } else { format!("{first}/**") }))
}
