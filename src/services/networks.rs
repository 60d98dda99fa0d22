//! Networks that accounts sign in from, which their next sign-in from there is known by.

use super::password_hasher::Lane;
use crate::domain::accounts::NetworkKey;
use crate::domain::clock::Clock;
use crate::domain::secrets::MacKey;
use crate::domain::sessions::Device;
use crate::domain::text::Email;
use crate::error::Result;
use crate::store::Store;

/// Recognises where an account has signed in from.
#[derive(Debug, Clone)]
pub struct Networks {
    store: Store,
    key: MacKey,
    clock: Clock,
}

impl Networks {
    /// Networks of these accounts, under the service's key for them.
    #[must_use]
    pub fn new(store: &Store, master: &[u8], clock: &Clock) -> Self {
        let key = MacKey::derive(master, "network");
        Self { store: store.clone(), key, clock: clock.clone() }
    }

    /// The key of a device's network.
    #[must_use]
    pub fn key_of(&self, device: &Device) -> NetworkKey {
        self.key.mac(&[device.network().to_string().as_bytes()])
    }

    /// Where a sign-in waits. What a client says of itself proves nothing, so this asks only
    /// whether this very account has signed in from there. An unknown address is the same work.
    pub async fn lane(&self, email: &Email, device: &Device) -> Result<Lane> {
        let network = self.key_of(device);
        let is_known = self.store.users().signs_in_from(email, network, self.clock.now()).await?;
        Ok(if is_known { Lane::Known } else { Lane::Stranger })
    }
}
