//! Public profiles by user: `user:{id}:v1`, JSON, five minutes.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, Pipeline};

use super::Redis;
use crate::domain::ids::UserId;
use crate::domain::users::PublicUser;
use crate::error::Result;

/// How long a profile is kept.
const TTL: Duration = Duration::from_mins(5);

/// How long after a change no profile is taken: longer than a row that was read before the change
/// can still be on its way here.
const PAUSE: Duration = Duration::from_secs(5);

/// Profiles that were looked up lately.
#[derive(Debug, Clone)]
pub struct ProfileCache {
    redis: Redis,
}

impl ProfileCache {
    /// Profiles kept in this Redis.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// The profiles of these users: from the cache, the others by `load`, which gets them in one
    /// call and whose answer is kept. Who does not exist is asked for each time.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn through<F>(
        &self,
        users: &[UserId],
        load: impl FnOnce(Vec<UserId>) -> F,
    ) -> Result<HashMap<UserId, PublicUser>>
    where
        F: Future<Output = Result<Vec<PublicUser>>>,
    {
        let mut found = self.get(users).await;
        let missing: Vec<UserId> =
            users.iter().copied().filter(|user| !found.contains_key(user)).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let loaded = load(missing).await?;
        self.keep(&loaded).await;
        found.extend(loaded.into_iter().map(|user| (user.id, user)));
        Ok(found)
    }

    /// Forgets a profile that has changed. What is read from the store now is current, but a row
    /// read before may still come: for a moment none is taken.
    pub async fn forget(&self, user: UserId) {
        let mut set = redis::cmd("SET");
        set.arg(self.key(user)).arg("").arg("EX").arg(PAUSE.as_secs());
        self.redis.send::<()>(&set).await;
    }

    async fn get(&self, users: &[UserId]) -> HashMap<UserId, PublicUser> {
        if users.is_empty() {
            return HashMap::new();
        }
        let mut get = redis::cmd("MGET");
        for user in users {
            get.arg(self.key(*user));
        }
        let texts: Vec<Option<String>> = self.redis.send(&get).await.unwrap_or_default();
        let profiles = texts.into_iter().flatten().filter_map(|text| {
            let profile: PublicUser = serde_json::from_str(&text).ok()?;
            Some((profile.id, profile))
        });
        profiles.filter(|(id, _)| users.contains(id)).collect()
    }

    async fn keep(&self, profiles: &[PublicUser]) {
        let mut pipeline = Pipeline::new();
        for profile in profiles {
            if let Ok(text) = serde_json::to_string(profile) {
                pipeline.add_command(self.set_if_absent(profile.id, &text)).ignore();
            }
        }
        if !profiles.is_empty() {
            self.redis.send_all(&pipeline).await;
        }
    }

    fn set_if_absent(&self, user: UserId, text: &str) -> Cmd {
        let mut set = redis::cmd("SET");
        set.arg(self.key(user)).arg(text).arg("NX").arg("EX").arg(TTL.as_secs());
        set
    }

    fn key(&self, user: UserId) -> String {
        self.redis.key(&format!("user:{user}:v1"))
    }
}
