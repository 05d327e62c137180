//! `pipe graph`: the pipeline as text, or for a drawing program.

mod outline;

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::error::Result;
use crate::model::pipeline::{
    BranchAction, Call, Node, Pipeline, SourceIx, Target, TargetIx, Verb, WithFrom,
};
use crate::project::Project;

/// Show the pipeline: what takes what from where
///
/// As text, each target stands below the first stream that it takes. The other formats are for programs that draw:
/// `pipe graph --format dot | dot -Tsvg > graph.svg`, or Mermaid in Markdown.
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
        let graph = Graph::of(project.pipeline());
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

    fn add_target(&mut self, pipeline: &Pipeline, target: &Target) {
        let mut vertex = Vertex::new(target.name.clone(), "target");
        vertex.verb = Some(match target.verb {
            Verb::Each if target.split => "split".to_owned(),
            Verb::Each => "each".to_owned(),
            Verb::All if target.reduce => "reduce".to_owned(),
            Verb::All => "all".to_owned(),
            Verb::Group => format!("group by {}", target.by.as_deref().unwrap_or_default()),
        });
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
        Vertex { name, kind, paths: Vec::new(), verb: None, modules: Vec::new(), publish: None }
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
        let label =
            if detail.is_empty() { quote(&node.name) } else { quote(&format!("{}\n{detail}", node.name)) };
        let label = label.replace('\n', "\\n");
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
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "#quot;"));
    let number = |name: &str| graph.nodes.iter().position(|node| node.name == name).unwrap_or_default();
    let mut lines = vec!["flowchart LR".to_owned()];
    for (n, node) in graph.nodes.iter().enumerate() {
        let shaped = match node.kind {
            "source" => format!("[({})]", quote(&node.name)),
            "file" => format!(">{}]", quote(&node.name)),
            _ => format!("[{}]", quote(&format!("{}<br>{}", node.name, describe(node)))),
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
