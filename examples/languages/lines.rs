//! Keeps the lines of a text that are long enough. A worker in Rust: `cargo run --example lines`.
#![expect(clippy::print_stderr, reason = "what goes there is the log of the document")]

use pipelinefile::module::author::{Answer, Doc, Fault, Worker};

fn lines(doc: &Doc<'_>) -> Result<Answer, Fault> {
    let min_len: usize = doc.param("min_len")?;
    let text = doc.text()?;
    let mut kept: Vec<&str> = text.lines().filter(|line| line.chars().count() >= min_len).collect();
    eprintln!("kept {} lines", kept.len()); // goes to the document's log
    kept.push(""); // the last line has an end too
    Ok(Answer::text(kept.join("\n")))
}

fn main() {
    Worker::new("lines").param("min_len", "int", Some(3.into())).run(lines);
}
