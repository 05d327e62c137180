//! `pipe graph`: the pipeline as text, or for a drawing program.

mod outline;

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::{ask, status};
use crate::error::Result;
use crate::model::pipeline::{BranchAction, Call, Node, Pipeline, SourceIx, Target, TargetIx, WithFrom};
use crate::project::Project;
use crate::query::status::TargetStatus;
use crate::query::{Answer, Question};
use crate::text;

/// Show the pipeline: what takes what from where
///
/// As text, each target stands below the first stream that it takes. The other formats are for programs that draw:
/// `pipe graph --format dot | dot -Tsvg > graph.svg`, or Mermaid in Markdown. Once something was built, each says how many
/// documents it has, and what became of the others; the sources are not looked at for that.
#[derive(clap::Args)]
pub(super) struct Args {
    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A tree for people
    Text,
    /// Graphviz
    Dot,
    /// Mermaid
    Mermaid,
    /// JSON; so does --json
    Json,
}

/// The pipeline as it is drawn.
#[derive(Serialize)]
struct Graph {
    nodes: Vec<Vertex>,
    edges: Vec<Edge>,
}

/// A source, a target, or a file that is a side input.
#[derive(Serialize)]
struct Vertex {
    name: String,
    /// `source`, `target` or `file`.
    kind: &'static str,
    /// The folders of a source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<String>,
    /// Several with a route.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modules: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<String>,
    /// Of a source that was built: its documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<u64>,
    /// Of a target that was built: as in `pipe status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<TargetStatus>,
}

/// From a stream or a file to a target.
#[derive(Serialize)]
struct Edge {
    from: String,
    to: String,
    /// The name of a side input; absent: the stream that the target's verb takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<String>,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_reading(&global.locate(out.talk_has_colour()))?;
        let mut graph = Graph::of(project.pipeline());
        if project.store_dir.join("FORMAT").exists() {
            graph.count(&project, out)?;
        }
        match self.format {
            _ if out.is_json() => out.json_line("graph", &graph)?,
            Format::Json => out.json_line("graph", &graph)?,
            Format::Text => out.bytes(outline::outline(&graph).as_bytes())?,
            Format::Dot => out.bytes(dot(&graph).as_bytes())?,
            Format::Mermaid => out.bytes(mermaid(&graph).as_bytes())?,
        }
        Ok(Exit::FINE)
    }
}

impl Graph {
    fn of(pipeline: &Pipeline) -> Graph {
        let mut graph = Graph { nodes: Vec::new(), edges: Vec::new() };
        for ix in 0..pipeline.sources.len() {
            let source = pipeline.source(SourceIx(ix));
            let mut vertex = Vertex::new(source.name.clone(), "source");
            vertex.paths = source.paths.iter().map(|path| path.written.clone()).collect();
            graph.nodes.push(vertex);
        }
        for ix in 0..pipeline.targets.len() {
            graph.add_target(pipeline, pipeline.target(TargetIx(ix)));
        }
        graph
    }

    /// Adds what the store knows of sources and targets.
    fn count(&mut self, project: &Project, out: &mut Output) -> Result<()> {
        let Some(Answer::Counts(counts)) = ask::ask_one(project, &Question::Counts, out)?.0 else {
            return Ok(());
        };
        if !counts.is_built {
            return Ok(());
        }
        for node in &mut self.nodes {
            let source = counts.sources.iter().find(|(name, _)| *name == node.name);
            node.documents = source.filter(|_| node.kind == "source").map(|(_, documents)| *documents);
            let target = counts.targets.iter().find(|target| target.target == node.name);
            node.counts = target.filter(|_| node.kind == "target").cloned();
        }
        Ok(())
    }

    fn add_target(&mut self, pipeline: &Pipeline, target: &Target) {
        let mut vertex = Vertex::new(target.name.clone(), "target");
        vertex.verb = Some(target.shape());
        vertex.modules = modules(pipeline, target);
        vertex.publish = target.publish.as_ref().map(|publish| publish.path.to_string());
        self.nodes.push(vertex);
        let to = || target.name.clone();
        for stream in &target.streams {
            self.edges.push(Edge { from: pipeline.node_name(*stream).to_owned(), to: to(), with: None });
        }
        for with in &target.with {
            let from = match &with.from {
                WithFrom::Document(node) | WithFrom::Value(node) => pipeline.node_name(*node).to_owned(),
                WithFrom::Shared(ix) => pipeline.node_name(Node::Target(*ix)).to_owned(),
                WithFrom::File(written, _) => {
                    let name = format!("file:{written}");
                    if !self.nodes.iter().any(|node| node.name == name) {
                        self.nodes.push(Vertex::new(name.clone(), "file"));
                    }
                    name
                }
            };
            self.edges.push(Edge { from, to: to(), with: Some(with.name.clone()) });
        }
        if let Some(by) = target.by.as_ref().and_then(|by| by.strip_prefix("target:")) {
            self.edges.push(Edge { from: by.to_owned(), to: to(), with: Some("by".to_owned()) });
        }
    }
}

