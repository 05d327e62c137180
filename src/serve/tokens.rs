//! Who may use the server: the tokens of a file.

use std::path::Path;

use crate::error::{Error, Result};

/// A token has at least so many characters: shorter ones can be guessed.
const SHORTEST: usize = 16;

/// The digests of all tokens; empty: whoever reaches the server may use it.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<blake3::Hash>);

impl Tokens {
    /// Reads a file: a token a line; empty lines and those that begin with `#` are none.
    pub fn read(path: &Path) -> Result<Tokens> {
        let text = crate::fs::read_text(path)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let tokens: Vec<&str> = lines.collect();
        let shown = path.display();
        if tokens.is_empty() {
            return Err(Error::usage(format!("there is no token in `{shown}`"))
                .hint(format!("head -c 32 /dev/urandom | base64 > {shown}    writes one")));
        }
        if tokens.iter().any(|token| token.len() < SHORTEST || token.contains(char::is_whitespace)) {
            let message = format!("a token in `{shown}` is too short, or has a space in it");
            return Err(Error::usage(message).hint(format!("{SHORTEST} characters or more, a token a line")));
        }
        Ok(Tokens(tokens.into_iter().map(|token| blake3::hash(token.as_bytes())).collect()))
    }

    /// Whether nobody is asked for a token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether such a header lets in. How long this takes says nothing of the tokens.
    pub(super) fn admit(&self, authorization: Option<&str>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some((scheme, token)) = authorization.and_then(|header| header.split_once(' ')) else {
            return false;
        };
        let given = blake3::hash(token.trim().as_bytes());
        // Equality of hashes takes the same time wherever they differ.
        scheme.eq_ignore_ascii_case("bearer") && self.0.iter().filter(|token| **token == given).count() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tokens_of_the_file_let_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        crate::fs::write_scratch(&path, b"# ours\n0123456789abcdef\n\n fedcba9876543210 \n").unwrap();
        let tokens = Tokens::read(&path).unwrap();
        assert!(
            tokens.admit(Some("Bearer 0123456789abcdef")) && tokens.admit(Some("bearer fedcba9876543210"))
        );
        for header in
            [None, Some(""), Some("Bearer"), Some("Bearer 0123456789abcde"), Some("Basic 0123456789abcdef")]
        {
            assert!(!tokens.admit(header), "{header:?}");
        }
        assert!(Tokens::default().admit(None));
    }

    #[test]
    fn a_file_without_a_good_token_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        for text in ["", "# nothing\n", "short\n", "0123456789abcdef\n0123 456789abcdef\n"] {
            crate::fs::write_scratch(&path, text.as_bytes()).unwrap();
            assert!(Tokens::read(&path).is_err(), "{text:?}");
        }
    }
}
