//! The query of a URL: every word known, none twice, every bad one reported.

use std::collections::BTreeMap;

use url::form_urlencoded;
use warp::{Filter, Rejection};

use crate::domain::page::{Limit, parse_cursor};
use crate::error::{Error, FieldError, Result};

/// What a route reads from its query.
pub trait QueryInput: Sized + Send + 'static {
    /// Takes each parameter by name; what is not taken is unknown, and so refused.
    fn read(query: &mut Query) -> Self;
}

/// Which page of a list that nothing else narrows.
#[derive(Debug)]
pub struct PageQuery {
    /// How many items.
    pub limit: Limit,
    /// Where to go on; absent at the start.
    pub cursor: Option<String>,
}

impl QueryInput for PageQuery {
    fn read(query: &mut Query) -> Self {
        Self { limit: query.limit(), cursor: query.cursor() }
    }
}

/// The parameters of one query, and what was wrong with those taken so far.
#[derive(Debug, Default)]
pub struct Query {
    values: BTreeMap<String, String>,
    errors: Vec<FieldError>,
    /// What comes before all errors of fields.
    malformed: Option<Error>,
}

impl Query {
    fn parse(raw: &str) -> Result<Self> {
        let mut query = Self::default();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            if !is_decodable(pair) {
                return Err(Error::malformed("invalid_query", "malformed query: not valid UTF-8"));
            }
            for (name, value) in form_urlencoded::parse(pair.as_bytes()) {
                if query.values.insert(name.into_owned(), value.into_owned()).is_some() {
                    return Err(Error::malformed(
                        "invalid_query",
                        "parameter given more than once",
                    ));
                }
            }
        }
        Ok(query)
    }

    /// The text of a parameter, if it was given.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    /// What a text means; `None` where it is absent, or malformed as this says.
    pub fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(String) -> Result<T>) -> Option<T> {
        let parsed = parse(self.text(name)?);
        parsed.map_err(|error| self.malformed.get_or_insert(error)).ok()
    }

    /// `cursor`: where the page before ended.
    pub fn cursor(&mut self) -> Option<String> {
        self.parsed("cursor", parse_cursor)
    }

    /// `limit`: 1 to 100, 50 where it is absent.
    pub fn limit(&mut self) -> Limit {
        match self.text("limit") {
            None => Limit::default(),
            Some(text) => plain_number(&text).and_then(Limit::new).unwrap_or_else(|| {
                self.refuse("limit", "out_of_range", "must be a whole number from 1 to 100");
                Limit::default()
            }),
        }
    }

    /// `true` or `false`; absent is `false`.
    pub fn flag(&mut self, name: &str) -> bool {
        self.one_of(name, &[("true", true), ("false", false)]).unwrap_or(false)
    }

    /// What the word of a parameter stands for; `None` where it is absent, or refused as unknown.
    pub fn one_of<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let word = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if word.is_none() {
            self.refuse(name, "unknown", "must be one of the documented values");
        }
        word
    }

    /// Reports a parameter as bad.
    pub fn refuse(&mut self, name: &str, code: &'static str, message: &'static str) {
        self.errors.push(FieldError::new(name, code, message));
    }

    fn finish<T>(mut self, input: T) -> Result<T> {
        if let Some(error) = self.malformed {
            return Err(error);
        }
        for name in self.values.into_keys() {
            self.errors.push(FieldError::new(name, "unknown", "unknown parameter"));
        }
        if self.errors.is_empty() {
            return Ok(input);
        }
        self.errors.sort_by(|a, b| a.field.cmp(&b.field));
        Err(Error::fields(self.errors))
    }
}

fn plain_number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Whether every escape is `%` and two hexadecimal digits, and the decoded bytes are UTF-8.
fn is_decodable(pair: &str) -> bool {
    let bytes = pair.as_bytes();
    let escapes = bytes.iter().enumerate().filter(|(_, b)| **b == b'%').all(|(at, _)| {
        bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    escapes && percent_encoding::percent_decode(bytes).decode_utf8().is_ok()
}

/// Reads the query of the URL as `T`.
pub fn query<T: QueryInput>()
-> impl Filter<Extract = (T,), Error = Rejection> + Clone + Send + Sync + 'static {
    raw().and_then(|raw: String| async move {
        let read = || {
            let mut query = Query::parse(&raw)?;
            let input = T::read(&mut query);
            query.finish(input)
        };
        read().map_err(warp::reject::custom)
    })
}

fn raw() -> impl Filter<Extract = (String,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::query::raw().or_else(|_| async { Ok::<_, Rejection>((String::new(),)) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Input {
        limit: Limit,
        q: Option<String>,
        status: Option<bool>,
    }

    impl QueryInput for Input {
        fn read(query: &mut Query) -> Self {
            Self {
                limit: query.limit(),
                q: query.text("q"),
                status: query.one_of("status", &[("on", true), ("off", false)]),
            }
        }
    }

    async fn ask(url: &str) -> Result<Input, (&'static str, Vec<String>)> {
        let answer = warp::test::request().path(url).filter(&query::<Input>()).await;
        answer.map_err(|rejection| {
            let error = rejection.find::<Error>().expect("one of ours");
            (error.code(), error.field_errors().iter().map(|e| e.field.clone()).collect())
        })
    }

    #[tokio::test]
    async fn known_words_are_read() {
        let input = ask("/x?q=a%20b%2B%F0%9F%98%80&limit=100&status=off").await.expect("valid");
        assert_eq!(
            (input.q.as_deref(), input.limit.get(), input.status),
            (Some("a b+\u{1F600}"), 100, Some(false))
        );
        let input = ask("/x").await.expect("valid");
        assert_eq!((input.q, input.limit.get(), input.status), (None, 50, None));
    }

    #[tokio::test]
    async fn everything_else_is_refused_by_name() {
        for limit in ["0", "101", "-1", "+5", "1e1", "", "x", "99999999999999999999"] {
            let got = ask(&format!("/x?limit={limit}")).await.expect_err("refused");
            assert_eq!(got, ("validation_failed", vec!["limit".to_owned()]), "{limit}");
        }
        let got = ask("/x?limit[$gt]=1&q[$ne]=&status=maybe").await.expect_err("refused");
        assert_eq!(
            got,
            ("validation_failed", ["limit[$gt]", "q[$ne]", "status"].map(str::to_owned).to_vec())
        );
        for bad in ["/x?q=1&q=2", "/x?q=%FF", "/x?q=%zz", "/x?q=%", "/x?q=%C3%28"] {
            assert_eq!(ask(bad).await.expect_err("refused").0, "invalid_query", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read_without_panic(raw in "\\PC*") {
            let _ = Query::parse(&raw).map(|mut query| { let input = Input::read(&mut query); query.finish(input).is_ok() });
        }
    }
}
