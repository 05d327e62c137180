//! The end of a build as GitHub shows it: an annotation for each cause of failures, and a page for the job's summary.
//!
//! Makes texts; whoever calls knows whether this is GitHub, and where they go.

use std::time::Duration;

use crate::error::Error;
use crate::model::event::{Cause, Summary};
use crate::text;

/// One line for each cause, the most frequent first: GitHub shows ten of a kind in a step.
/// `within`: the project's folder in the repository, to which annotations are relative.
pub fn annotations(summary: &Summary, within: &str) -> Vec<String> {
    let stopped = summary.stopped.as_ref().map(|stopped| {
        format!("::error title=pipe build did not finish::{}", data(&text::printable(&stopped.words())))
    });
    stopped.into_iter().chain(summary.causes.iter().map(|cause| annotation(cause, within))).collect()
}

/// The annotation of a build that ended with an error, or that was refused before it began.
pub fn error_annotation(error: &Error) -> String {
    let lines: Vec<&str> = std::iter::once(&error.message).chain(&error.causes).map(String::as_str).collect();
    format!("::error title=pipe build could not finish::{}", data(&shown(&lines.join("\n"))))
}

/// The same as a page in Markdown.
pub fn error_page(error: &Error) -> String {
    let plain = |text: &str| text::printable(text).replace('`', "'");
    let mut page = format!("## pipe: could not finish\n\n{}.\n", plain(&error.message));
    page.extend(error.causes.iter().map(|cause| format!("\n* `{}`", plain(cause))));
    page + "\n"
}

fn annotation(cause: &Cause, within: &str) -> String {
    let place = cause.failure.place.as_deref().unwrap_or_default();
    let (file, line) = match place.rsplit_once(':') {
        Some((file, line)) if line.bytes().all(|b| b.is_ascii_digit()) && !line.is_empty() => (file, line),
        _ => (place, ""),
    };
    let file =
        if file.is_empty() || within.is_empty() { file.to_owned() } else { format!("{within}/{file}") };
    let mut properties = Vec::new();
    for (name, value) in [("file", file.as_str()), ("line", line)] {
        if !value.is_empty() {
            properties.push(format!("{name}={}", property(value)));
        }
    }
    let title = format!("{}: {} failed", cause.target, text::count(cause.count, "document"));
    properties.push(format!("title={}", property(&title)));
    let samples = cause.samples.join(", ");
    let message = format!("{}\ne.g. {samples}\npipe failed {}", cause.failure.summary(), cause.target);
    format!("::error {}::{}", properties.join(","), data(&shown(&message)))
}

/// Each line without what a terminal or a log would act on.
fn shown(message: &str) -> String {
    message.lines().map(text::printable).collect::<Vec<_>>().join("\n")
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A page in Markdown.
pub fn page(summary: &Summary) -> String {
    let run = summary.run.map(|run| format!(" run {run}")).unwrap_or_default();
    let took = text::duration(Duration::from_millis(summary.milliseconds));
    let word = match summary.exit_code() {
        0 if summary.causes.is_empty() => "all up to date",
        0 => "done, with failures that are allowed",
        1 => "some documents failed",
        _ => "could not finish",
    };
    // Two of these signs would be a formula.
    let counted = text::amounts(summary.counts()).replace('$', "\\$");
    let counted = if counted.is_empty() { counted } else { format!(" Counted: {counted}.") };
    let mut out = format!(
        "## pipe{run}: {word}\n\n{} in {took}, {} up to date before.{counted}\n\n",
        text::count(summary.documents, "document"),
        text::thousands(summary.up_to_date)
    );
    if let Some(stopped) = &summary.stopped {
        out.extend([format!(
            "It did not finish: {}.\n\n",
            text::printable(&stopped.words()).replace('`', "'")
        )]);
    }
    let touched =
        summary.targets.iter().filter(|t| t.built + t.reused + t.skipped + t.failed + t.blocked > 0);
    let rows: Vec<String> = touched
        .map(|t| {
            let counts = [t.built, t.reused, t.skipped, t.failed, t.blocked].map(text::thousands);
            format!("| {} | {} |\n", t.target, counts.join(" | "))
        })
        .collect();
    if !rows.is_empty() {
        out.push_str("| target | built | reused | skipped | failed | blocked |\n|---|---|---|---|---|---|\n");
        out.push_str(&rows.concat());
    }
    for cause in &summary.causes {
        let place = cause.failure.place.as_ref().map(|place| format!(" (`{place}`)")).unwrap_or_default();
        let shown = text::printable(&cause.failure.summary()).replace('`', "'");
        out.extend([format!(
            "\n* **{}× {}** `{shown}`{place}, e.g. `{}`\n",
            text::thousands(cause.count),
            cause.target,
            cause.samples.first().map(|sample| sample.replace('`', "'")).unwrap_or_default()
        )]);
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_annotation_and_a_page() {
        let mut error = Error::unfinished("100% too much");
        error.causes = vec!["words: `4` of 4".into(), "top: 4 of 4".into()];
        assert_eq!(
            error_annotation(&error),
            "::error title=pipe build could not finish::100%25 too much%0Awords: `4` of 4%0Atop: 4 of 4"
        );
        let page = "## pipe: could not finish\n\n100% too much.\n\n* `words: '4' of 4`\n* `top: 4 of 4`\n";
        assert_eq!(error_page(&error), page);
    }
    use crate::model::event::TargetCounts;
    use crate::model::failure::{Failure, FailureKind};

    fn summary() -> Summary {
        let mut failure = Failure::new(FailureKind::ModuleError, "ValueError", "50% is `bad`\nreally");
        failure.place = Some("modules/a,b.py:41".into());
        let samples = vec!["in/a.txt".into(), "in/b.txt".into()];
        Summary {
            run: Some(7),
            documents: 1200,
            up_to_date: 1000,
            milliseconds: 3000,
            targets: vec![TargetCounts {
                target: "ocr".into(),
                built: 198,
                failed: 2,
                ..TargetCounts::default()
            }],
            causes: vec![Cause {
                target: "ocr".into(),
                failure,
                count: 2,
                samples,
                set_aside: 0,
                reopened: 0,
                behind: std::collections::BTreeMap::default(),
            }],
            ..Summary::default()
        }
    }

    #[test]
    fn an_annotation_points_at_the_line_of_the_module() {
        let expected = "::error file=modules/a%2Cb.py,line=41,title=ocr%3A 2 documents failed::\
            ValueError: 50%25 is `bad`%0Ae.g. in/a.txt, in/b.txt%0Apipe failed ocr";
        assert_eq!(annotations(&summary(), ""), [expected]);
        assert!(annotations(&summary(), "etl")[0].starts_with("::error file=etl/modules/a%2Cb.py,line=41"));
    }

    #[test]
    fn the_page_counts_targets_and_names_causes() {
        let expected = "\
## pipe run 7: some documents failed

1,200 documents in 3.0 s, 1,000 up to date before.

| target | built | reused | skipped | failed | blocked |
|---|---|---|---|---|---|
| ocr | 198 | 0 | 0 | 2 | 0 |

* **2× ocr** `ValueError: 50% is 'bad'` (`modules/a,b.py:41`), e.g. `in/a.txt`

";
        assert_eq!(page(&summary()), expected);
        let mut paid = summary();
        paid.targets[0].counts.extend([("usd".to_owned(), 1.2), ("tokens".to_owned(), 4800.0)]);
        let shown = "1,000 up to date before. Counted: 4,800 tokens, \\$1.20.\n";
        assert!(page(&paid).contains(shown), "{}", page(&paid));
    }
}