impl Vertex {
    fn new(name: String, kind: &'static str) -> Vertex {
        Vertex {
            name,
            kind,
            paths: Vec::new(),
            verb: None,
            modules: Vec::new(),
            publish: None,
            documents: None,
            counts: None,
        }
    }
}

/// The modules of a target; an anonymous command is called as what it is.
fn modules(pipeline: &Pipeline, target: &Target) -> Vec<String> {
    let name = |ix| {
        let module = pipeline.module(ix);
        if module.name == target.name && module.program.is_filter() {
            "its own command".to_owned()
        } else {
            module.name.clone()
        }
    };
    match &target.call {
        Call::Module(ix) => vec![name(*ix)],
        Call::Route(branches) => {
            let called = branches.iter().map(|branch| match branch.action {
                BranchAction::Module(ix) => name(ix),
                BranchAction::Skip => "skip".to_owned(),
                BranchAction::Fail => "fail".to_owned(),
                BranchAction::Pass => "pass".to_owned(),
            });
            called.collect()
        }
    }
}

/// How many documents it has, and what became of the others; empty while nothing was built.
fn counted(node: &Vertex) -> String {
    match (&node.counts, node.documents) {
        (Some(counts), _) if node.publish.is_some() => {
            let published = format!("{} published", text::thousands(counts.published));
            [status::counted(counts), published].join("; ")
        }
        (Some(counts), _) => status::counted(counts),
        (None, Some(documents)) => text::count(documents, "document"),
        (None, None) => String::new(),
    }
}

fn dot(graph: &Graph) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut lines =
        vec!["digraph pipeline {".to_owned(), "  rankdir = LR; node [fontname = sans];".to_owned()];
    for node in &graph.nodes {
        let (shape, detail) = match node.kind {
            "source" => ("folder", node.paths.join(", ")),
            "file" => ("note", String::new()),
            _ => ("box", describe(node)),
        };
        let parts = [node.name.clone(), detail, counted(node)];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let label = quote(&parts.join("\n")).replace('\n', "\\n");
        lines.push(format!("  {} [shape = {shape}, label = {label}];", quote(&node.name)));
    }
    for edge in &graph.edges {
        let style = edge.with.as_ref().map(|with| format!(" [style = dashed, label = {}]", quote(with)));
        lines.push(format!("  {} -> {}{};", quote(&edge.from), quote(&edge.to), style.unwrap_or_default()));
    }
    lines.push("}\n".to_owned());
    lines.join("\n")
}

fn mermaid(graph: &Graph) -> String {
    let below = |parts: &[&str]| {
        let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
        parts.join("<br>")
    };
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "#quot;"));
    let number = |name: &str| graph.nodes.iter().position(|node| node.name == name).unwrap_or_default();
    let mut lines = vec!["flowchart LR".to_owned()];
    for (n, node) in graph.nodes.iter().enumerate() {
        let shaped = match node.kind {
            "source" => format!("[({})]", quote(&below(&[&node.name, &counted(node)]))),
            "file" => format!(">{}]", quote(&node.name)),
            _ => format!("[{}]", quote(&below(&[&node.name, &describe(node), &counted(node)]))),
        };
        lines.push(format!("  n{n}{shaped}"));
    }
    for edge in &graph.edges {
        let arrow =
            edge.with.as_ref().map_or_else(|| "-->".to_owned(), |with| format!("-. {} .->", quote(with)));
        lines.push(format!("  n{} {arrow} n{}", number(&edge.from), number(&edge.to)));
    }
    lines.join("\n") + "\n"
}

/// `each words`; with a route `each ocr | pdftext`.
fn describe(node: &Vertex) -> String {
    format!("{} {}", node.verb.as_deref().unwrap_or_default(), node.modules.join(" | ")).trim().to_owned()
}

#[cfg(test)]
mod tests;
