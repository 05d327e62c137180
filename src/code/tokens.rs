//! What a Python file says, without comments and layout: its digest stays when only these change.
//!
//! Reads lines and tokens as Python's own tokenizer does, and stops where it is not sure: then every byte counts. Of
//! layout only what means something is kept: the depth of blocks and where statements end. Texts, doc strings among them,
//! are kept byte for byte, and so are quotes, parentheses and commas. Knows no grammar, so that neither a newer Python nor
//! another version of `pipe` changes what is kept.

use crate::hash::{Digest, FieldHasher};

/// What of a line is kept marks a block that begins or ends.
const INDENT: u8 = 1;
const DEDENT: u8 = 2;

/// The digest of what a Python file says; nothing where every byte must count.
pub(super) fn digest(bytes: &[u8]) -> Option<Digest> {
    let said = said(bytes)?;
    Some(FieldHasher::new("pipe python source 1").bytes(&said).finish())
}

/// The digest of its metadata blocks, `# /// script` (PEP 723); nothing if there is none.
pub(super) fn block(bytes: &[u8]) -> Option<Digest> {
    let (mut said, mut in_block) = (Vec::new(), false);
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let bounds = line.starts_with(b"# ///");
        if bounds || (in_block && line.starts_with(b"#")) {
            said.extend_from_slice(line);
            said.push(b'\n');
        }
        in_block = if bounds { !in_block } else { in_block && line.starts_with(b"#") };
    }
    (!said.is_empty()).then(|| FieldHasher::new("pipe python block 1").bytes(&said).finish())
}

