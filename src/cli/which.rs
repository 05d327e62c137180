//! Which failures a command is about: the flags that `failed` and `retry` share.

use crate::cli::select::select;
use crate::engine::failures::Which;
use crate::error::{Error, Result};
use crate::model::failure::FailureKind;
use crate::model::pipeline::Pipeline;
use crate::model::selection::Glob;
use crate::text::{nearest, shell_word};
use crate::time::{self, Millis};

/// Which failures.
#[derive(clap::Args)]
pub(super) struct Failures {
    /// Only failures of this kind: module-error, crash, timeout, out-of-memory, … (several times: any of them)
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<FailureKind>,

    /// Only failures of this cause, by the name that `pipe failed` gives it (several times: any of them)
    #[arg(long = "cause", value_name = "NAME", value_parser = cause)]
    causes: Vec<String>,

    /// Only what failed since then: 30m, 2h, 3d, 2026-11-23 or "2026-11-23 14:00"
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Millis>,

    /// Only documents whose id the glob matches
    #[arg(long, value_name = "GLOB")]
    docs: Option<String>,
}

impl Failures {
    /// With the targets of these names; none: all.
    pub(super) fn which(&self, pipeline: &Pipeline, names: &[String]) -> Result<Which> {
        if let Some(glob) = &self.docs {
            Glob::new(glob)
                .map_err(|problem| Error::usage(format!("`--docs {glob}` is no glob: {problem}")))?;
        }
        let mut targets = Vec::new();
        if !names.is_empty() {
            targets.extend(select(pipeline, names)?.into_iter().map(|ix| pipeline.target(ix).name.clone()));
        }
        let (kinds, causes, docs) = (self.kinds.clone(), self.causes.clone(), self.docs.clone());
        Ok(Which { targets, kinds, since: self.since, docs, causes })
    }

    /// Whether failures of one target may be left out by kind, time or cause.
    pub(super) fn is_narrow(&self) -> bool {
        !self.kinds.is_empty() || !self.causes.is_empty() || self.since.is_some()
    }

    /// The documents, as the flag that says so.
    pub(super) fn docs_flag(&self) -> String {
        self.docs.as_ref().map(|docs| format!(" --docs {}", shell_word(docs))).unwrap_or_default()
    }
}

fn kind(text: &str) -> std::result::Result<FailureKind, String> {
    let wanted = text.trim().to_lowercase().replace([' ', '_'], "-");
    let name = |kind: FailureKind| kind.words().replace(' ', "-");
    // As messages say it, or as events do.
    let is_it = |kind: &FailureKind| {
        name(*kind) == wanted || serde_json::to_value(kind).is_ok_and(|value| value == wanted.as_str())
    };
    if let Some(kind) = FailureKind::ALL.into_iter().find(is_it) {
        return Ok(kind);
    }
    let names: Vec<String> = FailureKind::ALL.into_iter().map(name).collect();
    Err(match nearest(&wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("there is no such kind of failure; did you mean {near}?"),
        None => format!("there is no such kind of failure; there are {}", names.join(", ")),
    })
}

fn cause(text: &str) -> std::result::Result<String, String> {
    let name = text.trim().to_lowercase();
    let is_name = (4..=8).contains(&name.len()) && name.chars().all(|c| c.is_ascii_hexdigit());
    is_name.then_some(name).ok_or_else(|| "a name such as 3f2a91c0: pipe failed".to_owned())
}

fn since(text: &str) -> std::result::Result<Millis, String> {
    Millis::parse_since(text, time::now())
        .ok_or_else(|| "a time such as 30m, 2h, 3d, 2026-11-23 or \"2026-11-23 14:00\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_called_as_in_messages_and_in_json() {
        assert_eq!(kind("out of memory"), Ok(FailureKind::OutOfMemory));
        assert_eq!(kind("out-of-memory"), Ok(FailureKind::OutOfMemory));
        assert_eq!(kind("Crash"), Ok(FailureKind::Crash));
        for of in FailureKind::ALL {
            let text = serde_json::to_string(&of).unwrap();
            assert_eq!(kind(of.words()), Ok(of));
            if of != FailureKind::Ambiguous {
                assert_eq!(kind(text.trim_matches('"')), Ok(of));
            }
        }
        assert!(kind("crahs").unwrap_err().ends_with("did you mean crash?"));
    }

    #[test]
    fn a_time_is_so_long_ago_or_a_moment() {
        let now = Millis(10_000_000_000);
        let since = |text: &str| Millis::parse_since(text, now);
        assert_eq!(since("2h"), Some(Millis(now.0 - 7_200_000)));
        assert_eq!(since("999999w"), Some(Millis(0)));
        assert!(
            since("2026-11-23")
                .is_some_and(|day| Some(Millis(day.0 + 3_600_000)) == since("2026-11-23 01:00"))
        );
        for wrong in ["", "h", "-1h", "yesterday", "18446744073709551615w", "2026-13-01"] {
            assert_eq!(since(wrong), None, "{wrong}");
        }
    }
}
