//! Pages of lists: how many, from where, and the sealed cursor between two of them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::ids::UserId;
use super::secrets::MacKey;
use crate::error::{Error, Result};

/// How many items a page may hold: 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u8);

impl Limit {
    /// A limit within 1 to 100; `None` outside.
    #[must_use]
    pub fn new(limit: u64) -> Option<Self> {
        u8::try_from(limit).ok().filter(|limit| (1..=100).contains(limit)).map(Self)
    }

    /// As a count of items.
    #[must_use]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

/// One page of a list and the cursor of the next, null at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// What to pass as `cursor` for the page after this one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The same page of other items.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(each).collect(), next_cursor: self.next_cursor }
    }
}

/// What stands between the pages of one list of one user. A cursor of another list, another user,
/// or changed by a character does not open.
#[derive(Debug, Clone, Copy)]
pub struct ListScope<'a> {
    /// The list's name, with whatever filters it (`friends/incoming`).
    pub list: &'a str,
    /// Whose walk it is.
    pub reader: UserId,
}

/// Seals positions into cursors and opens them again.
#[derive(Debug, Clone)]
pub struct Cursors(MacKey);

impl Cursors {
    /// Cursors under the service's key for them.
    #[must_use]
    pub fn new(master: &[u8]) -> Self {
        Self(MacKey::derive(master, "cursor"))
    }

    /// The opaque text of a position: 16 bytes of authentication, then the position as JSON, in
    /// URL-safe Base64.
    ///
    /// # Panics
    /// Never for the plain structs that positions are.
    pub fn seal(&self, scope: ListScope<'_>, position: &impl Serialize) -> String {
        let position = serde_json::to_vec(position).expect("a position is plain data");
        let code: [u8; 16] = self.0.mac(&[scope.list.as_bytes(), &scope.reader.bytes(), &position]);
        URL_SAFE_NO_PAD.encode([code.as_slice(), &position].concat())
    }

    /// The position in a cursor of this scope; `None` for any other text.
    #[must_use]
    pub fn open<P: DeserializeOwned>(&self, scope: ListScope<'_>, cursor: &str) -> Option<P> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (code, position) = bytes.split_first_chunk::<16>()?;
        let parts: [&[u8]; 3] = [scope.list.as_bytes(), &scope.reader.bytes(), position];
        self.0.verify(&parts, code).then(|| serde_json::from_slice(position).ok())?
    }

    /// Where to go on: the position in the cursor that a client gave, if it gave one.
    ///
    /// # Errors
    /// `invalid_cursor` for one that is not of this scope.
    pub fn resume<P: DeserializeOwned>(
        &self,
        scope: ListScope<'_>,
        cursor: Option<&str>,
    ) -> Result<Option<P>> {
        let Some(cursor) = cursor else { return Ok(None) };
        self.open(scope, cursor).map(Some).ok_or_else(invalid_cursor)
    }

    /// Makes a page out of up to `limit + 1` items in order: the extra one only tells that there
    /// is more, and the cursor is the position of the last one kept.
    pub fn page<T, P: Serialize>(
        &self,
        scope: ListScope<'_>,
        limit: Limit,
        mut items: Vec<T>,
        position: impl Fn(&T) -> P,
    ) -> Page<T> {
        let more = items.len() > limit.get();
        items.truncate(limit.get());
        let last = items.last().filter(|_| more);
        let next_cursor = last.map(|item| self.seal(scope, &position(item)));
        Page { items, next_cursor }
    }
}

/// A text that was given as a cursor, if it can be one of any list.
///
/// # Errors
/// `invalid_cursor`.
pub fn parse_cursor(text: String) -> Result<String> {
    let is_one = URL_SAFE_NO_PAD.decode(&text).is_ok_and(|bytes| bytes.len() > 16);
    if is_one { Ok(text) } else { Err(invalid_cursor()) }
}

fn invalid_cursor() -> Error {
    Error::malformed("invalid_cursor", "invalid cursor; it belongs to another list or was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_where_it_was_sealed() {
        let cursors = Cursors::new(b"master");
        let ada = UserId::random();
        let scope = ListScope { list: "friends/accepted", reader: ada };
        let cursor = cursors.seal(scope, &(7_i64, "x"));
        assert_eq!(cursors.open::<(i64, String)>(scope, &cursor), Some((7, "x".to_owned())));

        let others = [
            ListScope { list: "friends/incoming", reader: ada },
            ListScope { list: scope.list, reader: UserId::random() },
        ];
        for other in others {
            assert_eq!(cursors.open::<(i64, String)>(other, &cursor), None);
        }
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(cursors.open::<(i64, String)>(scope, &changed), None, "{at}");
        }
    }

    #[test]
    fn a_page_knows_whether_there_is_more() {
        let cursors = Cursors::new(b"master");
        let scope = ListScope { list: "numbers", reader: UserId::random() };
        let limit = Limit::new(2).expect("in range");
        assert_eq!(cursors.page(scope, limit, vec![1, 2], |n| *n).next_cursor, None);
        let page = cursors.page(scope, limit, vec![1, 2, 3], |n| *n);
        assert_eq!(page.items, [1, 2]);
        let next = page.next_cursor.expect("there is a third");
        assert_eq!(cursors.open::<i32>(scope, &next), Some(2));
    }

    /// No text opens but one that was sealed.
    #[test]
    fn fuzz_cursors() {
        let cursors = Cursors::new(b"master");
        let scope = ListScope { list: "friends/accepted", reader: UserId::from_bytes([7; 16]) };
        let sealed = cursors.seal(scope, &(7_i64, "x"));
        let words = ["A", "-", "_", "=", "\0", "%", &sealed, &sealed[..22], "WzcsIngiXQ"];
        crate::fuzzing::fuzz("cursors", &words, |input| {
            let Ok(text) = std::str::from_utf8(input) else { return };
            let opened = cursors.open::<(i64, String)>(scope, text);
            assert_eq!(opened.is_some(), text == sealed, "{text}");
            if parse_cursor(text.to_owned()).is_err() {
                assert_eq!(opened, None);
            }
        });
    }
}
