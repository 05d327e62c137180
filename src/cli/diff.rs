//! Which lines of two texts differ, as people read it: `-` before, `+` now.

/// Longer texts are not compared line by line.
const LINES: usize = 2000;

/// The lines that differ, at most so many; the last says how many more there are. Nothing if the texts are too long.
pub(super) fn diff(old: &str, new: &str, most: usize) -> Option<Vec<String>> {
    let (mut old, mut new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    while old.last().is_some() && old.last() == new.last() {
        old.pop();
        new.pop();
    }
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[same..], &new[same..]);
    if old.len() > LINES || new.len() > LINES {
        return None;
    }
    let mut lines = Vec::new();
    let (mut i, mut j) = (0, 0);
    let common = common(old, new);
    let at = |i: usize, j: usize| common[i * (new.len() + 1) + j];
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && at(i + 1, j) >= at(i, j + 1)) {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    if lines.len() > most {
        let more = lines.len() - most;
        lines.truncate(most);
        lines.push(format!("… {more} more"));
    }
    Some(lines)
}

/// For each pair of places, how many lines the rests have in common in order.
fn common(old: &[&str], new: &[&str]) -> Vec<u16> {
    let width = new.len() + 1;
    let mut table = vec![0_u16; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            table[i * width + j] = if old[i] == new[j] {
                table[(i + 1) * width + j + 1] + 1
            } else {
                table[(i + 1) * width + j].max(table[i * width + j + 1])
            };
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn lines_that_differ_are_told_and_others_not() {
        assert_eq!(diff("a\nb\nc\n", "a\nx\nc\nd\n", 9).unwrap(), ["- b", "+ x", "+ d"]);
        assert_eq!(diff("a\nb\n", "b\n", 9).unwrap(), ["- a"]);
        assert_eq!(diff("", "a\nb\nc\n", 2).unwrap(), ["+ a", "+ b", "… 1 more"]);
        assert_eq!(diff("a", "a", 9).unwrap(), Vec::<String>::new());
        assert_eq!(diff(&"a\n".repeat(3000), &"b\n".repeat(3000), 9), None);
    }
}
