//! Single values of the language: durations, sizes, shares, rates, names. Pure functions; errors are what is wanted.

use std::time::Duration;

use serde_json::Value;
use toml::de::DeValue;

use crate::model::allowance::Allowance;
use crate::model::pipeline::Rate;
use crate::model::selection::parse_size;

/// A TOML value as JSON; dates become text. The error says what JSON cannot hold.
pub(super) fn json(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::String(text) => Ok(Value::String(text.to_string())),
        DeValue::Boolean(flag) => Ok(Value::Bool(*flag)),
        DeValue::Datetime(date) => Ok(Value::String(date.to_string())),
        DeValue::Integer(_) => {
            integer(value).map(Value::from).ok_or_else(|| "this number is too large".to_owned())
        }
        DeValue::Float(_) => number(value)
            .and_then(serde_json::Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| "this is no finite number".to_owned()),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                Ok((key.to_string(), json(value.get_ref())?))
            };
            table.iter().map(entry).collect::<Result<serde_json::Map<_, _>, String>>().map(Value::Object)
        }
    }
}

/// A whole number.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

/// A number with or without a fraction.
pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
        _ => integer(value).map(|whole| whole as f64),
    }
}

/// What a value is, for people.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `120`, `"120s"`, `"5m"`, `"1h30m"`, `"500ms"`.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let wanted =
        || "a duration such as \"90s\", \"5m\", \"1h30m\" or a number of seconds, above 0".to_owned();
    let seconds = match value {
        DeValue::String(text) => seconds(text).ok_or_else(wanted)?,
        _ => number(value).ok_or_else(wanted)?,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time > Duration::ZERO).ok_or_else(wanted)
}

fn seconds(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        sum += number
            * match &rest[..unit] {
                "ms" => 0.001,
                "s" | "sec" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return None,
            };
        rest = rest[unit..].trim_start();
    }
    Some(sum)
}

/// `"2GiB"` or a number of bytes.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, String> {
    let bytes = match value {
        DeValue::String(text) => parse_size(text),
        _ => integer(value).and_then(|bytes| u64::try_from(bytes).ok()),
    };
    let wanted = "a size such as \"500MB\", \"2GiB\" or a number of bytes, above 0";
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| wanted.to_owned())
}

/// `"95%"` or `0.95`.
pub(super) fn share(value: &DeValue<'_>) -> Result<f64, String> {
    let share = match value {
        DeValue::String(text) => percent(text),
        _ => number(value),
    };
    let wanted = "a share such as \"95%\" or 0.95";
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| wanted.to_owned())
}

fn percent(text: &str) -> Option<f64> {
    Some(text.trim().strip_suffix('%')?.trim_end().parse::<f64>().ok()? / 100.0)
}

/// `10` or `"5%"`.
pub(super) fn limit(value: &DeValue<'_>) -> Result<Allowance, String> {
    let wanted = || "a number of documents such as 10, or a share such as \"5%\"".to_owned();
    match value {
        DeValue::String(text) if text.trim().ends_with('%') => text.parse().map_err(|_| wanted()),
        DeValue::String(_) => Err(wanted()),
        _ => integer(value).and_then(|n| u64::try_from(n).ok()).map(Allowance::Count).ok_or_else(wanted),
    }
}

/// `"60/min"`, as written.
pub(super) fn rate(value: &DeValue<'_>) -> Result<Rate, String> {
    let text = value.as_str().unwrap_or_default();
    let parts = text.split_once('/').map(|(number, unit)| (number.trim().parse::<f64>(), unit.trim()));
    let seconds = match parts {
        Some((_, "s" | "sec")) => 1,
        Some((_, "min")) => 60,
        Some((_, "h")) => 60 * 60,
        Some((_, "day")) => 24 * 60 * 60,
        _ => 0,
    };
    match parts {
        Some((Ok(documents), _)) if documents.is_finite() && documents > 0.0 && seconds > 0 => {
            Ok(Rate { documents, per: Duration::from_secs(seconds) })
        }
        _ => Err("a rate such as \"5/s\", \"60/min\", \"1000/h\" or \"5000/day\"".to_owned()),
    }
}

/// The file's part of a name, and the function's.
pub(super) fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once(':').map_or((name, None), |(file, function)| (file, Some(function)))
}

/// Whether this may name a source, a target or a module.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Whether Python can name something so.
pub fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(toml: &str, read: impl Fn(&DeValue<'_>) -> Result<T, String>) -> Option<T> {
        read(DeValue::parse(toml).unwrap().get_ref()).ok()
    }

    #[test]
    fn durations_are_read_with_and_without_units() {
        let of = |toml: &str| read(toml, duration).map(|time| time.as_millis());
        let times = ["120", "\"120s\"", "\"5m\"", "\"1h30m\"", "\"500ms\"", "0.5", "\"1.5 h\""].map(of);
        assert_eq!(times, [120_000, 120_000, 300_000, 5_400_000, 500, 500, 5_400_000].map(Some));
        for wrong in ["0", "-1", "\"\"", "\"5\"", "\"5 weeks\"", "\"m\"", "true", "inf", "\"1..5s\"", "1e300"]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shares_limits_rates_and_sizes() {
        assert_eq!(read("\"95%\"", share), Some(0.95));
        assert_eq!(read("1", share), Some(1.0));
        assert_eq!(read("95", share), None);
        assert_eq!(read("\"5 %\"", limit), Some(Allowance::Percent(5.0)));
        assert_eq!(read("10", limit), Some(Allowance::Count(10)));
        assert_eq!(read("-1", limit), None);
        let rate_of = |documents, seconds| Rate { documents, per: Duration::from_secs(seconds) };
        assert_eq!(read("\"60/min\"", rate), Some(rate_of(60.0, 60)));
        assert_eq!(read("\" 0.5 / s \"", rate), Some(rate_of(0.5, 1)));
        assert_eq!(read("\"0/s\"", rate), None);
        assert_eq!(read("\"60/fortnight\"", rate), None);
        assert_eq!(read("\"2GiB\"", size), Some(2 << 30));
        assert_eq!(read("1_000", size), Some(1000));
        assert_eq!(read("0", size), None);
    }

    #[test]
    fn toml_becomes_json() {
        let of = |toml: &str| read(toml, json).map(|value| value.to_string());
        assert_eq!(of("{ b = [1, 2.5], a = 'x' }").as_deref(), Some(r#"{"a":"x","b":[1,2.5]}"#));
        assert_eq!(of("0xff").as_deref(), Some("255"));
        assert_eq!(of("2024-01-31").as_deref(), Some("\"2024-01-31\""));
        assert_eq!(of("nan"), None);
        assert_eq!(of("99999999999999999999"), None);
    }
}
