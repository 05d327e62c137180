//! An entry of the shared cache: one result with what it takes to trust it, as bytes. `docs/design/cache.md` has the format.
//!
//! Knows nothing of files, keys or stores.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hash::Digest;
use crate::model::action::{ActionKey, Loads, Origin, Outcome, Output, Place};
use crate::time::Millis;

/// Raised when a reader of before would misunderstand; each version has a folder of its own.
pub(super) const VERSION: u32 = 1;
const HEAD: &str = "pipe-cache 1 ";

/// A result as the cache holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Whose result it is.
    pub key: ActionKey,
    /// Who made it, where and when.
    pub origin: Origin,
    /// What its worker had loaded.
    pub loads: Option<Loads>,
    /// An output or a skip; a failure is never shared. The place of an output is where its bytes are:
    /// `Payload` with the entry, `Blob` in a file of their own, `Input` nowhere.
    pub outcome: Outcome,
    /// When it started.
    pub start: Millis,
    /// Microseconds.
    pub duration: u64,
    /// What the module warned of.
    pub warnings: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    key: Digest,
    origin: Origin,
    start: Millis,
    duration: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loads: Option<Loads>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Made>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skip: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
struct Made {
    digest: Digest,
    length: u64,
    ext: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    meta: String,
    bytes: Whereabouts,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Whereabouts {
    Here,
    File,
    Input,
}

/// The bytes of an entry; `bytes` are those of its output, where they come with it. Nothing for a failure.
pub fn encode(entry: &Entry, bytes: &[u8]) -> Option<Vec<u8>> {
    let (output, skip) = match &entry.outcome {
        Outcome::Output(output) => {
            let whereabouts = match output.place {
                Place::Payload(_) => Whereabouts::Here,
                Place::Blob => Whereabouts::File,
                Place::Input => Whereabouts::Input,
            };
            let Output { digest, length, ext, meta, .. } = output.clone();
            (Some(Made { digest, length, ext, meta, bytes: whereabouts }), None)
        }
        Outcome::Skip(reason) => (None, Some(reason.clone())),
        Outcome::Failed(_) => return None,
    };
    let body = Body {
        key: entry.key.0,
        origin: entry.origin.clone(),
        start: entry.start,
        duration: entry.duration,
        loads: entry.loads.clone(),
        output,
        skip,
        warnings: entry.warnings.clone(),
    };
    let mut text = serde_json::to_vec(&body).ok()?;
    text.push(b'\n');
    text.extend_from_slice(bytes);
    let mut whole = format!("{HEAD}{}\n", Digest::of(&text).hex()).into_bytes();
    whole.append(&mut text);
    Some(whole)
}

/// The entry and the bytes that come with it; nothing if anything is wrong with them.
pub fn decode(whole: &[u8]) -> Option<(Entry, Vec<u8>)> {
    let rest = whole.strip_prefix(HEAD.as_bytes())?;
    let (digest, rest) = rest.split_at_checked(64)?;
    let digest = Digest::from_hex(std::str::from_utf8(digest).ok()?)?;
    let rest = rest.strip_prefix(b"\n")?;
    if Digest::of(rest) != digest {
        return None;
    }
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let body: Body = serde_json::from_slice(&rest[..end]).ok()?;
    let bytes = rest[end + 1..].to_vec();
    let outcome = match (body.output, body.skip) {
        (Some(made), None) => {
            let place = match made.bytes {
                Whereabouts::Here if Digest::of(&bytes) != made.digest => return None,
                Whereabouts::Here => super::WITH_ENTRY,
                Whereabouts::File => Place::Blob,
                Whereabouts::Input => Place::Input,
            };
            let Made { digest, length, ext, meta, .. } = made;
            Outcome::Output(Output { digest, length, ext, place, meta })
        }
        (None, Some(reason)) => Outcome::Skip(reason),
        _ => return None,
    };
    let Body { key, origin, start, duration, loads, warnings, .. } = body;
    Some((Entry { key: ActionKey(key), origin, loads, outcome, start, duration, warnings }, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::failure::{Failure, FailureKind};

    fn entry(outcome: Outcome) -> Entry {
        let origin = Origin {
            user: "ada".into(),
            host: "engine".into(),
            project: "/srv/letters".into(),
            doc: "inbox/a.txt".into(),
            run: 3,
        };
        let loads = Loads {
            module: Digest([2; 32]),
            files: vec![("modules/words.py".into(), Digest([3; 32]))],
            packages: Vec::new(),
        };
        let key = ActionKey(Digest([1; 32]));
        Entry {
            key,
            origin,
            loads: Some(loads),
            outcome,
            start: Millis(5),
            duration: 7,
            warnings: Vec::new(),
        }
    }

    fn output(place: Place) -> Outcome {
        let meta = r#"{"lang":"en"}"#.to_owned();
        Outcome::Output(Output { digest: Digest::of(b"made"), length: 4, ext: "txt".into(), place, meta })
    }

    #[test]
    fn golden_bytes() {
        let whole = encode(&entry(output(super::super::WITH_ENTRY)), b"made").unwrap();
        let expected = concat!(
            "pipe-cache 1 GOLDEN\n",
            r#"{"key":"0101010101010101010101010101010101010101010101010101010101010101","#,
            r#""origin":{"user":"ada","host":"engine","project":"/srv/letters","doc":"inbox/a.txt","run":3},"start":5,"duration":7,"#,
            r#""loads":{"module":"0202020202020202020202020202020202020202020202020202020202020202","#,
            r#""files":[["modules/words.py","0303030303030303030303030303030303030303030303030303030303030303"]],"packages":[]},"#,
            r#""output":{"digest":"MADE","length":4,"ext":"txt","meta":"{\"lang\":\"en\"}","bytes":"here"}}"#,
            "\nmade"
        );
        let expected = expected.replace("MADE", &Digest::of(b"made").hex());
        let rest = expected.split_once('\n').unwrap().1;
        let expected = expected.replace("GOLDEN", &Digest::of(rest.as_bytes()).hex());
        assert_eq!(String::from_utf8(whole).unwrap(), expected);
        assert_eq!(
            Digest::of(expected.as_bytes()).hex(),
            "574207fa53dccc2a6bbb46b074fe69e5a2966b5fa244b4ef701290c305fd03e2"
        );
    }

    #[test]
    fn what_is_written_is_read_and_a_failure_is_not_written() {
        let skip = Outcome::Skip("empty".into());
        for (outcome, bytes) in [
            (output(super::super::WITH_ENTRY), &b"made"[..]),
            (output(Place::Blob), b""),
            (output(Place::Input), b""),
            (skip, b""),
        ] {
            let entry = entry(outcome);
            let whole = encode(&entry, bytes).unwrap();
            assert_eq!(decode(&whole), Some((entry, bytes.to_vec())));
        }
        let failed = Outcome::Failed(Failure::new(FailureKind::ModuleError, "", "no"));
        assert_eq!(encode(&entry(failed), b""), None);
    }

    #[test]
    fn anything_that_differs_in_one_bit_or_is_cut_is_nothing() {
        let whole = encode(&entry(output(super::super::WITH_ENTRY)), b"made").unwrap();
        for at in 0..whole.len() {
            assert_eq!(decode(&whole[..at]), None, "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert_eq!(decode(&flipped), None, "flipped at {at}");
        }
    }
}
