//! Changing a Pipelinefile's text in place: comments, order and layout of all else stay as they are.
//!
//! Knows the shape of the file, not what its names mean.

use toml_edit::{DocumentMut, Item, Table};

/// A table to add: `target` or `module`, its name, and its entries as they are to stand there.
#[derive(Clone, Debug)]
pub struct NewTable {
    /// `target` or `module`.
    pub kind: &'static str,
    /// The name behind it.
    pub name: String,
    /// Keys, each with its value in TOML.
    pub entries: Vec<(&'static str, String)>,
}

impl NewTable {
    /// As it is written: a head, and a line for each entry.
    pub fn text(&self) -> String {
        let width = self.entries.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
        let entries = self.entries.iter().map(|(key, value)| format!("{key:width$} = {value}\n"));
        format!("[{}.{}]\n{}", self.kind, self.name, entries.collect::<String>())
    }
}

/// The text with these tables added, each behind the last of its kind.
///
/// # Errors
///
/// Why it cannot be done: the text is no TOML, the name is taken, or all tables of a kind stand in one line.
pub fn add_tables(text: &str, tables: &[NewTable]) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    for table in tables {
        let NewTable { kind, name, .. } = table;
        let mut snippet: DocumentMut =
            table.text().parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
        let made = snippet.get_mut(kind).and_then(Item::as_table_mut).and_then(|table| table.remove(name));
        let Some(Item::Table(mut made)) = made else { return Err(format!("`{name}` is no name")) };
        // Behind the table before it in the same kind.
        made.set_position(None);
        made.decor_mut().set_prefix("\n");
        let above = document.entry(kind).or_insert_with(|| {
            let mut above = Table::new();
            above.set_implicit(true);
            above.set_position(None);
            Item::Table(above)
        });
        let Some(above) = above.as_table_mut() else {
            return Err(format!("`{kind}` is written in one line"));
        };
        if above.contains_key(name) {
            return Err(format!("there is a {kind} `{name}` already"));
        }
        above.insert(name, Item::Table(made));
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> NewTable {
        let entries = vec![("each", "\"inbox\"".to_owned()), ("module", format!("\"{name}\""))];
        NewTable { kind: "target", name: name.to_owned(), entries }
    }

    #[test]
    fn a_target_goes_behind_the_last_one_and_all_else_stays() {
        let text = "# top\n[source.inbox] # here\npath = 'inbox'   # odd\n\n[target.a]\neach = \"inbox\"\n\n\
                    # about ocr\n[module.ocr]\ncmd = \"x {in} {out}\"\n# the end\n";
        let added = add_tables(text, &[target("b")]).unwrap();
        let expected =
            text.replace("\n# about ocr", "\n[target.b]\neach   = \"inbox\"\nmodule = \"b\"\n\n# about ocr");
        assert_eq!(added, expected);
    }

    #[test]
    fn the_first_of_its_kind_goes_to_the_end() {
        let text = "[source.inbox]\npath = \"inbox\"";
        let module = NewTable { kind: "module", name: "m".into(), entries: vec![("cmd", "\"m\"".into())] };
        assert_eq!(
            add_tables(text, &[module, target("t")]).unwrap(),
            "[source.inbox]\npath = \"inbox\"\n\n[module.m]\ncmd = \"m\"\n\n[target.t]\neach   = \"inbox\"\nmodule = \"t\"\n"
        );
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        assert_eq!(add_tables("[target.a]", &[target("a")]).unwrap_err(), "there is a target `a` already");
        assert!(add_tables("target = {}", &[target("a")]).unwrap_err().contains("in one line"));
        assert!(add_tables("[", &[target("a")]).is_err());
    }
}
