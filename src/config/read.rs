//! From what a layer says to the value of a setting.
//!
//! A file has types, the environment has only text: `max_connections = 100` and
//! `NATTER_SERVER__MAX_CONNECTIONS=100` must mean the same, and `prefix = 123` must not fail for
//! being a number. So every single value is taken as text first and read from there.

use std::borrow::Cow;
use std::time::Duration;

use figment::value::{Num, Value};
use serde::de::{Deserialize, Deserializer, Error};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::setting::{Complaint, Setting, quoted};
use super::value::{Quota, Secret};

/// One value.
pub(super) fn one<'de, D: Deserializer<'de>, T: Setting>(input: D) -> Result<T, D::Error> {
    from_text(input, T::parse)
}

/// One value that may be absent; an empty text is absent too.
pub(super) fn optional<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Setting,
{
    from_text(input, |text| match text {
        "" => Ok(None),
        text => T::parse(text).map(Some),
    })
}

/// A list, or one text with commas between the items; an empty text is an empty list.
pub(super) fn list<'de, D, T>(input: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Setting,
{
    let items = match <Value as Deserialize>::deserialize(input)? {
        Value::Array(_, items) => items.into_iter().map(text).collect::<Result<_, _>>(),
        single => text(single).map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>()),
    };
    let items = items.map_err(D::Error::custom)?;
    let items = items.iter().map(|item| item.trim());
    let items = items.filter(|item| !item.is_empty()).map(T::parse);
    items.collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// A whole number from `MIN` to `MAX`.
pub(super) fn whole<'de, D, T, const MIN: u32, const MAX: u32>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u32>,
{
    from_text(input, |text| {
        let number = text.trim().parse::<u32>().ok();
        let number = number.filter(|number| (MIN..=MAX).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("{} is not a whole number from {MIN} to {MAX}", quoted(text)))
    })
}

/// A quota: a whole number up to `MAX`, where 0 is none.
pub(super) fn at_most<'de, D, const MAX: u32>(input: D) -> Result<Option<u32>, D::Error>
where
    D: Deserializer<'de>,
{
    whole::<D, u32, 0, MAX>(input).map(|most| (most > 0).then_some(most))
}

/// Whole seconds, from `MIN` to `MAX`.
pub(super) fn seconds<'de, D, const MIN: u32, const MAX: u32>(
    input: D,
) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    whole::<D, u32, MIN, MAX>(input).map(|seconds| Duration::from_secs(seconds.into()))
}

/// A limit, or `off`.
pub(super) fn quota<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Quota>, D::Error> {
    let expected = r#"is not a limit like 20/1m (at most 24h), and not "off""#;
    from_text(input, |text| match text {
        "off" => Ok(None),
        text => Quota::parse(text).map(Some).ok_or_else(|| format!("{} {expected}", quoted(text))),
    })
}

/// An https URL that stops after host and port.
pub(super) fn public_url<'de, D: Deserializer<'de>>(input: D) -> Result<Url, D::Error> {
    from_text(input, |text| {
        let bare = |url: &Url| {
            url.scheme() == "https"
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        let url = Url::parse(text).ok().filter(bare);
        url.ok_or_else(|| {
            format!("{} is not like https://chat.example.org, with nothing after it", quoted(text))
        })
    })
}

/// A MongoDB connection string: the driver reads the rest, and says nothing of the text either.
pub(super) fn mongodb_uri<'de, D: Deserializer<'de>>(input: D) -> Result<Secret, D::Error> {
    from_text(input, |text| {
        let rest = text.strip_prefix("mongodb://").or(text.strip_prefix("mongodb+srv://"));
        let valid = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?']));
        secret_if(valid, text, "is not like mongodb://host:27017/?replicaSet=rs0")
    })
}

/// A database name that every platform and `natter` tool takes unquoted.
pub(super) fn database<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    from_text(input, |text| {
        let valid = (1..=63).contains(&text.len())
            && text.bytes().all(plain)
            && !matches!(text, "admin" | "config" | "local");
        text_if(
            valid,
            text,
            "is not a database name: 1 to 63 letters, digits, _ or -, and not admin, config or local",
        )
    })
}

/// A Redis URL, with nothing in it that would not be heeded.
pub(super) fn redis_url<'de, D: Deserializer<'de>>(input: D) -> Result<Secret, D::Error> {
    from_text(input, |text| {
        let valid = Url::parse(text).is_ok_and(|url| {
            let database = url.path().trim_matches('/');
            let protocol = |(name, value): (Cow<'_, str>, Cow<'_, str>)| {
                name == "protocol" && matches!(&*value, "2" | "3" | "resp2" | "resp3")
            };
            matches!(url.scheme(), "redis" | "rediss")
                && url.host_str().is_some_and(|host| !matches!(host, "" | "0.0.0.0" | "[::]"))
                && (database.is_empty() || database.parse::<u32>().is_ok())
                && url.query_pairs().all(protocol)
                && url.fragment().is_none()
        });
        secret_if(
            valid,
            text,
            "is not like redis://host:6379 or rediss://host:6379/0, or has unknown options",
        )
    })
}

/// What Redis keys begin with.
pub(super) fn redis_prefix<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    from_text(input, |text| {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let valid = visible && (1..=64).contains(&text.len());
        text_if(valid, text, "is not 1 to 64 visible ASCII characters")
    })
}

/// Filter directives; kept as text because the parsed filter cannot be cloned.
pub(super) fn log_level<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    from_text(input, |text| {
        let valid = !text.trim().is_empty() && EnvFilter::builder().parse(text).is_ok();
        text_if(valid, text, "is not a level like info, and no list like info,natter=debug")
    })
}

fn secret_if(valid: bool, text: &str, complaint: &str) -> Result<Secret, Complaint> {
    valid.then(|| Secret::new(text)).ok_or_else(|| format!("its value {complaint}"))
}

fn text_if(valid: bool, text: &str, complaint: &str) -> Result<String, Complaint> {
    valid.then(|| text.to_owned()).ok_or_else(|| format!("{} {complaint}", quoted(text)))
}

fn from_text<'de, D, T>(
    input: D,
    parse: impl FnOnce(&str) -> Result<T, Complaint>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let text = text(<Value as Deserialize>::deserialize(input)?).map_err(D::Error::custom)?;
    parse(&text).map_err(D::Error::custom)
}

fn text(value: Value) -> Result<String, Complaint> {
    match value {
        Value::String(_, text) => Ok(text),
        Value::Char(_, char) => Ok(char.into()),
        Value::Bool(_, bool) => Ok(bool.to_string()),
        Value::Num(_, number) => Ok(number_text(number)),
        Value::Empty(..) => Ok(String::new()),
        Value::Array(..) => Err("a list is given where one value is expected".into()),
        Value::Dict(..) => Err("a table is given where one value is expected".into()),
    }
}

fn number_text(number: Num) -> String {
    let unsigned = number.to_u128().map(|number| number.to_string());
    let signed = || number.to_i128().map(|number| number.to_string());
    let float = || number.to_f64().map(|number| number.to_string());
    unsigned.or_else(signed).or_else(float).unwrap_or_default()
}
