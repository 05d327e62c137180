//! What a server says of a module: how it is called, what it takes, and what its code is.

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, FieldHasher};

/// The version of what goes over the wire.
pub const PROTOCOL: u32 = 1;

/// A module as its server describes it. Unknown fields are from a later version and ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The version of the protocol.
    pub protocol: u32,
    /// Its name on the server.
    pub name: String,
    /// `python`, `worker`, `filter`, `shell`.
    #[serde(default)]
    pub kind: String,
    /// What its author states.
    #[serde(default)]
    pub version: Option<String>,
    /// `doc` or `docs`.
    #[serde(default)]
    pub takes: Option<String>,
    /// By name: type and default.
    #[serde(default)]
    pub params: serde_json::Map<String, serde_json::Value>,
    /// Names of side inputs.
    #[serde(default)]
    pub with: Vec<String>,
    /// What its author says of it.
    #[serde(default)]
    pub doc: String,
    /// The parts of its fingerprint that are no files.
    #[serde(default)]
    pub program: Vec<(String, String)>,
    /// Its code files.
    #[serde(default)]
    pub files: Vec<(String, Digest)>,
    /// One text for all of its code.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Why it cannot be used just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The most bytes that one request may have.
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

impl Description {
    /// What is wrong with it, if anything is: a server must not say two things of its code.
    pub fn problem(&self) -> Option<String> {
        if self.protocol != PROTOCOL {
            return Some(format!(
                "it speaks version {} of the protocol, this `pipe` version {PROTOCOL}",
                self.protocol
            ));
        }
        let stated = self.fingerprint.as_deref();
        if !self.program.is_empty() && stated != Some(fingerprint(&self.program, &self.files).hex().as_str())
        {
            return Some("its fingerprint is not that of the code that it states".to_owned());
        }
        None
    }
}

/// The fingerprint of a module by its parts.
pub fn fingerprint(program: &[(String, String)], files: &[(String, Digest)]) -> Digest {
    let mut hasher = FieldHasher::new("pipe served module");
    hasher.number(program.len() as u64);
    for (name, value) in program {
        hasher.text(name).text(value);
    }
    for (file, digest) in files {
        hasher.text(file).digest(digest);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_that_of_the_parts_and_pinned() {
        let program = vec![("command".to_owned(), "modules/a.py a".to_owned())];
        let files = vec![("modules/a.py".to_owned(), Digest::of(b"x"))];
        let stated = fingerprint(&program, &files).hex();
        assert_eq!(stated, "07360d71a3f6d858cfff4faeb83b2909d0358ca236a2e25c5f79022465989fa0");
        let good =
            Description { protocol: 1, program, files, fingerprint: Some(stated), ..Description::default() };
        assert_eq!(good.problem(), None);
        assert!(Description { files: Vec::new(), ..good.clone() }.problem().is_some());
        assert!(Description { protocol: 2, ..good }.problem().is_some());
    }
}
