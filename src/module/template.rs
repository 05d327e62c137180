//! The command of a filter with its braces: what is put in, and how it is quoted. Other braces stay as they are.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A word, or a shell script, cut at its braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Hole, Quotes),
}

/// What stands between braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hole {
    /// `{in}`
    In,
    /// `{out}`
    Out,
    /// `{out}/`
    OutFolder,
    /// `{with.NAME}`
    With(String),
    /// `{param.NAME}`
    Param(String),
}

/// What a value stands in, in a shell script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    /// No shell reads it.
    NoShell,
    Bare,
    Single,
    Double,
}

impl Template {
    /// A word of a command that no shell reads.
    pub(super) fn of_word(text: &str) -> Self {
        Self::parse(text, false)
    }

    /// A script for `sh -c`: values are quoted so that they arrive as they are, whatever they hold.
    pub(super) fn of_script(text: &str) -> Self {
        Self::parse(text, true)
    }

    fn parse(text: &str, shell: bool) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut quotes = if shell { Quotes::Bare } else { Quotes::NoShell };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            // `${in}` is the shell's own.
            let variable = shell && plain.ends_with('$');
            if c == '{'
                && !variable
                && let Some((hole, length)) = hole(rest)
            {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Hole(hole, quotes));
                rest = &rest[length..];
                continue;
            }
            let mut taken = c.len_utf8();
            quotes = match (quotes, c) {
                (Quotes::Bare | Quotes::Double, '\\') => {
                    taken += rest[1..].chars().next().map_or(0, char::len_utf8);
                    quotes
                }
                (Quotes::Bare, '\'') => Quotes::Single,
                (Quotes::Bare, '"') => Quotes::Double,
                (Quotes::Single, '\'') | (Quotes::Double, '"') => Quotes::Bare,
                _ => quotes,
            };
            plain.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Template(parts)
    }

    /// All that is to be put in.
    pub(super) fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.0.iter().filter_map(|part| match part {
            Part::Hole(hole, _) => Some(hole),
            Part::Text(_) => None,
        })
    }

    /// The one thing that the word consists of.
    pub(super) fn sole_hole(&self) -> Option<&Hole> {
        match self.0.as_slice() {
            [Part::Hole(hole, _)] => Some(hole),
            _ => None,
        }
    }

    /// The text with everything put in; several values are separated by a space.
    pub(super) fn fill(&self, mut values: impl FnMut(&Hole) -> Vec<OsString>) -> OsString {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Hole(hole, quotes) => {
                    for (i, value) in values(hole).iter().enumerate() {
                        if i > 0 {
                            out.push(b' ');
                        }
                        push_quoted(&mut out, value, *quotes);
                    }
                }
            }
        }
        OsString::from_vec(out)
    }
}

/// The hole at the beginning of `text`, and its length.
fn hole(text: &str) -> Option<(Hole, usize)> {
    let end = text.find('}')?;
    let length = end + 1;
    match &text[1..end] {
        "in" => Some((Hole::In, length)),
        "out" if text[length..].starts_with('/') => Some((Hole::OutFolder, length + 1)),
        "out" => Some((Hole::Out, length)),
        inside => {
            let (kind, name) = inside.split_once('.')?;
            let is_name =
                !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
            match kind {
                "with" if is_name => Some((Hole::With(name.to_owned()), length)),
                "param" if is_name => Some((Hole::Param(name.to_owned()), length)),
                _ => None,
            }
        }
    }
}

fn push_quoted(out: &mut Vec<u8>, value: &OsStr, quotes: Quotes) {
    let bytes = value.as_bytes();
    let harmless = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+,:=@%".contains(b);
    match quotes {
        Quotes::NoShell => out.extend_from_slice(bytes),
        Quotes::Bare if !bytes.is_empty() && bytes.iter().all(harmless) => out.extend_from_slice(bytes),
        Quotes::Bare => {
            out.push(b'\'');
            push_in_single(out, bytes);
            out.push(b'\'');
        }
        Quotes::Single => push_in_single(out, bytes),
        Quotes::Double => {
            for byte in bytes {
                if b"\\\"$`".contains(byte) {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
        }
    }
}

fn push_in_single(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        if *byte == b'\'' {
            out.extend_from_slice(b"'\\''");
        } else {
            out.push(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn filled(template: &Template, value: &str) -> String {
        template.fill(|_| vec![value.into()]).into_string().unwrap()
    }

    #[test]
    fn only_our_braces_are_taken() {
        let script = "awk '{print $1}' {in} ${in} {a,b} {with.} {with.fix} {param.n} {out} {nosuch}";
        let holes: Vec<Hole> = Template::of_script(script).holes().cloned().collect();
        assert_eq!(holes, [Hole::In, Hole::With("fix".into()), Hole::Param("n".into()), Hole::Out]);
        assert_eq!(Template::of_word("{out}/").holes().collect::<Vec<_>>(), [&Hole::OutFolder]);
        assert_eq!(Template::of_word("{in}").sole_hole(), Some(&Hole::In));
        assert_eq!(Template::of_word("-x{in}").sole_hole(), None);
    }

    #[test]
    fn a_word_gets_its_value_as_it_is() {
        assert_eq!(filled(&Template::of_word("--in={in}!"), "a b'"), "--in=a b'!");
    }

    #[test]
    fn several_values_are_several_words() {
        let template = Template::of_script("cat {with.x}");
        assert_eq!(template.fill(|_| vec!["a b".into(), "c".into()]), "cat 'a b' c");
        assert_eq!(template.fill(|_| Vec::new()), "cat ");
    }

    #[test]
    fn the_shell_gets_awkward_values_as_they_are_in_any_quotes() {
        let script = "printf '%s|' {in} \"{in}\" '{in}' \"a'{in}\" \\' {in}";
        for value in ["plain", "", "a b", "it's", "$HOME `x` \\ \"q\" {in} *", "line\nbreak", "-n", "~", "ö#"]
        {
            let command = filled(&Template::of_script(script), value);
            let out = Command::new("/bin/sh").args(["-c", &command]).output().unwrap();
            let expected = format!("{value}|{value}|{value}|a'{value}|'|{value}|");
            assert_eq!(String::from_utf8_lossy(&out.stdout), expected, "{command}");
        }
    }

    proptest! {
        #[test]
        fn text_without_holes_stays_as_it_is(text in "\\PC{0,30}") {
            for template in [Template::of_word(&text), Template::of_script(&text)] {
                if template.holes().next().is_none() {
                    prop_assert_eq!(filled(&template, ""), text.clone());
                }
            }
        }
    }
}
