//! Typed parameters of a path.

use std::str::FromStr;

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

    proptest! {
        #[test]
        fn any_path_is_read_without_panic(path in "\\PC*") {
            let _ = segments("/groups/{group_id}/add", &path);
            let _ = <(u8,)>::parse(&segments("/{n}", &path).unwrap_or_default());
        }
    }
}
