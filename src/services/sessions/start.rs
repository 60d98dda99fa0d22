//! Signing in: a session begins, within the number that an account may have, and the owner is told of
//! a device that is new.

use std::time::Duration;

use super::Sessions;
use crate::domain::accounts::{Account, Credentials};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::mails::MailKind;
use crate::domain::sessions::{Device, Session, SignedIn, network_of};
use crate::error::Result;
use crate::services::session_cache::SessionCache;
use crate::store::Tx;
use crate::store::rows::devices::SeenDevice;
use crate::store::rows::sessions::LastUse;

/// How long natter remembers a device after its last sign-in.
const DEVICE_LIFETIME: Duration = Duration::from_hours(90 * 24);

/// How many devices an account's row names; the one seen longest ago makes room.
const MAX_DEVICES: usize = 50;

/// How exactly the row says when a device was last seen: most sign-ins write nothing.
const SEEN_PRECISION: Duration = Duration::from_hours(24);

impl Sessions {
    /// Begins a session of someone who has shown who they are; `None` if that was by a password
    /// which was replaced in this very moment. An account that has as many sessions as it may
    /// loses the one that was used longest ago.
    pub async fn start(&self, known: Credentials, device: &Device) -> Result<Option<SignedIn>> {
        let user = known.user.id;
        let started = self.begin(&known, device).await;
        if started.is_err() {
            // One may have ended all the same.
            self.live.forget_user(user);
        }
        let Some((session, ended)) = started? else { return Ok(None) };
        for session in ended {
            self.live.forget(session);
        }
        self.pair(&session, known.user).map(Some)
    }

    /// The session that begins, and those that end for it; `None` if the password is another by now.
    async fn begin(
        &self,
        known: &Credentials,
        device: &Device,
    ) -> Result<Option<(Session, Vec<SessionId>)>> {
        let (id, user, now) = (SessionId::random(), known.user.id, self.clock.now());
        let (network, quota) = (self.networks.key_of(device), self.quota);
        let notice = self.rules.notice(MailKind::NewDevice, user, now);
        let (known, device, live) = (known.clone(), device.clone(), self.live.clone());
        let _turn = self.locks.lock(user.bytes()).await;
        self.store
            .transact(async move |tx: &mut Tx| {
                // Writes the account, so that sign-ins at once run one after the other: nobody signs
                // in by a password that was replaced, and each sees the sessions before it.
                let account = tx.users().count_sign_in(&known, network, now).await?;
                let Some(account) = account else { return Ok(None) };
                if is_new(tx, &account, &device, now).await? {
                    notice.enqueue(tx, &account, now).await?;
                }
                let ended = match quota {
                    Some(most) => make_room(tx, user, most, &live, now).await?,
                    None => Vec::new(),
                };
                let session = tx.sessions().begin(id, user, &device, now).await?;
                Ok(Some((session, ended)))
            })
            .await
    }
}

/// Whether a device is new to an account, which remembers it; the first one ever is not.
async fn is_new(tx: &mut Tx, account: &Account, device: &Device, now: Timestamp) -> Result<bool> {
    let user = account.user.id;
    let is_new = remember(tx, user, device, now).await?;
    let is_first = account.sign_ins == 1;
    Ok(is_new && !is_first && is_elsewhere(tx, user, device, now).await?)
}

/// Remembers a device; `true` if none of the account's devices of the last 90 days has its network
/// or its user agent. An ended session has no row, so that sessions alone cannot tell a new device.
async fn remember(tx: &mut Tx, user: UserId, device: &Device, now: Timestamp) -> Result<bool> {
    let mut seen = tx.devices().of(user).await?;
    seen.retain(|known| known.at > now.minus(DEVICE_LIFETIME));
    let network = device.network().to_string();
    let has_network = |known: &SeenDevice| known.network == network;
    let has_agent = |known: &SeenDevice| known.user_agent == device.user_agent;
    let is_new = !seen.iter().any(|known| has_network(known) || has_agent(known));
    let same = seen.iter().position(|known| has_network(known) && has_agent(known));
    if same.is_some_and(|at| seen[at].at > now.minus(SEEN_PRECISION)) {
        return Ok(is_new);
    }
    if let Some(at) = same {
        seen.remove(at);
    }
    seen.push(SeenDevice { network, user_agent: device.user_agent.clone(), at: now });
    let surplus = seen.len().saturating_sub(MAX_DEVICES);
    tx.devices().set(user, &seen[surplus..], now.plus(DEVICE_LIFETIME)).await?;
    Ok(is_new)
}

/// Whether none of a user's sessions is used from this network or by this user agent.
async fn is_elsewhere(tx: &mut Tx, user: UserId, device: &Device, now: Timestamp) -> Result<bool> {
    let network = device.network();
    Ok(tx.sessions().of(user, now).await?.iter().all(|session| {
        let known = session.ip.parse().map(network_of);
        known != Ok(network) && session.user_agent != device.user_agent
    }))
}

/// Ends sessions of a user, those used longest ago first, until there is room for one more of
/// `most`: which.
async fn make_room(
    tx: &mut Tx,
    user: UserId,
    most: u32,
    live: &SessionCache,
    now: Timestamp,
) -> Result<Vec<SessionId>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if tx.sessions().count(user, most).await? < most as u64 {
        return Ok(Vec::new());
    }
    let mut uses = tx.sessions().last_uses(user, now).await?;
    let last = |it: &LastUse| live.last_use(it.session).max(Some(it.at));
    uses.sort_by_cached_key(|it| (last(it), it.session));
    uses.truncate((uses.len() + 1).saturating_sub(most));
    let ended: Vec<SessionId> = uses.into_iter().map(|it| it.session).collect();
    if !ended.is_empty() {
        tx.sessions().end_some(&ended).await?;
    }
    Ok(ended)
}
