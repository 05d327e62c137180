//! The pipeline as a tree of lines: every target once, below the first stream that it takes.

use super::{Graph, Vertex, counted, describe};

/// A line before its columns are aligned.
struct Row {
    tree: String,
    what: String,
    counts: String,
    more: String,
}

/// The whole graph; ends with a line break.
pub(super) fn outline(graph: &Graph) -> String {
    let mut rows = Vec::new();
    for source in graph.nodes.iter().filter(|node| node.kind == "source") {
        rows.push(Row {
            tree: source.name.clone(),
            what: "source".to_owned(),
            counts: counted(source),
            more: source.paths.join(", "),
        });
        add_below(graph, &source.name, "", &mut rows);
    }
    let width =
        |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (tree, what) = (width(|row| &row.tree), width(|row| &row.what));
    let counts = width(|row| &row.counts);
    let lines = rows.iter().map(|row| {
        let counts = if counts == 0 { String::new() } else { format!("{:counts$}  ", row.counts) };
        let line = format!("{:tree$}  {:what$}  {counts}{}", row.tree, row.what, row.more);
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// The targets whose first stream this is.
fn add_below(graph: &Graph, name: &str, indent: &str, rows: &mut Vec<Row>) {
    let below: Vec<&Vertex> =
        graph.nodes.iter().filter(|node| first_stream(graph, node) == Some(name)).collect();
    for (at, target) in below.iter().enumerate() {
        let last = at + 1 == below.len();
        let (branch, deeper) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        rows.push(Row {
            tree: format!("{indent}{branch}{}", target.name),
            what: describe(target),
            counts: counted(target),
            more: more(graph, target),
        });
        add_below(graph, &target.name, &format!("{indent}{deeper}"), rows);
    }
}

fn first_stream<'g>(graph: &'g Graph, node: &Vertex) -> Option<&'g str> {
    let edge = graph.edges.iter().find(|edge| edge.to == node.name && edge.with.is_none())?;
    Some(&edge.from)
}

/// What else it takes, and where its results are published: `and b, with model = model  →  out/index.json`.
fn more(graph: &Graph, target: &Vertex) -> String {
    let edges = || graph.edges.iter().filter(|edge| edge.to == target.name);
    let others: Vec<&str> =
        edges().filter(|edge| edge.with.is_none()).skip(1).map(|edge| edge.from.as_str()).collect();
    let with: Vec<String> = edges()
        .filter_map(|edge| match edge.with.as_deref()? {
            "by" => Some(format!("by {}", edge.from)),
            name if name == edge.from => Some(format!("with {name}")),
            name => Some(format!("with {name} = {}", edge.from)),
        })
        .collect();
    let mut parts = Vec::new();
    if !others.is_empty() {
        parts.push(format!("and {}", others.join(", ")));
    }
    parts.extend(with);
    let taken = parts.join(", ");
    match &target.publish {
        Some(path) if taken.is_empty() => format!("→ {path}"),
        Some(path) => format!("{taken} → {path}"),
        None => taken,
    }
}
