//! What the fields of inputs have in common: the rules of validated text, for `validator`, and
//! the way from a checked field to its domain type.

use std::borrow::Cow;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer};
use validator::ValidationError;

use crate::domain::common_passwords::is_common;
use crate::domain::text::{Email, GroupName, MessageText, Password, Username, Violation};
use crate::error::{Error, FieldError, Result};

/// `#[validate(custom(function = "input::username"))]`
///
/// # Errors
/// The rule that the text breaks.
pub fn username(text: &str) -> Result<(), ValidationError> {
    rule(Username::parse(text))
}

/// `#[validate(custom(function = "input::email"))]`
///
/// # Errors
/// The rule that the text breaks.
pub fn email(text: &str) -> Result<(), ValidationError> {
    rule(Email::parse(text))
}

/// `#[validate(custom(function = "input::password"))]`, for a password to be.
///
/// # Errors
/// The rule that the text breaks.
pub fn password(text: &str) -> Result<(), ValidationError> {
    rule(Password::parse(text))
}

/// Errors under `accounts.refuse_common_passwords` for a new password.
#[must_use]
pub fn common_password(
    is_refused: bool,
    field: &'static str,
    password: Option<&str>,
) -> Vec<FieldError> {
    if !is_refused || !password.is_some_and(is_common) {
        return Vec::new();
    }
    vec![FieldError::new(
        field,
        "too_common",
        "must not be one of the 10 000 most common passwords",
    )]
}

/// `#[validate(custom(function = "input::group_name"))]`
///
/// # Errors
/// The rule that the text breaks.
pub fn group_name(text: &str) -> Result<(), ValidationError> {
    rule(GroupName::parse(text))
}

/// `#[validate(custom(function = "input::message_text"))]`, for a text that may be empty.
///
/// # Errors
/// The rule that the text breaks.
pub fn message_text(text: &str) -> Result<(), ValidationError> {
    rule(MessageText::parse(text, true))
}

/// The outcome of any `parse` as `validator` wants it.
///
/// # Errors
/// The rule that is broken.
pub fn rule<T>(parsed: Result<T, Violation>) -> Result<(), ValidationError> {
    parsed.map(drop).map_err(|broken| {
        ValidationError::new(broken.code).with_message(Cow::Borrowed(broken.message))
    })
}

/// `#[serde(default, deserialize_with = "input::not_null")]`: a field that may be absent, but
/// cannot be cleared.
///
/// # Errors
/// When the value is null, or not a `T`.
pub fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// `#[serde(default, deserialize_with = "input::nullable")]`: `None` where the field is absent,
/// `Some(None)` where it is null.
///
/// # Errors
/// When the value is neither null nor a `T`.
pub fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// `#[serde(default, deserialize_with = "input::word")]`: one of the words of an enum. By itself
/// serde would take an object for a variant with content, and call its type right.
///
/// # Errors
/// When the value is not text, or no word of `T`.
pub fn word<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    let word = Option::<String>::deserialize(value)?;
    word.map(|word| T::deserialize(word.into_deserializer())).transpose()
}

/// The domain type of a field that may be absent.
///
/// # Errors
/// `validation_failed`; never for a field that was validated.
pub fn maybe<T>(
    name: &'static str,
    field: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, Violation>,
) -> Result<Option<T>> {
    field.map(|text| given(name, Some(text), parse)).transpose()
}

/// The domain type of a field that must be there.
///
/// # Errors
/// `validation_failed`; never for a field that was validated.
pub fn given<T>(
    name: &'static str,
    field: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, Violation>,
) -> Result<T> {
    let text = field.ok_or_else(|| Error::field(name, "required", "field is required"))?;
    parse(text).map_err(|broken| Error::field(name, broken.code, broken.message))
}

/// A field that must be there and needs no parsing.
///
/// # Errors
/// `validation_failed`; never for a field that was validated.
pub fn required<T>(name: &'static str, field: Option<T>) -> Result<T> {
    field.ok_or_else(|| Error::field(name, "required", "field is required"))
}
