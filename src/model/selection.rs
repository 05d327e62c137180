//! Fields, tests and templates: how a Pipelinefile speaks of documents (`where`, `sees`, `publish`, `on`).

/// Replaced by the language's own parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field;
/// Replaced by the language's own parser.
#[derive(Clone, Debug)]
pub struct Test;
/// Replaced by the language's own parser.
#[derive(Clone, Debug)]
pub struct Template;
