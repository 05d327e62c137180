//! `where`: which documents are let in. A document passes if it passes every field's condition.
//!
//! A condition is a value or a list. In a list, one of the plain values must match, and none of those with `!`.
//! Strings are globs for `id`, its parts and `mime`. An absent field (or null) passes only what has `!` everywhere.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

use super::field::Field;
use super::glob::Glob;
use super::quantity::parse_size;

/// What documents must pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Test {
    /// Sorted by field, each once.
    conditions: Vec<(Field, Condition)>,
}

/// What one field must pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    any: Vec<Pattern>,
    none: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq)]
enum Pattern {
    /// A value of the same type.
    Is(Value),
    /// What stands behind `!`: a string, number or boolean of this text.
    Text(String),
    Glob(Glob),
    Number(Comparison, f64, String),
    /// Dates and times in ISO form sort as text.
    Date(Comparison, String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// The longer signs first.
const COMPARISONS: [(&str, Comparison); 4] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

impl Test {
    /// A test of these conditions.
    pub fn new(mut conditions: Vec<(Field, Condition)>) -> Test {
        conditions.sort_by(|a, b| a.0.cmp(&b.0));
        Test { conditions }
    }

    /// Whether a document passes; `lookup` gives its fields, and nothing for those that it has not.
    pub fn passes(&self, lookup: &dyn Fn(&Field) -> Option<Value>) -> bool {
        self.conditions.iter().all(|(field, condition)| condition.passes(lookup(field).as_ref()))
    }

    /// The first condition that a document does not meet, in words: `meta.lang is "de", not "en"`; nothing if it passes.
    pub fn fails(&self, lookup: &dyn Fn(&Field) -> Option<Value>) -> Option<String> {
        let fails = |(field, condition): &(Field, Condition)| {
            let value = lookup(field).filter(|value| !value.is_null());
            let is = value.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
            let words = || format!("{field} is {}, not {condition}", crate::text::shorten(&is, 60));
            (!condition.passes(value.as_ref())).then(words)
        };
        self.conditions.iter().find_map(fails)
    }

    /// The fields that are asked for, sorted.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.conditions.iter().map(|(field, _)| field)
    }
}

/// The canonical text: equal tests have equal texts. Part of definition ids.
impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (field, condition)) in self.conditions.iter().enumerate() {
            write!(f, "{}{field} = {condition}", if i == 0 { " " } else { ", " })?;
        }
        f.write_str(" }")
    }
}

impl Condition {
    /// Reads the condition of a field: a scalar, or a list of them. The error says what is wrong.
    pub fn parse(field: &Field, value: &Value) -> Result<Condition, String> {
        let values = match value {
            Value::Array(values) if values.is_empty() => {
                return Err("an empty list lets nothing pass".to_owned());
            }
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let mut condition = Condition { any: Vec::new(), none: Vec::new() };
        for value in values {
            match value {
                Value::String(text) if text.starts_with('!') => {
                    condition.none.push(negated(field, text[1..].trim_start())?);
                }
                Value::String(text) => condition.any.push(plain(field, text)?),
                Value::Number(_) | Value::Bool(_) => condition.any.push(scalar(field, value)?),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err("a test is a text, a number, true or false, or a list of these".to_owned());
                }
            }
        }
        Ok(condition)
    }

