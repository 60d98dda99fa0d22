//! Access tokens: JWT (RFC 7519) signed with `EdDSA` (RFC 8037), one hour, bound to a session.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bounded::BoundedMap;
use super::session_cache::SessionCache;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::sessions::{ACCESS_LIFETIME, AuthenticatedSession, Session};
use crate::error::{Error, Result};

/// Tokens remembered at most; an entry takes about 120 bytes.
const MAX_VERIFIED_TOKENS: usize = 50_000;

/// The claims of an access token (RFC 7519 §4.1), and `sid`, its session.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: UserId,
    sid: SessionId,
    jti: String,
    iat: i64,
    exp: i64,
}

/// An access token.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The JWT in its compact form.
    pub token: String,
    /// The second since the epoch from which on it is refused.
    pub expires_at: i64,
}

/// One public key of the JWK set (RFC 7517, RFC 8037 §2).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Jwk {
    #[schema(value_type = String, example = "OKP")]
    kty: &'static str,
    #[schema(value_type = String, example = "Ed25519")]
    crv: &'static str,
    #[schema(value_type = String, example = "sig")]
    r#use: &'static str,
    #[schema(value_type = String, example = "EdDSA")]
    alg: &'static str,
    #[schema(example = "1a2b3c4d5e6f7081")]
    kid: String,
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    x: String,
}

/// Issues access tokens and checks them: signature, time, and that the session stands.
pub struct Access {
    issuer: String,
    header: Header,
    signing: EncodingKey,
    verifying: DecodingKey,
    jwk: Jwk,
    clock: Clock,
    live: Arc<SessionCache>,
    /// Claims of verified tokens, by their SHA-256. Checking a signature takes 30 µs,
    /// and a client shows one token with every request of an hour.
    verified: Mutex<BoundedMap<[u8; 32], AuthenticatedSession>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("kid", &self.jwk.kid).finish_non_exhaustive()
    }
}

impl Access {
    /// Tokens of `issuer`, signed with the Ed25519 key in this PKCS#8 document (DER).
    ///
    /// # Errors
    /// When the document holds no such key.
    pub fn new(issuer: &str, pkcs8: &[u8], clock: &Clock, live: Arc<SessionCache>) -> Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
            .map_err(|error| Error::internal(error.to_string()))?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        // RFC 7638, with the members that RFC 8037 §2 names.
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, thumbprint.as_bytes()));
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(kid.clone());
        let verifying = DecodingKey::from_ed_components(&x).map_err(Error::internal)?;
        Ok(Self {
            issuer: issuer.to_owned(),
            header,
            signing: EncodingKey::from_ed_der(pkcs8),
            verifying,
            jwk: Jwk { kty: "OKP", crv: "Ed25519", r#use: "sig", alg: "EdDSA", kid, x },
            clock: clock.clone(),
            live,
            verified: Mutex::new(BoundedMap::new(MAX_VERIFIED_TOKENS)),
        })
    }

    /// The token of a session's newest generation, good for [`ACCESS_LIFETIME`] from when that was
    /// made: the same token however often it is asked for.
    pub fn issue(&self, session: &Session) -> Result<Issued> {
        let expires_at = session.renewed_at.plus(ACCESS_LIFETIME).seconds();
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: session.user,
            sid: session.id,
            jti: format!("{}.{}", session.id, session.generation),
            iat: session.renewed_at.seconds(),
            exp: expires_at,
        };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.signing);
        Ok(Issued { token: token.map_err(Error::internal)?, expires_at })
    }

    /// Whose token it is, of which session, and until when it is good.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired` (no leeway), `session_revoked`; or the store is away.
    pub async fn check(&self, token: &str) -> Result<AuthenticatedSession> {
        let pass = self.verify(token)?;
        if self.clock.now() >= pass.expires_at {
            return Err(Error::unauthenticated(
                "token_expired",
                "access token has expired; refresh it",
            ));
        }
        if !self.live.is_alive(pass).await? {
            return Err(Error::unauthenticated(
                "session_revoked",
                "session has ended; sign in again",
            ));
        }
        Ok(pass)
    }

    /// Whether this token was verified here before, is good now, and its session is not known to
    /// have ended: checking it costs no signature.
    #[must_use]
    pub fn is_known(&self, token: &str) -> bool {
        let pass = self.verified().get(&digest_of(token)).copied();
        pass.is_some_and(|pass| {
            self.clock.now() < pass.expires_at && !self.live.has_ended(pass.session)
        })
    }

    /// The claims of a token that this service has signed.
    fn verify(&self, token: &str) -> Result<AuthenticatedSession> {
        let digest = digest_of(token);
        if let Some(pass) = self.verified().get(&digest) {
            return Ok(*pass);
        }
        let claims = self.read(token)?;
        let expires_at = Timestamp::from_millis(claims.exp.saturating_mul(1000));
        let (pass, now) = (
            AuthenticatedSession { user: claims.sub, session: claims.sid, expires_at },
            self.clock.now(),
        );
        if now < expires_at {
            self.verified().insert(digest, pass, |pass| now < pass.expires_at);
        }
        Ok(pass)
    }

    fn verified(&self) -> MutexGuard<'_, BoundedMap<[u8; 32], AuthenticatedSession>> {
        self.verified.lock()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    fn read(&self, token: &str) -> Result<Claims> {
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.leeway = 0;
        // The time is checked against our own clock.
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.set_issuer(&[&self.issuer]);
        rules.set_required_spec_claims(&["iss", "sub", "exp"]);
        jsonwebtoken::decode::<Claims>(token, &self.verifying, &rules)
            .map(|token| token.claims)
            .map_err(|error| {
                Error::unauthenticated("invalid_token", "invalid access token").with_source(error)
            })
    }

    /// The public keys, for GET /.well-known/jwks.json.
    #[must_use]
    pub fn jwks(&self) -> Vec<Jwk> {
        vec![self.jwk.clone()]
    }
}

fn digest_of(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}
