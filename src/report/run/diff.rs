//! Two texts, line by line: what went and what came. For Pipelinefiles, which are short.

/// Lines around a change that are shown.
const AROUND: usize = 2;

/// The lines of both texts, changed ones marked with `-` and `+`, long stretches without a change left out. Empty if
/// they are the same.
pub fn difference(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let marked = marked(&old, &new);
    let is_near = |at: usize| {
        let from = at.saturating_sub(AROUND);
        marked[from..(at + AROUND + 1).min(marked.len())].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut lines = Vec::new();
    let mut left_out = false;
    for (at, (mark, line)) in marked.iter().enumerate() {
        if is_near(at) {
            if left_out && !lines.is_empty() {
                lines.push("…".to_owned());
            }
            left_out = false;
            lines.push(format!("{mark} {line}").trim_end().to_owned());
        } else {
            left_out = true;
        }
    }
    lines
}

/// Every line of both with its mark, by their longest common part.
fn marked<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let width = new.len() + 1;
    let mut common = vec![0u32; (old.len() + 1) * width];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            common[i * width + j] = if a == b {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || (i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_do_not_differ() {
        assert_eq!(difference("a\nb\n", "a\nb"), Vec::<String>::new());
    }

    #[test]
    fn what_went_and_what_came_stands_in_its_place() {
        let old = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n";
        let new = "one\ntwo\nthree\nfour\nfive!\nsix\nseven\neight\n";
        let expected = ["  three", "  four", "- five", "+ five!", "  six", "  seven", "+ eight"];
        assert_eq!(difference(old, new), expected);
        assert_eq!(difference("", "a"), ["+ a"]);
    }
}