/// A Python file without comments and layout.
fn said(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    // Another encoding, and what ends lines only for some readers.
    let states_encoding = text.lines().take(2).any(|line| line.contains("coding"));
    let odd = |(at, byte): (usize, &u8)| match byte {
        0 | 0x0b | 0x0c => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    if states_encoding || text.starts_with('\u{feff}') || bytes.iter().enumerate().any(odd) {
        return None;
    }
    Tokens { bytes, at: 0, said: Vec::with_capacity(bytes.len()), blocks: vec![&[]], depth: 0 }.read()
}

struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
    said: Vec<u8>,
    /// How each open block is indented.
    blocks: Vec<&'a [u8]>,
    /// Open brackets.
    depth: usize,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl<'a> Tokens<'a> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn read(mut self) -> Option<Vec<u8>> {
        self.take_leading_comments();
        while self.at < self.bytes.len() {
            self.line()?;
        }
        Some(self.said)
    }

    /// One statement line with all lines that belong to it, or an empty one.
    fn line(&mut self) -> Option<()> {
        let indent = self.spaces();
        match self.peek(0) {
            None => return Some(()),
            Some(b'\n') => {
                self.at += 1;
                return Some(());
            }
            Some(b'\r') => {
                self.at += 2;
                return Some(());
            }
            Some(b'#') => {
                self.comment();
                return Some(());
            }
            Some(b'\\') => return None,
            Some(_) => self.open_or_close(indent)?,
        }
        let mut spaced = false;
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' => {
                    spaced = true;
                    self.at += 1;
                }
                b'#' => self.comment(),
                b'\\' => {
                    self.at += match (self.peek(1)?, self.peek(2)) {
                        (b'\n', _) => 2,
                        (b'\r', Some(b'\n')) => 3,
                        _ => return None,
                    };
                    spaced = true;
                }
                b'\n' | b'\r' => {
                    self.at += if byte == b'\r' { 2 } else { 1 };
                    if self.depth == 0 {
                        break;
                    }
                    spaced = true;
                }
                _ => {
                    self.token(byte, spaced)?;
                    spaced = false;
                }
            }
        }
        if self.depth > 0 {
            return None;
        }
        self.said.push(b'\n');
        Some(())
    }

    /// Blanks from here; they are passed.
    fn spaces(&mut self) -> &'a [u8] {
        let from = self.at;
        while matches!(self.peek(0), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        &self.bytes[from..self.at]
    }

    /// Compares the indentation of a line with the blocks that are open. How wide it is does not matter.
    fn open_or_close(&mut self, indent: &'a [u8]) -> Option<()> {
        let current = *self.blocks.last()?;
        if indent == current {
            return Some(());
        }
        if indent.len() > current.len() && indent.starts_with(current) {
            self.blocks.push(indent);
            self.said.push(INDENT);
            return Some(());
        }
        while *self.blocks.last()? != indent {
            self.blocks.pop();
            self.said.push(DEDENT);
        }
        Some(())
    }

    /// A comment is passed up to the end of its line.
    fn comment(&mut self) {
        while !matches!(self.peek(0), None | Some(b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// A comment that means something: the first line of a script.
    fn take_leading_comments(&mut self) {
        let line = self.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.starts_with(b"#!") {
            self.said.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            self.said.push(b'\n');
        }
    }

    fn token(&mut self, byte: u8, spaced: bool) -> Option<()> {
        if matches!(byte, b'"' | b'\'') {
            return self.string(spaced);
        }
        let before = self.said.last().copied().unwrap_or(b'\n');
        if spaced && is_word(before) && is_word(byte) {
            self.said.push(b' ');
        }
        match byte {
            b'(' | b'[' | b'{' => self.depth += 1,
            b')' | b']' | b'}' => self.depth = self.depth.checked_sub(1)?,
            // Never in Python, and marks of ours.
            INDENT | DEDENT => return None,
            _ => {}
        }
        self.said.push(byte);
        self.at += 1;
        Some(())
    }

    /// A string, byte for byte; its prefix stands before it already.
    fn string(&mut self, spaced: bool) -> Option<()> {
        let word = self.said.iter().rev().take_while(|byte| is_word(**byte)).count();
        if spaced && word > 0 {
            // No prefix, but a keyword.
            self.said.push(b' ');
        }
        let prefix = if spaced { &[][..] } else { &self.said[self.said.len() - word..] };
        let computes = prefix.iter().any(|byte| matches!(byte.to_ascii_lowercase(), b'f' | b't'));
        let quote = self.peek(0)?;
        let is_triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let width = if is_triple { 3 } else { 1 };
        let from = self.at;
        self.at += width;
        let mut braces = 0_usize;
        loop {
            match self.peek(0)? {
                b'\\' => self.at += 2,
                byte if byte == quote => {
                    if !is_triple || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote)) {
                        self.at += width;
                        break;
                    }
                    self.at += 1;
                }
                b'\n' | b'\r' if !is_triple => return None,
                b'{' if computes => {
                    braces += 1;
                    self.at += 1;
                }
                b'}' if computes => {
                    braces = braces.checked_sub(1)?;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        // It may hold quotes of the same kind within braces (Python 3.12): where it ends is not certain.
        if braces > 0 || self.at > self.bytes.len() {
            return None;
        }
        self.said.extend_from_slice(&self.bytes[from..self.at]);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(one: &str, other: &str) -> bool {
        let digest = |text: &str| digest(text.as_bytes()).unwrap_or_else(|| panic!("not sure: {text:?}"));
        digest(one) == digest(other)
    }

    const CODE: &str = "import os\n\ndef f(a, *, b=1):\n    \"\"\"Doc.\"\"\"\n    if a:\n        return {\"x\": a}\n    return b\n";

    #[test]
    fn comments_and_layout_do_not_count() {
        for other in [
            "# what it does\nimport os   # why\ndef f(a, *, b=1):\n    \"\"\"Doc.\"\"\"\n    if a:\n        return {\"x\": a}\n    return b\n",
            "import os\n\n\n\ndef f( a,*,b = 1 ) :\n  \"\"\"Doc.\"\"\"\n  if a :\n     return {\n        \"x\" : a  # here\n\n}\n  return b",
            "import os\r\n\r\ndef f(a, *, b=1):\r\n    \"\"\"Doc.\"\"\"\r\n    if a:\r\n        return \\\r\n {\"x\": a}\r\n    return b\r\n",
            "import os\ndef f(a, *, b=1):\n\t\"\"\"Doc.\"\"\"\n\tif a:\n\t\treturn {\"x\": a}\n\t# done\n\treturn b\n",
        ] {
            assert!(same(CODE, other), "{other}");
        }
    }

    #[test]
    fn everything_else_counts() {
        for (old, new) in [
            ("Doc.", "Doc"),
            ("b=1", "b=2"),
            ("    return b", "        return b"),
            ("\n    if a:\n        return", "\n    if a: return"),
            ("import os\n", "import os;"),
            ("\"x\"", "'x'"),
            ("\"x\"", "\"# x\""),
            ("\"x\"", "\" x\""),
            ("return b", "returnb"),
            ("\"\"\"Doc.\"\"\"", "\"\"\"Doc.\n    \"\"\""),
            ("{\"x\": a}", "{\"x\": a,}"),
        ] {
            assert!(!same(CODE, &CODE.replacen(old, new, 1)), "{old} → {new}");
        }
        assert!(!same("x = 'a' # b'\n", "x = 'a # b'\n"));
        assert!(!same("a if b else c\n", "a ifb else c\n"));
        assert!(!same("if a:\n  b\n  c\n", "if a:\n  b\nc\n"));
        let [a, b] = ["# /// script\n# a\n# ///\nx\n", "# /// script\n# b\n# ///\nx\n"];
        assert!(same(a, b) && block(a.as_bytes()) != block(b.as_bytes()), "it is told apart from the rest");
        assert!(!same("#!/usr/bin/python3\nx\n", "#!/usr/bin/python3 -O\nx\n"));
        assert!(!same("f'{a} b'\n", "f'{a}  b'\n"));
    }

    #[test]
    fn what_is_not_certain_counts_byte_by_byte() {
        for text in [
            &b"x = f\"{d[\"a\"]}\"\n"[..],
            b"# -*- coding: latin-1 -*-\nx = 1\n",
            b"x = '\xff'\n",
            b"\xef\xbb\xbfx = 1\n",
            b"x = (1\n",
            b"x = 1)\n",
            b"x = 'a\n",
            b"x = \"\"\"a\n",
            b"if a:\n    b\n  c\n",
            b"x\ry\n",
            b"x = 1 \\ 2\n",
            b"x\x0cy\n",
        ] {
            assert_eq!(said(text), None, "{}", String::from_utf8_lossy(text));
        }
        assert!(said(b"").is_some() && said(b"x = f'{{a}} {b!r:{w}}'").is_some());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_text_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(said(&bytes));
        }

        #[test]
        fn only_blanks_and_comments_are_left_out(text in "[ab1 '\"#(){}:=,\\\\\nf]{0,40}") {
            if let Some(said) = said(text.as_bytes()) {
                let mut rest = text.bytes();
                // What is kept stands in the text in the same order.
                for byte in said.iter().filter(|byte| !matches!(**byte, INDENT | DEDENT | b'\n' | b' ')) {
                    prop_assert!(rest.any(|other| other == *byte), "{:?}", text);
                }
            }
        }
    }
}
