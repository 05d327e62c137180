//! Mistakes of a Pipelinefile: where, what, what to do, and how they are drawn. The owner of `annotate-snippets`.
//! Knows nothing of the language: whoever finds a mistake says all that is shown.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use crate::error::Error;
use crate::text;

/// Bytes of the Pipelinefile.
pub type Span = Range<usize>;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file's own text is wrong: there is no pipeline.
    Text,
    /// The text is right, but a file or folder that it names is not there.
    Disk,
    /// Probably not meant; nothing is stopped.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong: lower case, no final period.
    pub message: String,
    /// Where; absent where the file is not to blame (`-D`).
    pub span: Option<Span>,
    /// What stands at the caret.
    pub label: String,
    /// Other places that belong to it.
    pub also: Vec<(Span, String)>,
    /// What to do.
    pub help: Vec<String>,
    /// A change of the text that puts it right.
    pub fix: Option<Fix>,
}

/// A change of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does.
    pub title: String,
    /// What is replaced.
    pub span: Span,
    /// What comes instead.
    pub text: String,
}

impl Mistake {
    /// A mistake at a place of the file.
    pub fn at(span: Span, message: impl Into<String>) -> Mistake {
        Mistake { span: Some(span), ..Mistake::nowhere(message) }
    }

    /// A mistake that has no place in the file.
    pub fn nowhere(message: impl Into<String>) -> Mistake {
        Mistake {
            severity: Severity::Text,
            message: message.into(),
            span: None,
            label: String::new(),
            also: Vec::new(),
            help: Vec::new(),
            fix: None,
        }
    }

    /// Says what stands at the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Mistake {
        self.label = label.into();
        self
    }

    /// Shows another place.
    #[must_use]
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Mistake {
        self.also.push((span, label.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Mistake {
        self.help.push(help.into());
        self
    }

    /// Offers a change of the text.
    #[must_use]
    pub fn fix(mut self, title: impl Into<String>, span: Span, text: impl Into<String>) -> Mistake {
        self.fix = Some(Fix { title: title.into(), span, text: text.into() });
        self
    }

    /// It lies on the disk, not in the text.
    #[must_use]
    pub fn on_disk(mut self) -> Mistake {
        self.severity = Severity::Disk;
        self
    }

    /// It stops nothing.
    #[must_use]
    pub fn warning(mut self) -> Mistake {
        self.severity = Severity::Warning;
        self
    }
}

/// The mistakes of one Pipelinefile, with what is needed to draw them.
#[derive(Clone, Debug, Default)]
pub struct Mistakes {
    /// In the order of the file; those without a place come last.
    pub list: Vec<Mistake>,
    /// The file's name as it is shown.
    pub name: String,
    /// The text of the file.
    pub text: Arc<str>,
}

impl Mistakes {
    /// Puts mistakes in order; the same one is said once.
    pub fn new(mut list: Vec<Mistake>, name: &str, text: Arc<str>) -> Mistakes {
        list.sort_by_key(|mistake| {
            mistake.span.as_ref().map_or((usize::MAX, 0), |span| (span.start, span.end))
        });
        list.dedup();
        Mistakes { list, name: name.to_owned(), text }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, drawn; ends with a line break.
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Colour => Renderer::styled().decor_style(DecorStyle::Unicode),
        };
        let drawn = self.list.iter().map(|mistake| renderer.render(&self.report(mistake)) + "\n");
        drawn.collect::<Vec<_>>().join("\n")
    }

    /// The error that ends the command: exit 2, with all of them as its report.
    pub fn into_error(self, style: Style) -> Error {
        let report = self.render(style);
        let errors = self.list.iter().filter(|mistake| mistake.severity != Severity::Warning).count();
        let mut error = Error::usage(format!("{} has {}", self.name, text::count(errors as u64, "mistake")));
        error.report = Some(report);
        error
    }

    fn report<'a>(&'a self, mistake: &'a Mistake) -> Vec<Group<'a>> {
        let level = match mistake.severity {
            Severity::Text | Severity::Disk => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(text::printable(&mistake.message)));
        if let Some(span) = &mistake.span {
            let label = |label: &str| (!label.is_empty()).then(|| text::printable(label));
            let also = mistake
                .also
                .iter()
                .map(|(span, text)| AnnotationKind::Context.span(self.inside(span)).label(label(text)));
            let snippet = Snippet::source(&*self.text)
                .path(self.name.as_str())
                .annotation(AnnotationKind::Primary.span(self.inside(span)).label(label(&mistake.label)))
                .annotations(also);
            group = group.element(snippet);
        }
        for help in &mistake.help {
            group = group.element(Level::HELP.message(text::printable(help)));
        }
        let fix = mistake.fix.as_ref().map(|fix| {
            let patch = Patch::new(self.inside(&fix.span), fix.text.as_str());
            let snippet = Snippet::source(&*self.text).path(self.name.as_str()).patch(patch);
            Group::with_title(Level::HELP.secondary_title(text::printable(&fix.title))).element(snippet)
        });
        std::iter::once(group).chain(fix).collect()
    }

    /// A span that lies within the text and on characters, whoever made it.
    fn inside(&self, span: &Span) -> Span {
        let (mut start, mut end) = (span.start.min(self.text.len()), span.end.min(self.text.len()));
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        start = start.min(end);
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        start..end
    }
}

/// How mistakes are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without colour, in ASCII.
    Plain,
    /// For a terminal.
    Colour,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_drawn_with_place_caret_and_patch() {
        let text = "[target.a]\neach = \"inbx\"\n";
        let mistake = Mistake::at(18..24, "there is no stream `inbx`").label("not found").fix(
            "a source has a similar name: `inbox`",
            18..24,
            "\"inbox\"",
        );
        let mistakes = Mistakes::new(vec![mistake], "Pipelinefile", text.into());
        let drawn = mistakes.render(Style::Plain);
        assert!(drawn.contains("error: there is no stream `inbx`"), "{drawn}");
        assert!(drawn.contains("--> Pipelinefile:2:8"), "{drawn}");
        assert!(drawn.contains("^^^^^^ not found"), "{drawn}");
        assert!(drawn.contains("2 | each = \"inbox\""), "{drawn}");
        assert!(!drawn.contains('\u{1b}') && mistakes.render(Style::Colour).contains('\u{1b}'));
        let error = mistakes.into_error(Style::Plain);
        assert_eq!((error.to_string().as_str(), error.kind.exit_code()), ("Pipelinefile has 1 mistake", 2));
    }

    #[test]
    fn a_place_outside_the_text_is_no_panic() {
        let list = vec![Mistake::at(3..900, "é"), Mistake::at(1..2, "x").also(50..60, "y")];
        Mistakes::new(list, "Pipelinefile", "éé".into()).render(Style::Colour);
        Mistakes::new(vec![Mistake::at(0..0, "empty")], "Pipelinefile", "".into()).render(Style::Plain);
    }
}
