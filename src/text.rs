//! Words for people: counts, durations, sizes, near names. Knows nothing of pipelines.

use std::borrow::Borrow;
use std::time::Duration;

/// `1 document`, `2 documents`, `1,234 documents`.
pub fn count(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(n))
}

/// `2,104,331`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What a module counted: `$1.20`, `48,000 tokens`. Less than a cent keeps two digits that say something.
pub fn amount(name: &str, amount: f64) -> String {
    let sign = if amount < 0.0 { "-" } else { "" };
    let size = amount.abs();
    if name == "usd" {
        let digits =
            if size > 0.0 && size < 0.1 { (1.0 - size.log10().floor()).clamp(2.0, 9.0) as usize } else { 2 };
        let shown = with_thousands(size, digits);
        let cents = shown.find('.').map_or(shown.len(), |point| point + 3);
        let (sure, rest) = shown.split_at(cents.min(shown.len()));
        return format!("{sign}${sure}{}", rest.trim_end_matches('0'));
    }
    let digits = if size.fract() == 0.0 { 0 } else { 2 };
    format!("{sign}{} {name}", with_thousands(size, digits))
}

/// Several of them: `$1.20, 48,000 tokens`.
pub fn amounts<N: AsRef<str>, S: Borrow<f64>>(amounts: impl IntoIterator<Item = (N, S)>) -> String {
    let each = amounts.into_iter().map(|(name, sum)| amount(name.as_ref(), *sum.borrow()));
    each.collect::<Vec<_>>().join(", ")
}

fn with_thousands(amount: f64, digits: usize) -> String {
    let text = format!("{amount:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), thousands);
    if rest.is_empty() { whole } else { format!("{whole}.{rest}") }
}

/// `12 ms`, `3.1 s`, `3m58s`, `2h05m`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.9995 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 59.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round() as u64;
        if whole < 3600 {
            format!("{}m{:02}s", whole / 60, whole % 60)
        } else {
            format!("{}h{:02}m", whole / 3600, whole % 3600 / 60)
        }
    }
}

/// `812 B`, `3.1 KiB`, `1.2 GiB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < 4 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", ["B", "KiB", "MiB", "GiB", "TiB"][unit])
}

/// The candidate nearest to a misspelt `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit && *distance > 0)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// At most `width` characters, with `…` for what is left out.
pub fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The text cut to so many columns of a terminal.
pub fn fitted(text: &str, columns: usize) -> String {
    if text.chars().map(cells).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let room = left.checked_sub(cells(*c));
        left = room.unwrap_or(0);
        room.is_some()
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// How many columns a terminal takes for a character: none for marks that join the one before, two for the wide ones of
/// East Asia and for pictures.
fn cells(c: char) -> usize {
    const WIDE: [(u32, u32); 9] = [
        (0x1100, 0x115F),
        (0x2E80, 0x303E),
        (0x3041, 0xA4CF),
        (0xAC00, 0xD7A3),
        (0xF900, 0xFAFF),
        (0xFE30, 0xFE6F),
        (0xFF00, 0xFF60),
        (0x1F300, 0x1FAFF),
        (0x20000, 0x3FFFD),
    ];
    match u32::from(c) {
        0x300..=0x36F | 0x200B..=0x200F | 0xFE00..=0xFE0F => 0,
        code if WIDE.iter().any(|(from, to)| (*from..=*to).contains(&code)) => 2,
        _ => 1,
    }
}

/// The text with control characters made visible, so that a log line or a name cannot move the cursor.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() && c != '\t' { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// A word to paste into a shell: quoted if it must be.
pub fn shell_word(word: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_pluralised_and_grouped() {
        assert_eq!(count(1, "document"), "1 document");
        assert_eq!(count(0, "document"), "0 documents");
        assert_eq!(count(2_104_331, "document"), "2,104,331 documents");
    }

    #[test]
    fn durations_read_well_at_every_size() {
        let shown =
            [3, 999, 1000, 59_900, 59_960, 238_400, 7_500_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["3 ms", "999 ms", "1.0 s", "59.9 s", "1m00s", "3m58s", "2h05m"]);
    }

    #[test]
    fn sizes_use_binary_units() {
        assert_eq!([size(812), size(3174), size(1 << 30)], ["812 B", "3.1 KiB", "1.0 GiB"]);
    }

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("ocrr", ["ocr", "text"]), Some("ocr"));
        assert_eq!(nearest("zzzz", ["ocr", "text"]), None);
    }

    #[test]
    fn a_line_is_cut_by_the_columns_that_it_takes() {
        assert_eq!(fitted("abcdef", 6), "abcdef");
        assert_eq!(fitted("abcdef", 5), "abcd…");
        assert_eq!(fitted("文書一覧.pdf", 8), "文書一…");
        assert_eq!(fitted("e\u{301}e\u{301}", 2), "e\u{301}e\u{301}");
        assert_eq!(fitted("ab", 0), "…");
    }

    #[test]
    fn control_characters_are_made_visible() {
        assert_eq!(printable("a\x1b[2Jb"), "a\\u{1b}[2Jb");
    }

    #[test]
    fn words_for_a_shell_are_quoted_only_where_needed() {
        assert_eq!(shell_word("docs/ä b.pdf"), "'docs/ä b.pdf'");
        assert_eq!(shell_word("docs/it's"), r"'docs/it'\''s'");
        assert_eq!(shell_word("docs/a%23.pdf"), "docs/a%23.pdf");
        assert_eq!(shell_word("-n"), "'-n'");
    }
}
