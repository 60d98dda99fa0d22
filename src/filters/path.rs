//! Typed parameters of a path.

use std::convert::Infallible;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// The parameters of `path` if it is of the form `pattern`, as (name, value) in order; values as
/// they came, percent-encoded. Every segment must be there and nothing may follow.
pub(super) fn segments<'a>(
    pattern: &'static str,
    path: &'a str,
) -> Option<Vec<(&'static str, &'a str)>> {
    let mut given = path.split('/');
    let mut params = Vec::new();
    for expected in pattern.split('/') {
        let value = given.next()?;
        match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => params.push((name, value)),
            None if expected == value => {}
            None => return None,
        }
    }
    given.next().is_none().then_some(params)
}

/// What the parameters of one row parse to: a tuple, `()` where there are none.
pub trait PathParams: Sized + Send + 'static {
    /// All of them, or `None` if one is malformed or the count differs.
    fn parse(params: &[(&'static str, &str)]) -> Option<Self>;
}

impl PathParams for () {
    fn parse(params: &[(&'static str, &str)]) -> Option<Self> {
        params.is_empty().then_some(())
    }
}

impl<A: FromStr + Send + 'static> PathParams for (A,) {
    fn parse(params: &[(&'static str, &str)]) -> Option<Self> {
        let [(_, a)] = params else { return None };
        Some((a.parse().ok()?,))
    }
}

impl<A: FromStr + Send + 'static, B: FromStr + Send + 'static> PathParams for (A, B) {
    fn parse(params: &[(&'static str, &str)]) -> Option<Self> {
        let [(_, a), (_, b)] = params else { return None };
        Some((a.parse().ok()?, b.parse().ok()?))
    }
}

impl<A, B, C> PathParams for (A, B, C)
where
    A: FromStr + Send + 'static,
    B: FromStr + Send + 'static,
    C: FromStr + Send + 'static,
{
    fn parse(params: &[(&'static str, &str)]) -> Option<Self> {
        let [(_, a), (_, b), (_, c)] = params else { return None };
        Some((a.parse().ok()?, b.parse().ok()?, c.parse().ok()?))
    }
}

/// A parameter that may be any text, percent-decoded; what is not UTF-8 in it becomes U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl FromStr for Text {
    type Err = Infallible;

    fn from_str(raw: &str) -> Result<Self, Infallible> {
        Ok(Self(percent_decode_str(raw).decode_utf8_lossy().into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_matches_whole_paths_only() {
        let pattern = "/groups/{group_id}/add";
        assert_eq!(segments(pattern, "/groups/1/add"), Some(vec![("group_id", "1")]));
        for other in
            ["/groups/1", "/groups/1/add/", "/groups/1/add/2", "groups/1/add", "//groups/1/add"]
        {
            assert_eq!(segments(pattern, other), None, "{other}");
        }
    }

    #[test]
    fn several_parameters_and_any_text_are_read() {
        let params = segments("/{a}/{b}/{c}", "/1/2/%F0%9F%91%8D").unwrap_or_default();
        let text = Text("\u{1f44d}".to_owned());
        assert_eq!(<(u8, u8, Text)>::parse(&params), Some((1, 2, text)));
        assert_eq!(<(u8, u8)>::parse(&params), None);
        assert_eq!(<(u8, u8)>::parse(&params[..2]), Some((1, 2)));
        assert_eq!("%ff".parse(), Ok(Text("\u{fffd}".to_owned())));
    }

    proptest! {
        #[test]
        fn any_path_is_read_without_panic(path in "\\PC*") {
            let _ = segments("/groups/{group_id}/add", &path);
            let _ = <(u8,)>::parse(&segments("/{n}", &path).unwrap_or_default());
        }
    }
}
