//! How lines look: right-aligned heads, colours, columns. Knows nothing of builds.

use anstyle::{AnsiColor, Effects};

/// How wide heads are: `Scanned` with two blanks in front.
pub(super) const HEAD: usize = 9;
/// What stands under a head: as wide as a head and the gap behind it.
pub(super) const INDENT: &str = "            ";

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// As it is.
    Plain,
    /// The word in front of a line.
    Head,
    /// Something failed.
    Bad,
    /// Something to look at.
    Warn,
    /// Work done.
    Done,
    /// Less important than the rest.
    Dim,
}

/// Colours or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Whether escapes may be written.
    pub(super) colour: bool,
}

impl Style {
    /// A piece of text in its ink.
    pub(super) fn paint(self, ink: Ink, text: &str) -> String {
        let style = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Head => anstyle::Style::new().bold(),
            Ink::Bad => AnsiColor::Red.on_default() | Effects::BOLD,
            Ink::Warn => AnsiColor::Yellow.on_default() | Effects::BOLD,
            Ink::Done => AnsiColor::Green.on_default(),
            Ink::Dim => anstyle::Style::new().dimmed(),
        };
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// `  Scanned   rest`.
    pub(super) fn line(self, ink: Ink, head: &str, rest: &str) -> String {
        format!("{}{}   {rest}", " ".repeat(HEAD.saturating_sub(columns(head))), self.paint(ink, head))
    }

    /// Pieces in a row, cut where the columns end, so that a line never wraps.
    pub(super) fn row(self, pieces: &[(Ink, String)], width: usize) -> String {
        let mut left = width;
        let mut out = String::new();
        for (ink, text) in pieces {
            if left == 0 {
                break;
            }
            let fitting = cut(text, left);
            left -= columns(&fitting).min(left);
            out.push_str(&self.paint(*ink, &fitting));
        }
        out.truncate(out.trim_end().len());
        out
    }
}

/// How many columns of a terminal a text takes. Marks that take none count as one: a line is cut rather too early.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

fn column(c: char) -> usize {
    let wide = matches!(u32::from(c),
        0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x1F000..=0x1FAFF | 0x20000..=0x3FFFD);
    1 + usize::from(wide)
}

/// The beginning of a text, with `…` for the rest, in at most so many columns.
pub(super) fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width { text.to_owned() } else { take(text.chars(), width).chain(['…']).collect() }
}

/// The end of a text, with `…` for what is in front: of a path the end tells most.
pub(super) fn cut_front(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut end: Vec<char> = take(text.chars().rev(), width).collect();
    end.push('…');
    end.into_iter().rev().collect()
}

/// As many characters as leave a column for `…`.
fn take(chars: impl Iterator<Item = char>, width: usize) -> impl Iterator<Item = char> {
    let mut left = width.saturating_sub(1);
    chars.take_while(move |c| {
        let fits = column(*c) <= left;
        left = left.saturating_sub(column(*c));
        fits
    })
}

/// The text in one line, control characters visible: neither a name nor a message can move the cursor.
pub(super) fn shown(text: &str) -> String {
    crate::text::printable(&text.replace('\t', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_by_columns_not_by_characters() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("文書文書", 6), "文書…");
        assert_eq!(cut_front("docs/2024/atlas.pdf", 10), "…atlas.pdf");
        assert_eq!(columns(&cut_front("文書文書", 6)), 5);
    }

    #[test]
    fn a_row_never_takes_more_than_its_columns_and_counts_no_escapes() {
        let style = Style { colour: true };
        let pieces = [(Ink::Bad, "abc".to_owned()), (Ink::Plain, "defgh".to_owned())];
        assert_eq!(style.row(&pieces, 6), "\x1b[1m\x1b[31mabc\x1b[0mde…");
        assert_eq!(Style { colour: false }.row(&pieces, 80), "abcdefgh");
    }

    #[test]
    fn a_message_cannot_move_the_cursor() {
        assert_eq!(shown("a\tb\x1b[2J\n"), "a b\\u{1b}[2J\\n");
    }
}
