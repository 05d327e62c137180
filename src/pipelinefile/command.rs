//! `cmd` and `shell`: what stands in braces, and whether that makes a filter of a command.

use std::ops::Range;

use super::mistake::{Mistake, Span};
use super::section::{At, Log};
use crate::model::pipeline::Program;
use crate::text;

/// What a filter's braces stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Brace {
    In,
    Out,
    /// `{out}/`: a folder.
    OutFolder,
    With(String),
    Param(String),
    /// Something of this shape that means nothing.
    Unknown(String),
}

/// Everything in braces that looks like a name, with its place in the text; `${NAME}` is the shell's own.
pub(super) fn braces(text: &str) -> Vec<(Range<usize>, Brace)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find('{').map(|at| from + at) {
        from = start + 1;
        let Some(end) = text[from..].find('}').map(|at| from + at) else { break };
        let name = &text[from..end];
        let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !first || !rest || text[..start].ends_with('$') {
            continue;
        }
        let brace = match (name, name.split_once('.')) {
            ("in", _) => Brace::In,
            ("out", _) if text[end + 1..].starts_with('/') => Brace::OutFolder,
            ("out", _) => Brace::Out,
            (_, Some(("with", role))) if !role.is_empty() => Brace::With(role.to_owned()),
            (_, Some(("param", param))) if !param.is_empty() => Brace::Param(param.to_owned()),
            _ => Brace::Unknown(name.to_owned()),
        };
        found.push((start..end + 1, brace));
        from = end + 1;
    }
    found
}

/// The braces of a program, whatever its kind.
pub(super) fn braces_of(program: &Program) -> Vec<Brace> {
    let texts: Vec<&str> = match program.inside() {
        Program::Filter(words) => words.iter().map(String::as_str).collect(),
        Program::Shell(script) => vec![script],
        _ => Vec::new(),
    };
    texts.into_iter().flat_map(braces).map(|(_, brace)| brace).collect()
}

/// The words of a command line as `cmd` has them; nothing if a quote is not closed.
pub fn words(command: &str) -> Option<Vec<String>> {
    shell_words::split(command).ok().filter(|words| !words.is_empty())
}

/// Reads `cmd`: words, of which one or more with braces make it a filter.
pub(super) fn cmd(source: &str, written: &At<String>, log: &Log) -> Option<Program> {
    let words = match shell_words::split(&written.value) {
        Ok(words) if !words.is_empty() => words,
        Ok(_) => return None,
        Err(_) => {
            log.add(Mistake::at(written.span.clone(), "`cmd` has a quote that is not closed".to_owned()));
            return None;
        }
    };
    let found = braces(&written.value);
    let unknown: Vec<_> = found.iter().filter(|(_, brace)| matches!(brace, Brace::Unknown(_))).collect();
    for (range, brace) in &unknown {
        note_unknown(source, written, range, brace, log);
    }
    if !unknown.is_empty() {
        return None;
    }
    if let Some(sign) =
        words.iter().find(|word| matches!(word.as_str(), "|" | ">" | "<" | "&&" | "||" | ";" | ">>"))
    {
        log.add(
            Mistake::at(written.span.clone(), format!("`{sign}` means nothing in `cmd`: no shell reads it"))
                .help("say `shell = …` instead of `cmd = …`"),
        );
    }
    Some(if found.is_empty() { Program::Worker(words) } else { Program::Filter(words) })
}

/// Reads `shell`: a script, whose braces may also be those of awk and its like.
pub(super) fn shell(source: &str, written: &At<String>, log: &Log) -> Option<Program> {
    let mut fine = true;
    for (range, brace) in braces(&written.value) {
        let Brace::Unknown(name) = &brace else { continue };
        let meant = name.starts_with("with.") || name.starts_with("param.") || meant(name).is_some();
        if meant {
            note_unknown(source, written, &range, &brace, log);
            fine = false;
        }
    }
    fine.then(|| Program::Shell(written.value.clone()))
}

/// What someone probably means by a name that there is not.
fn meant(name: &str) -> Option<&'static str> {
    match name {
        "input" | "infile" | "file" | "path" | "doc" | "document" | "stdin" => Some("in"),
        "output" | "outfile" | "stdout" | "result" => Some("out"),
        _ => text::nearest(name, ["in", "out"]).map(|near| if near == "in" { "in" } else { "out" }),
    }
}

fn note_unknown(source: &str, written: &At<String>, range: &Range<usize>, brace: &Brace, log: &Log) {
    let Brace::Unknown(name) = brace else { return };
    let span = span_within(source, written, range);
    let mistake = Mistake::at(span.clone(), format!("`{{{name}}}` means nothing here"));
    let exact = span != written.span;
    log.add(match meant(name).filter(|_| exact) {
        Some(near) => mistake.fix("this is probably meant", span, format!("{{{near}}}")),
        None => mistake.help("there are {in}, {out}, {with.NAME} and {param.NAME}"),
    });
}

/// The place of a part of a text; the whole text where escapes hide it.
fn span_within(source: &str, written: &At<String>, range: &Range<usize>) -> Span {
    let raw = source.get(written.span.clone()).unwrap_or_default();
    match raw.find(&written.value) {
        Some(at) => written.span.start + at + range.start..written.span.start + at + range.end,
        None => written.span.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_found_and_those_of_other_languages_left_alone() {
        let of = |text: &str| braces(text).into_iter().map(|(_, brace)| brace).collect::<Vec<_>>();
        assert_eq!(of("sort {in} > {out}"), [Brace::In, Brace::Out]);
        assert_eq!(of("unzip {in} -d {out}/"), [Brace::In, Brace::OutFolder]);
        assert_eq!(of("x {with.model} {param.n}"), [Brace::With("model".into()), Brace::Param("n".into())]);
        assert_eq!(of("awk '{print $1}' ${HOME} a{2} {} {"), []);
        assert_eq!(
            of("awk '{print}' {input}"),
            [Brace::Unknown("print".into()), Brace::Unknown("input".into())]
        );
        assert_eq!(of("{with.} {x{in}"), [Brace::Unknown("with.".into()), Brace::In]);
    }

    #[test]
    fn only_likely_slips_are_mistakes_in_a_shell_script() {
        let written = |text: &str| At { value: text.to_owned(), span: 0..text.len() };
        let log = Log::default();
        assert!(shell("", &written("awk '{print}' {in}"), &log).is_some());
        assert!(shell("", &written("wc {input}"), &log).is_none());
        assert!(cmd("", &written("wc {inn}"), &log).is_none());
        assert_eq!(
            cmd("", &written("node a.js"), &log),
            Some(Program::Worker(vec!["node".into(), "a.js".into()]))
        );
        assert_eq!(log.into_list().len(), 2);
    }
}
