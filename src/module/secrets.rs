//! Values that are shown nowhere: what a module says of them is made unreadable before anybody hears or keeps it.
//!
//! Knows no names of variables and no rules of who may have which.

use crate::model::failure::Failure;
use crate::module::report::{Done, Report};

/// What stands in their place, as often as a value has bytes.
const MASK: u8 = b'*';
/// A shorter value says nothing, and would be found in every text.
const SHORTEST: usize = 4;

/// The values of a module's secrets.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Of the environment's variables of these names.
    pub(super) fn of(names: &[String]) -> Self {
        use std::os::unix::ffi::OsStringExt;
        let values = names.iter().filter_map(|name| crate::env::declared(name)).map(OsStringExt::into_vec);
        Self::new(values.collect())
    }

    fn new(mut values: Vec<Vec<u8>>) -> Self {
        values.retain(|value| value.len() >= SHORTEST);
        // One may begin with another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Secrets(values)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The most bytes of a value that an end of a text may hold without being hidden.
    pub(super) fn overlap(&self) -> u64 {
        self.0.first().map_or(0, |longest| longest.len() as u64 - 1)
    }

    /// Hides all of them; the length stays. Whether there was any.
    pub(super) fn hide_bytes(&self, bytes: &mut [u8]) -> bool {
        let mut found = false;
        for value in &self.0 {
            let mut from = 0;
            while let Some(at) = find(&bytes[from..], value) {
                bytes[from + at..from + at + value.len()].fill(MASK);
                from += at + value.len();
                found = true;
            }
        }
        found
    }

    /// Hides them in what is said of documents. What a module makes is its own business.
    pub(super) fn hide(&self, report: &mut Report) {
        if self.is_empty() {
            return;
        }
        match report {
            Report::Answer(answer) => match &mut answer.done {
                Done::Failed(failure) => self.hide_failure(failure),
                Done::Skip(reason) => self.hide_text(reason),
                Done::Output(_) => {}
            },
            Report::Died(died) => self.hide_failure(&mut died.failure),
            Report::Fatal { failure, .. } => self.hide_failure(failure),
            Report::Warn { warning, .. } => self.hide_value(warning),
            Report::Stack { lines } => lines.iter_mut().for_each(|line| self.hide_text(line)),
            Report::Ready { .. }
            | Report::Progress { .. }
            | Report::Count { .. }
            | Report::Child { .. }
            | Report::Used { .. }
            | Report::Ended { .. } => {}
        }
    }

    fn hide_failure(&self, failure: &mut Failure) {
        self.hide_text(&mut failure.error);
        self.hide_text(&mut failure.message);
        failure.traceback.iter_mut().for_each(|text| self.hide_text(text));
    }

    fn hide_value(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.hide_text(text),
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.hide_value(item)),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| self.hide_value(field)),
            _ => {}
        }
    }

    fn hide_text(&self, text: &mut String) {
        let mut bytes = text.as_bytes().to_vec();
        if self.hide_bytes(&mut bytes) {
            // A value may be no UTF-8, and so a part of a letter.
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

fn find(bytes: &[u8], value: &[u8]) -> Option<usize> {
    bytes.windows(value.len()).position(|window| window == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::failure::FailureKind;

    fn secrets(values: &[&str]) -> Secrets {
        Secrets::new(values.iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    #[test]
    fn every_value_is_hidden_wherever_it_stands() {
        let hidden = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let found = secrets(&["key1", "key1-long", "no"]).hide_bytes(&mut bytes);
            (String::from_utf8(bytes).unwrap(), found)
        };
        assert_eq!(hidden("key1key1 a key1-long"), ("******** a *********".to_owned(), true));
        assert_eq!(hidden("no key"), ("no key".to_owned(), false), "two letters are no secret");
        assert_eq!(hidden(""), (String::new(), false));
    }

    #[test]
    fn failures_and_warnings_are_told_without_them() {
        let mut failure = Failure::new(FailureKind::ModuleError, "E", "401 for key1");
        failure.traceback = Some("get('key1')".to_owned());
        let mut died = Report::Fatal { failure, returned: Vec::new() };
        secrets(&["key1"]).hide(&mut died);
        let Report::Fatal { failure, .. } = died else { unreachable!() };
        assert_eq!(
            (failure.message.as_str(), failure.traceback.as_deref()),
            ("401 for ****", Some("get('****')"))
        );
        let mut warning = serde_json::json!({ "message": "key1", "more": [{ "at": "a key1" }], "n": 1 });
        secrets(&["key1"]).hide_value(&mut warning);
        assert_eq!(warning, serde_json::json!({ "message": "****", "more": [{ "at": "a ****" }], "n": 1 }));
    }
}
