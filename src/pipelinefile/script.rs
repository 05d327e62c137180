//! What a script says of itself in its metadata block (PEP 723). Knows nothing of targets.

/// The block `# /// script` as a table; nothing if there is none that can be read.
fn block(text: &str) -> Option<toml::Table> {
    let mut lines = text.lines().skip_while(|line| line.trim_end() != "# /// script").skip(1);
    let block: Vec<&str> = lines
        .by_ref()
        .take_while(|line| line.trim_end() != "# ///")
        .filter_map(|line| line.strip_prefix('#'))
        .collect();
    let block: Vec<&str> = block.into_iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    toml::from_str(&block.join("\n")).ok()
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
        ] {
            assert_eq!(script_dependencies(none), None);
        }
    }
}
