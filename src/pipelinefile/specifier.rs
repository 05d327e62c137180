//! Which versions of Python a script takes: `>=3.9,<3.13` (PEP 440). Knows nothing of interpreters.

/// No release of Python has a higher third number.
const LAST: u32 = 99;

/// Whether any release of a major.minor version is allowed; nothing if the text is none that is known here.
pub fn allows_python(specifier: &str, version: &str) -> Option<bool> {
    let clauses: Option<Vec<Clause>> =
        specifier.split(',').map(str::trim).filter(|clause| !clause.is_empty()).map(Clause::read).collect();
    let clauses = clauses?;
    let version = numbers(version)?;
    let release =
        |last: u32| [version.first().copied().unwrap_or(0), version.get(1).copied().unwrap_or(0), last];
    Some((0..=LAST).any(|last| clauses.iter().all(|clause| clause.allows(release(last)))))
}

struct Clause {
    operator: String,
    numbers: Vec<u32>,
    /// `3.11.*`
    any: bool,
}

impl Clause {
    fn read(text: &str) -> Option<Clause> {
        let at = text.find(|c: char| c.is_ascii_digit())?;
        let (operator, version) = text.split_at(at);
        let operator = operator.trim().to_owned();
        if !["==", "===", "!=", ">=", "<=", ">", "<", "~="].contains(&operator.as_str()) {
            return None;
        }
        let (version, any) = match version.trim().strip_suffix(".*") {
            Some(version) => (version, true),
            None => (version.trim(), false),
        };
        Some(Clause { operator, numbers: numbers(version)?, any })
    }

    fn allows(&self, release: [u32; 3]) -> bool {
        let of = |at: usize| self.numbers.get(at).copied().unwrap_or(0);
        let own = [of(0), of(1), of(2)];
        let begins = |count: usize| (0..count.min(3)).all(|at| release[at] == of(at));
        match self.operator.as_str() {
            "==" | "===" if self.any => begins(self.numbers.len()),
            "!=" if self.any => !begins(self.numbers.len()),
            "==" | "===" => release == own,
            "!=" => release != own,
            ">=" => release >= own,
            "<=" => release <= own,
            ">" => release > own,
            "<" => release < own,
            // `~=3.9` is `>=3.9, ==3.*`.
            _ => release >= own && begins(self.numbers.len().saturating_sub(1)),
        }
    }
}

/// `3.12.1`; what comes behind (`rc1`) does not count.
fn numbers(text: &str) -> Option<Vec<u32>> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let parts: Option<Vec<u32>> =
        text[..end].trim_end_matches('.').split('.').map(|part| part.parse().ok()).collect();
    parts.filter(|parts| !parts.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specifier_allows_what_pip_allows() {
        for (specifier, yes, no) in [
            (">=3.9", "3.9", "3.8"),
            (">=3.9,<3.12", "3.11", "3.12"),
            (">3.10", "3.11", "3.9"),
            ("==3.11.*", "3.11", "3.12"),
            ("!=3.11.*", "3.10", "3.11"),
            ("~=3.9", "3.13", "4.0"),
            ("~=3.9.2", "3.9", "3.10"),
            ("==3.11.4", "3.11", "3.12"),
            (">=3.11.4", "3.11", "3.10"),
            ("<=3.11", "3.11", "3.12"),
            ("<4", "3.13", "4.0"),
            (">= 3.8 , < 3.10rc1", "3.9", "3.10"),
        ] {
            assert_eq!(allows_python(specifier, yes), Some(true), "{specifier} {yes}");
            assert_eq!(allows_python(specifier, no), Some(false), "{specifier} {no}");
        }
        assert_eq!(allows_python("", "3.11"), Some(true));
        for wrong in ["3.11", "=>3.9", ">=three", "python>=3.9"] {
            assert_eq!(allows_python(wrong, "3.11"), None, "{wrong}");
        }
    }
}
