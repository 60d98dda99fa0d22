//! Keys of the service itself: message authentication for tokens and cursors.

use aws_lc_rs::{constant_time, hkdf, hmac};

/// Makes and checks message authentication codes (HMAC-SHA-256, RFC 2104) under one key per
/// purpose, each derived from the signing key (HKDF, RFC 5869), so that every instance agrees.
#[derive(derive_more::Debug, Clone)]
#[debug("MacKey(…)")]
pub struct MacKey(hmac::Key);

impl MacKey {
    /// Derives the key of one `purpose` from the service's master secret.
    ///
    /// # Panics
    /// Never: HKDF gives 32 bytes for any input.
    #[must_use]
    pub fn derive(master: &[u8], purpose: &str) -> Self {
        let info = [purpose.as_bytes()];
        let mut key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"natter")
            .extract(master)
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes is HKDF-SHA-256's own output length");
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The first `N` (at most 32) bytes of the code over `parts`, each preceded by its length so
    /// that no two lists of parts read alike.
    #[must_use]
    pub fn mac<const N: usize>(&self, parts: &[&[u8]]) -> [u8; N] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut code = [0; N];
        code.copy_from_slice(&context.sign().as_ref()[..N]);
        code
    }

    /// Whether `code` is [`MacKey::mac`] of `parts`, in constant time.
    #[must_use]
    pub fn verify<const N: usize>(&self, parts: &[&[u8]], code: &[u8; N]) -> bool {
        constant_time::verify_slices_are_equal(&self.mac::<N>(parts), code).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_its_own_key() {
        let cursor = MacKey::derive(b"master", "cursor");
        let refresh = MacKey::derive(b"master", "refresh");
        let code: [u8; 16] = cursor.mac(&[b"a", b"bc"]);
        assert!(cursor.verify(&[b"a", b"bc"], &code));
        assert!(!cursor.verify(&[b"ab", b"c"], &code));
        assert!(!refresh.verify(&[b"a", b"bc"], &code));
    }
}
