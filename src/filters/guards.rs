//! The guards in front of every route, composed: who asks and how often.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use warp::filters::BoxedFilter;
use warp::{Filter, Rejection};

use super::client::{Client, client};
use super::context::{RequestContext, context};
use super::endpoint::{Access, Class, Endpoint};
use super::forwarded::Proxies;
use super::front::at;
use super::json_or_multipart::claims_form;
use super::path::PathParams;
use super::rate_limit::{RateLimits, Subject};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::sessions::AuthenticatedSession;
use crate::error::{Error, Kind, Result};
use crate::services::access::Access as AccessTokens;

/// Someone signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Their account.
    pub user: UserId,
    /// The session that the token belongs to.
    pub session: SessionId,
    /// From when on the token is refused.
    pub expires_at: Timestamp,
    /// Where they are.
    pub client: Client,
}

/// Builds the guarded front of each route from its row of the table.
#[derive(Debug, Clone)]
pub struct Guards {
    limits: Arc<RateLimits>,
    access: Arc<AccessTokens>,
    proxies: Arc<Proxies>,
}

impl Guards {
    /// Guards that count with `limits`, check tokens with `access` and believe these proxies.
    #[must_use]
    pub fn new(limits: Arc<RateLimits>, access: Arc<AccessTokens>, proxies: Proxies) -> Self {
        Self { limits, access, proxies: Arc::new(proxies) }
    }

    /// Path, method and rate limit of a public route: its parameters and the client.
    ///
    /// # Panics
    /// When the table says that the route is not public.
    #[must_use]
    pub fn public<P: PathParams>(&self, endpoint: &Endpoint) -> BoxedFilter<(P, Client)> {
        assert_eq!(endpoint.access, Access::Public, "{} is not public", endpoint.path);
        let (limits, class) = (self.limits.clone(), endpoint.class);
        at::<P>(endpoint)
            .and(client(self.proxies.clone()))
            .and(context())
            .and_then(move |params, client: Client, context: Arc<RequestContext>| {
                let limits = limits.clone();
                async move {
                    charge(&limits, class, Subject::address(client.addr), &context).await?;
                    Ok::<_, Rejection>((params, client))
                }
            })
            .untuple_one()
            .boxed()
    }

    /// Path, method, access token and rate limit of any other route: its parameters and the
    /// caller. Where the row takes JSON and forms, the media type says which limit. A bad token
    /// is charged to the address, and is 429 once that has spent its quota.
    ///
    /// # Panics
    /// When the table says that the route is public.
    #[must_use]
    pub fn caller<P: PathParams>(&self, endpoint: &Endpoint) -> BoxedFilter<(P, Caller)> {
        assert_eq!(endpoint.access, Access::Bearer, "{} is public", endpoint.path);
        let (guards, endpoint) = (self.clone(), *endpoint);
        at::<P>(&endpoint)
            .and(client(self.proxies.clone()))
            .and(context())
            .and(warp::header::headers_cloned())
            .and_then(move |params, client, context: Arc<RequestContext>, headers: HeaderMap| {
                let guards = guards.clone();
                async move {
                    let class = endpoint.class_of(claims_form(&headers));
                    let caller = guards.identify(class, client, &context, &headers).await?;
                    Ok::<_, Rejection>((params, caller))
                }
            })
            .untuple_one()
            .boxed()
    }

    /// Path, method and rate limit of a route on which the token may also be shown later: its
    /// parameters, the caller if it is shown now, and the client.
    ///
    /// # Panics
    /// When the table says otherwise.
    #[must_use]
    pub fn visitor<P: PathParams>(
        &self,
        endpoint: &Endpoint,
    ) -> BoxedFilter<(P, Option<Caller>, Client)> {
        assert_eq!(
            endpoint.access,
            Access::OptionalBearer,
            "{} is not for visitors",
            endpoint.path
        );
        let (guards, class) = (self.clone(), endpoint.class);
        at::<P>(endpoint)
            .and(client(self.proxies.clone()))
            .and(context())
            .and(warp::header::headers_cloned())
            .and_then(move |params, client: Client, context: Arc<RequestContext>, headers| {
                let guards = guards.clone();
                async move {
                    if HeaderMap::contains_key(&headers, AUTHORIZATION) {
                        let who = guards.identify(class, client.clone(), &context, &headers);
                        return Ok((params, Some(who.await?), client));
                    }
                    let subject = Subject::address(client.addr);
                    charge(&guards.limits, class, subject, &context).await?;
                    Ok::<_, Rejection>((params, None, client))
                }
            })
            .untuple_one()
            .boxed()
    }

    async fn identify(
        &self,
        class: Option<Class>,
        client: Client,
        context: &RequestContext,
        headers: &HeaderMap,
    ) -> Result<Caller> {
        let token = bearer(headers);
        let address = Subject::address(client.addr);
        self.refuse_spent(class, address, token.as_ref().ok().copied(), context)?;
        let checked = match token {
            Ok(token) => self.access.check(token).await,
            Err(error) => Err(error),
        };
        match checked {
            Ok(AuthenticatedSession { user, session, expires_at }) => {
                let _ = context.user.set(user);
                charge(&self.limits, class, Subject::Account(user), context).await?;
                Ok(Caller { user, session, expires_at, client })
            }
            Err(error) => {
                if error.kind() == Kind::Unauthenticated {
                    charge(&self.limits, class, address, context).await?;
                }
                Err(error)
            }
        }
    }

    /// Refuses an address that has spent its quota on bad tokens, before a signature is checked
    /// or a store is asked. A token that was verified here before passes, so that an attacker
    /// locks out nobody who shares the address; of others, so many a second.
    fn refuse_spent(
        &self,
        class: Option<Class>,
        address: Subject,
        token: Option<&str>,
        context: &RequestContext,
    ) -> Result<()> {
        let Some(spent) = class.and_then(|class| self.limits.spent(class, address)) else {
            return Ok(());
        };
        if token.is_some_and(|token| self.access.is_known(token) || self.limits.may_verify()) {
            return Ok(());
        }
        let _ = context.charge.set(spent);
        spent.admit()
    }
}

async fn charge(
    limits: &RateLimits,
    class: Option<Class>,
    subject: Subject,
    context: &RequestContext,
) -> Result<()> {
    let Some(class) = class else { return Ok(()) };
    let Some(charge) = limits.charge(class, subject).await else { return Ok(()) };
    let _ = context.charge.set(charge);
    charge.admit()
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Result<&str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let missing = || {
        Error::unauthenticated(
            "missing_token",
            "access token required; send Authorization: Bearer <token>",
        )
    };
    let value = given.next().ok_or_else(missing)?;
    if given.next().is_some() {
        return Err(Error::unauthenticated(
            "invalid_token",
            "send exactly one Authorization header",
        ));
    }
    let value = value.to_str().map_err(|_| missing())?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(missing()),
    }
}
