use super::outline::outline;
use super::{Edge, Graph, Vertex, dot, mermaid};

fn graph() -> Graph {
    let target = |name: &str, verb: &str, module: &str, publish: Option<&str>| Vertex {
        verb: Some(verb.to_owned()),
        modules: vec![module.to_owned()],
        publish: publish.map(str::to_owned),
        ..Vertex::new(name.to_owned(), "target")
    };
    let edge = |from: &str, to: &str, with: Option<&str>| Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        with: with.map(str::to_owned),
    };
    let mut inbox = Vertex::new("inbox".to_owned(), "source");
    inbox.paths = vec!["in".to_owned(), "older \"one\"".to_owned()];
    Graph {
        nodes: vec![
            inbox,
            target("words", "each", "words", None),
            target("model", "all", "keywords:model", None),
            target("keywords", "each", "keywords", Some("out/{id}.json")),
            Vertex::new("file:stop.txt".to_owned(), "file"),
            target("index", "all", "its own command", Some("out/index")),
        ],
        edges: vec![
            edge("inbox", "words", None),
            edge("file:stop.txt", "words", Some("stop")),
            edge("words", "model", None),
            edge("words", "keywords", None),
            edge("model", "keywords", Some("model")),
            edge("keywords", "index", None),
            edge("words", "index", None),
        ],
    }
}

#[test]
fn every_target_stands_once_below_its_first_stream() {
    let expected = "\
inbox           source               in, older \"one\"
└─ words        each words           with stop = file:stop.txt
   ├─ model     all keywords:model
   └─ keywords  each keywords        with model → out/{id}.json
      └─ index  all its own command  and words → out/index
";
    assert_eq!(outline(&graph()), expected);
}

#[test]
fn drawing_programs_get_every_node_and_edge() {
    let drawn = dot(&graph());
    assert!(
        drawn.contains("  \"inbox\" [shape = folder, label = \"inbox\\nin, older \\\"one\\\"\"];"),
        "{drawn}"
    );
    assert!(drawn.contains("  \"model\" -> \"keywords\" [style = dashed, label = \"model\"];"), "{drawn}");
    let drawn = mermaid(&graph());
    assert!(drawn.contains("  n1[\"words<br>each words\"]\n"), "{drawn}");
    assert!(drawn.contains("  n2 -. \"model\" .-> n3\n  n3 --> n5\n"), "{drawn}");
}
