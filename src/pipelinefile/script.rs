//! What a script says of itself in its metadata block (PEP 723). Knows nothing of targets.

/// How a block begins and ends.
const BEGIN: &str = "# /// script";
const END: &str = "# ///";

/// The block `# /// script` as a table; nothing if there is none that can be read.
fn block(text: &str) -> Option<toml::Table> {
    read(text).ok().flatten()
}

/// The same, or what is wrong with it: the line, and why.
fn read(text: &str) -> Result<Option<toml::Table>, (usize, String)> {
    let Some(begin) = text.lines().position(|line| line.trim_end() == BEGIN) else { return Ok(None) };
    let rest: Vec<&str> = text.lines().skip(begin + 1).collect();
    // Every line of it is a comment.
    let comments = rest.iter().take_while(|line| line.starts_with('#')).count();
    let Some(end) = rest[..comments].iter().rposition(|line| line.trim_end() == END) else {
        return Err((begin + 1, format!("the block `{BEGIN}` has no end `{END}`")));
    };
    let lines = rest[..end].iter().map(|line| {
        let line = line.strip_prefix('#').unwrap_or(line);
        line.strip_prefix(' ').unwrap_or(line)
    });
    let block = lines.collect::<Vec<_>>().join("\n");
    toml::from_str(&block).map(Some).map_err(|error| {
        let before = error.span().and_then(|span| block.get(..span.start)).unwrap_or_default();
        (begin + 2 + before.matches('\n').count(), error.message().trim().to_owned())
    })
}

/// What is wrong with the block of a script: the line, and why.
pub fn script_fault(text: &str) -> Option<(usize, String)> {
    let table = match read(text) {
        Err(fault) => return Some(fault),
        Ok(table) => table?,
    };
    let line_of = |key: &str| {
        let begins = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(key);
        text.lines().position(begins).unwrap_or_default() + 1
    };
    let dependencies = table.get("dependencies")?;
    let is_list = dependencies.as_array().is_some_and(|list| list.iter().all(toml::Value::is_str));
    (!is_list).then(|| {
        (line_of("dependencies"), "`dependencies` is a list of texts, as in [\"rich>=13\"]".to_owned())
    })
}

/// What the `[tool.pipe]` table says: what the module accepts, what it returns.
pub fn script_says(text: &str) -> (Option<String>, Option<String>) {
    let Some(table) = block(text) else { return (None, None) };
    let says = |key: &str| {
        let value = table.get("tool")?.get("pipe")?.get(key)?;
        value.as_str().map(str::to_owned).or_else(|| serde_json::to_string(value).ok())
    };
    (says("accepts"), says("returns"))
}

/// The packages that it depends on, as it writes them; nothing if it says nothing of them.
pub fn script_dependencies(text: &str) -> Option<Vec<String>> {
    let table = block(text)?;
    let list = table.get("dependencies")?.as_array()?;
    Some(list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
}

/// The versions of Python that it takes, as it writes them.
pub fn script_python(text: &str) -> Option<String> {
    Some(block(text)?.get("requires-python")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "#!/usr/bin/env python3\n# /// script\n# dependencies = [\"x>=1\", \"y\"]\n#\n# [tool.pipe]\n\
                        # accepts = \"*.txt\"\n# returns = [\"text\", \"json\"]\n# ///\nimport x\n";

    #[test]
    fn a_script_says_what_it_accepts() {
        assert_eq!(script_says(TEXT), (Some("*.txt".to_owned()), Some("[\"text\",\"json\"]".to_owned())));
        assert_eq!(script_says("import x\n"), (None, None));
    }

    #[test]
    fn a_script_says_which_python_it_takes() {
        let text = "# /// script\n# requires-python = \">=3.9\"\n# ///\n";
        assert_eq!((script_python(text), script_python(TEXT)), (Some(">=3.9".to_owned()), None));
    }

    #[test]
    fn a_script_says_what_it_needs() {
        assert_eq!(script_dependencies(TEXT), Some(vec!["x>=1".to_owned(), "y".to_owned()]));
        for none in [
            "import x\n",
            "# /// script\n# requires-python = \">=3.9\"\n# ///\n",
            "# /// script\n# = \n# ///\n",
            "# /// script\n# dependencies = [\"x\"]\nimport x\n# ///\n",
        ] {
            assert_eq!(script_dependencies(none), None);
        }
    }

    #[test]
    fn a_block_that_cannot_be_read_is_told_with_its_line() {
        let fault = |text: &str| script_fault(text).map(|(line, why)| format!("{line}: {why}"));
        assert_eq!(fault(TEXT), None);
        assert_eq!(fault("import x\n"), None);
        let broken =
            fault("import y\n# /// script\n# requires-python = \">=3.9\"\n# dependencies = [\"x\"\n# ///\n");
        assert!(broken.as_ref().is_some_and(|told| told.starts_with("4: ")), "{broken:?}");
        let open = "# /// script\n# dependencies = [\"x\"]\nimport x\n";
        assert_eq!(fault(open).unwrap(), "1: the block `# /// script` has no end `# ///`");
        let text = "# /// script\n# dependencies = \"x\"\n# ///\n";
        assert_eq!(fault(text).unwrap(), "2: `dependencies` is a list of texts, as in [\"rich>=13\"]");
    }
}
