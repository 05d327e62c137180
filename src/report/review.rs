//! Documents beside what was made of them, as one HTML page that needs nothing else: to be looked through by people.
//!
//! Whatever a document holds is shown as text: nothing of it is markup, nothing runs, nothing is fetched.

use crate::query::ls::Pair;
use crate::query::pairs::Shown;
use crate::report::run::escaped;
use crate::text;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--faint:#888}\
body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;padding:0 1rem}\
h1{font-size:1.4rem;margin:0}h2{font-size:1rem;margin:2rem 0 .3rem;overflow-wrap:anywhere}p{margin:.2rem 0}\
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}.pair>div{min-width:0}\
pre{margin:0;padding:.7rem;border:1px solid var(--line);max-height:32rem;overflow:auto;font-size:13px;\
white-space:pre-wrap;overflow-wrap:anywhere}img{max-width:100%;max-height:32rem;border:1px solid var(--line)}\
.faint{color:var(--faint)}.bad{color:#c33}code{font-size:13px;overflow-wrap:anywhere}\
@media(max-width:50rem){.pair{grid-template-columns:1fr}}";

/// A page that is made pair by pair.
pub struct Review {
    out: String,
}

impl Review {
    /// The page of a stream: `headline` says what is on it.
    pub fn new(stream: &str, headline: &str) -> Self {
        let (stream, headline) = (escaped(stream), escaped(headline));
        let out = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
             <title>pipe: {stream}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{stream}</h1>\n<p>{headline}</p>\n"
        );
        Review { out }
    }

    /// Adds a document.
    pub fn add(&mut self, pair: &Pair) {
        let Pair { listed, sides } = pair;
        self.out.extend([format!("<h2>{}</h2>\n", escaped(&listed.id))]);
        if !sides.meta.is_empty() {
            let meta = serde_json::Value::Object(sides.meta.clone()).to_string();
            self.out.extend([format!("<p class=\"faint\"><code>{}</code></p>\n", escaped(&meta))]);
        }
        let output = match (&sides.output, &listed.failure) {
            (Some(shown), _) => element(shown),
            (None, Some(failure)) => {
                let traceback = failure.traceback.as_deref().unwrap_or_default();
                let text = format!("{}\n{traceback}", failure.summary());
                format!("<pre class=\"bad\">{}</pre>\n", escaped(text.trim_end()))
            }
            (None, None) => {
                let note = [listed.state.word(), listed.note.as_str()].join(" ");
                format!("<p class=\"faint\">{}</p>\n", escaped(note.trim_end()))
            }
        };
        match &sides.input {
            Some(input) => {
                let input = element(input);
                self.out
                    .extend([format!("<div class=\"pair\"><div>{input}</div>\n<div>{output}</div></div>\n")]);
            }
            None => self.out.push_str(&output),
        }
    }

    /// The whole page.
    pub fn end(mut self) -> String {
        self.out.push_str("</body>\n</html>\n");
        self.out
    }
}

fn element(shown: &Shown) -> String {
    match shown {
        Shown::Text { text, more } => {
            let more = match more {
                0 => String::new(),
                more => format!("<p class=\"faint\">… {} more</p>\n", escaped(&text::size(*more))),
            };
            format!("<pre>{}</pre>\n{more}", escaped(text))
        }
        Shown::Picture { mime, base64 } => {
            format!("<img alt=\"\" src=\"data:{};base64,{}\">\n", escaped(mime), escaped(base64))
        }
        Shown::Other { what } => format!("<p class=\"faint\">{}</p>\n", escaped(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::State;
    use crate::model::failure::{Failure, FailureKind};
    use crate::query::ls::Listed;
    use crate::query::pairs::Sides;

    fn listed(id: &str, state: State) -> Listed {
        let (ext, size, digest, failure, note) = (None, None, None, None, String::new());
        Listed { id: id.into(), state, ext, size, digest, failure, note }
    }

    #[test]
    fn nothing_of_a_document_is_markup() {
        let evil = "</pre><script>alert(1)</script>\" onload=\"";
        let text = |text: &str| Shown::Text { text: text.into(), more: 12 };
        let mut failure = Failure::new(FailureKind::ModuleError, "ValueError", evil);
        failure.traceback = Some(evil.into());
        let mut page = Review::new(evil, evil);
        let mut meta = crate::model::document::Meta::new();
        meta.insert(evil.into(), evil.into());
        let picture = Some(Shown::Picture { mime: evil.into(), base64: evil.into() });
        let sides = Sides { meta, input: Some(text(evil)), output: picture };
        page.add(&Pair { listed: listed(evil, State::Done), sides });
        let failed = Listed { failure: Some(failure), ..listed("b", State::Failed) };
        let other = Some(Shown::Other { what: evil.into() });
        page.add(&Pair { listed: failed, sides: Sides { input: other, ..Sides::default() } });
        let skipped = Listed { note: evil.into(), ..listed("c", State::Skipped) };
        page.add(&Pair { listed: skipped, sides: Sides::default() });
        let page = page.end();
        assert!(!page.contains("<script") && !page.contains("\" onload="), "{page}");
        assert!(page.contains("… 12 B more"));
    }
}
