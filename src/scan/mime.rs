//! `mime`: what a file is, told from its first bytes. Owns `infer`.

/// The kind of content that begins with `first`; `ext` (lower case) tells only kinds of text apart.
pub fn mime_of(first: &[u8], ext: &str) -> &'static str {
    if let Some(kind) = infer::get(first) {
        return kind.mime_type();
    }
    if !is_text(first) {
        return "application/octet-stream";
    }
    match ext {
        "html" | "htm" => "text/html",
        "md" | "markdown" => "text/markdown",
        "csv" => "text/csv",
        "tsv" => "text/tab-separated-values",
        "json" => "application/json",
        "xml" => "text/xml",
        "svg" => "image/svg+xml",
        _ => "text/plain",
    }
}

/// UTF-8 without NUL; a character may be cut off at the end.
fn is_text(first: &[u8]) -> bool {
    let valid = match std::str::from_utf8(first) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    valid && !first.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_and_the_extension_only_among_text() {
        assert_eq!(mime_of(b"%PDF-1.7\n", "txt"), "application/pdf");
        assert_eq!(mime_of(b"\x89PNG\r\n\x1a\n\0\0", ""), "image/png");
        assert_eq!(mime_of(b"<!DOCTYPE html><p>", "txt"), "text/html");
        assert_eq!(mime_of(b"no tag in sight", "html"), "text/html");
        assert_eq!(mime_of("größe".as_bytes(), "txt"), "text/plain");
        assert_eq!(mime_of(b"plain", "pdf"), "text/plain");
        assert_eq!(mime_of(b"", "txt"), "text/plain");
        assert_eq!(mime_of(b"a\0b", "txt"), "application/octet-stream");
        assert_eq!(mime_of(b"a\xff b", "txt"), "application/octet-stream");
    }

    #[test]
    fn a_character_cut_in_two_at_the_end_is_still_text() {
        assert_eq!(mime_of(&"größe".as_bytes()[..3], "txt"), "text/plain");
    }
}