    fn passes(&self, value: Option<&Value>) -> bool {
        let Some(value) = value.filter(|value| !value.is_null()) else { return self.any.is_empty() };
        let any = self.any.is_empty() || self.any.iter().any(|pattern| pattern.matches(value));
        any && !self.none.iter().any(|pattern| pattern.matches(value))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let negations = self.none.iter().map(|pattern| format!("!{}", pattern.text()));
        let mut parts: Vec<String> = self.any.iter().map(Pattern::canonical).collect();
        parts.extend(negations.map(|text| Value::String(text).to_string()));
        match parts.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

impl Pattern {
    fn matches(&self, value: &Value) -> bool {
        match self {
            Pattern::Is(wanted) => equal(wanted, value),
            Pattern::Text(text) => match value {
                Value::String(string) => string == text,
                Value::Bool(flag) => *text == if *flag { "true" } else { "false" },
                Value::Number(number) => {
                    text.parse::<f64>().is_ok_and(|wanted| number.as_f64() == Some(wanted))
                }
                _ => false,
            },
            Pattern::Glob(glob) => value.as_str().is_some_and(|text| glob.matches(text)),
            Pattern::Number(comparison, limit, _) => value
                .as_f64()
                .and_then(|number| number.partial_cmp(limit))
                .is_some_and(|o| comparison.holds(o)),
            Pattern::Date(comparison, date) => {
                value.as_str().is_some_and(|text| comparison.holds(text.cmp(date)))
            }
        }
    }

    /// As it would be written between quotes.
    fn text(&self) -> String {
        match self {
            Pattern::Is(Value::String(text)) | Pattern::Text(text) => text.clone(),
            Pattern::Is(value) => value.to_string(),
            Pattern::Glob(glob) => glob.pattern().to_owned(),
            Pattern::Number(comparison, _, text) | Pattern::Date(comparison, text) => {
                format!("{}{text}", comparison.sign())
            }
        }
    }

    fn canonical(&self) -> String {
        match self {
            Pattern::Is(value) => value.to_string(),
            other => Value::String(other.text()).to_string(),
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Below => order.is_lt(),
            Comparison::AtMost => order.is_le(),
            Comparison::Above => order.is_gt(),
            Comparison::AtLeast => order.is_ge(),
        }
    }

    fn sign(self) -> &'static str {
        COMPARISONS.iter().find(|(_, known)| *known == self).map_or("<", |(sign, _)| sign)
    }
}

/// Numbers by value, so that 1 is 1.0; everything else by type and value, so that 1 is not "1".
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn plain(field: &Field, text: &str) -> Result<Pattern, String> {
    for (sign, comparison) in COMPARISONS {
        if let Some(limit) = text.strip_prefix(sign) {
            return compared(field, comparison, sign, limit.trim());
        }
    }
    literal(field, text, |text| Pattern::Is(Value::String(text)))
}

fn negated(field: &Field, text: &str) -> Result<Pattern, String> {
    if text.is_empty() {
        return Err("`!` stands in front of nothing".to_owned());
    }
    if COMPARISONS.iter().any(|(sign, _)| text.starts_with(sign)) {
        return Err(format!("`!` and a comparison do not go together: turn `{text}` round"));
    }
    literal(field, text, Pattern::Text)
}

fn literal(field: &Field, text: &str, as_text: impl Fn(String) -> Pattern) -> Result<Pattern, String> {
    match field {
        Field::Id(_) | Field::Mime => Glob::new(text)
            .map(Pattern::Glob)
            .map_err(|problem| format!("the glob `{text}` is wrong: {problem}")),
        Field::Ext => Ok(as_text(text.trim_start_matches('.').to_lowercase())),
        Field::Size => match parse_size(text) {
            Some(bytes) => Ok(Pattern::Is(bytes.into())),
            None => Err(format!("`{text}` is no size: write `10MB`, `1GiB` or a number of bytes")),
        },
        Field::Source | Field::Meta(_) => Ok(as_text(text.to_owned())),
    }
}

fn scalar(field: &Field, value: &Value) -> Result<Pattern, String> {
    let fits = match field {
        Field::Meta(_) => true,
        Field::Size => value.is_u64(),
        Field::Id(_) | Field::Ext | Field::Mime | Field::Source => false,
    };
    if fits {
        Ok(Pattern::Is(value.clone()))
    } else {
        Err(format!("`{field}` is {}, never {value}", if *field == Field::Size { "a size" } else { "text" }))
    }
}

fn compared(field: &Field, comparison: Comparison, sign: &str, limit: &str) -> Result<Pattern, String> {
    if !matches!(field, Field::Size | Field::Meta(_)) {
        return Err(format!("`{field}` is text: `{sign}` compares numbers, sizes and dates"));
    }
    let number = limit.parse::<f64>().ok().filter(|number| number.is_finite());
    if let Some(number) = number.or_else(|| parse_size(limit).map(|bytes| bytes as f64)) {
        return Ok(Pattern::Number(comparison, number, limit.to_owned()));
    }
    if *field != Field::Size && is_date(limit) {
        return Ok(Pattern::Date(comparison, limit.to_owned()));
    }
    Err(format!("`{limit}` is no number, size (`10MB`, `1GiB`) or date (`2024-12-31`)"))
}

/// Whether a text begins as `2024-12` does.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 7 && (0..7).all(|i| if i == 4 { bytes[i] == b'-' } else { bytes[i].is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn condition(field: &str, value: &Value) -> Result<Condition, String> {
        Condition::parse(&Field::parse(field).unwrap(), value)
    }

    fn passes(field: &str, test: &Value, value: impl Into<Option<Value>>) -> bool {
        let value = value.into();
        let field = Field::parse(field).unwrap();
        let test = Test::new(vec![(field.clone(), Condition::parse(&field, test).unwrap())]);
        test.passes(&|_| value.clone())
    }

    #[test]
    fn a_value_passes_by_type_and_value() {
        assert!(passes("meta.n", &json!(1), Some(json!(1.0))));
        assert!(!passes("meta.n", &json!(1), Some(json!("1"))));
        assert!(passes("meta.lang", &json!("en"), Some(json!("en"))));
        assert!(passes("meta.ok", &json!(false), Some(json!(false))));
        assert!(!passes("meta.ok", &json!(false), None));
        assert!(passes("ext", &json!(".PDF"), Some(json!("pdf"))));
    }

    #[test]
    fn a_list_is_any_of_and_none_of() {
        let languages = json!(["en", "de"]);
        assert!(passes("meta.lang", &languages, Some(json!("de"))));
        assert!(!passes("meta.lang", &languages, Some(json!("fr"))));
        let neither = json!(["!en", "!de"]);
        assert!(passes("meta.lang", &neither, Some(json!("fr"))));
        assert!(!passes("meta.lang", &neither, Some(json!("de"))));
        assert!(passes("id", &json!(["inbox/**", "!**/*.bak"]), Some(json!("inbox/a/b"))));
        assert!(!passes("id", &json!(["inbox/**", "!**/*.bak"]), Some(json!("inbox/a.bak"))));
    }

    #[test]
    fn an_absent_field_passes_only_negations() {
        for absent in [None, Some(Value::Null)] {
            assert!(passes("meta.lang", &json!("!en"), absent.clone()));
            assert!(!passes("meta.lang", &json!("en"), absent.clone()));
            assert!(!passes("meta.lang", &json!(["en", "!de"]), absent.clone()));
            assert!(!passes("size", &json!(">1"), absent));
        }
    }

    #[test]
    fn a_negation_compares_by_text() {
        assert!(!passes("meta.n", &json!("!5"), Some(json!(5))));
        assert!(!passes("meta.n", &json!("!5"), Some(json!("5"))));
        assert!(!passes("meta.ok", &json!("!true"), Some(json!(true))));
        assert!(passes("meta.ok", &json!("! true"), Some(json!(false))));
    }

    #[test]
    fn sizes_numbers_and_dates_are_compared() {
        assert!(passes("size", &json!("<10MB"), Some(json!(9_999_999))));
        assert!(!passes("size", &json!("<10MB"), Some(json!(10_000_000))));
        assert!(passes("size", &json!(">= 1KiB"), Some(json!(1024))));
        assert!(passes("meta.score", &json!(">0.5"), Some(json!(0.75))));
        assert!(!passes("meta.score", &json!(">0.5"), Some(json!("0.75"))));
        assert!(passes("meta.date", &json!(">=2024-01"), Some(json!("2024-01-05"))));
        assert!(!passes("meta.date", &json!("<2024-01-01"), Some(json!("2024-01-05"))));
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        let wrong = |field: &str, value: Value| condition(field, &value).unwrap_err();
        assert_eq!(wrong("id", json!(3)), "`id` is text, never 3");
        assert!(wrong("size", json!("<ten")).contains("`ten` is no number"));
        assert!(wrong("size", json!("<2024-01-01")).contains("is no number"));
        assert!(wrong("size", json!("big")).contains("is no size"));
        assert!(wrong("ext", json!(">a")).contains("is text"));
        assert!(wrong("meta.n", json!("!<5")).contains("turn `<5` round"));
        assert!(wrong("id", json!("a[")).contains("glob"));
        assert!(wrong("meta.n", json!([])).contains("empty"));
        assert!(wrong("meta.n", json!({"a": 1})).contains("a test is"));
    }

    #[test]
    fn the_text_of_a_test_does_not_depend_on_the_order_of_fields() {
        let field = |name: &str| Field::parse(name).unwrap();
        let entry = |name: &str, value: Value| (field(name), condition(name, &value).unwrap());
        let one = Test::new(vec![entry("meta.lang", json!(["en", "!de"])), entry("size", json!("<1 MB"))]);
        let two = Test::new(vec![entry("size", json!("<1 MB")), entry("meta.lang", json!(["en", "!de"]))]);
        assert_eq!(one.to_string(), r#"{ size = "<1 MB", meta.lang = ["en", "!de"] }"#);
        assert_eq!(one, two);
        assert_eq!(one.fields().map(ToString::to_string).collect::<Vec<_>>(), ["size", "meta.lang"]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_condition_or_refused(text in "\\PC{0,12}", field in 0usize..13) {
            let field = Field::parse(Field::NAMES[field]).unwrap();
            if let Ok(condition) = Condition::parse(&field, &json!(text)) {
                let again: Value = serde_json::from_str(&condition.to_string()).unwrap();
                prop_assert_eq!(Condition::parse(&field, &again).unwrap(), condition);
            }
        }
    }
}
