//! A bounded amount of something, of which each holder has at most its own part.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::domain::clients::Subject;

/// KiB of answers, of any kind, that clients have yet to take from this instance.
const UNREAD: u32 = 192 << 10;

/// KiB of them that one account may leave unread, or one address where there is no account.
const UNREAD_EACH: u32 = 16 << 10;

/// The budget of answers that clients have yet to take from an instance, in KiB.
pub type UnreadAnswers = Budget<Subject>;

impl UnreadAnswers {
    /// Nothing is unread yet.
    #[must_use]
    pub fn unread() -> Arc<Self> {
        Self::new(UNREAD, UNREAD_EACH)
    }
}

/// So much in all, and so much for each holder. Whoever waits is served in the order of asking.
#[derive(Debug)]
pub struct Budget<K: Eq + Hash> {
    all: Arc<Semaphore>,
    each: u32,
    holders: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Eq + Hash + Copy> Budget<K> {
    /// A budget of which nothing is taken.
    #[must_use]
    pub fn new(all: u32, each: u32) -> Arc<Self> {
        let all = Arc::new(Semaphore::new(all as usize));
        Arc::new(Self { all, each, holders: Mutex::default() })
    }

    /// Takes `amount`, or all that one holder may have if that is less; `None` if it is not free
    /// within `patience`.
    pub async fn acquire(
        self: &Arc<Self>,
        holder: K,
        amount: u32,
        patience: Duration,
    ) -> Option<Share<K>> {
        let holding = self.holding(holder);
        let (amount, own) = (amount.min(self.each), holding.own.clone()?);
        let taken = async {
            // One's own part first: so nobody waits in the common queue for oneself.
            let own = own.acquire_many_owned(amount).await.ok()?;
            let all = self.all.clone().acquire_many_owned(amount).await.ok()?;
            Some((own, all))
        };
        let (own, all) = timeout(patience, taken).await.ok()??;
        Some(Share { _own: own, _all: all, _holding: holding })
    }

    /// Takes `amount` if it is free now.
    pub fn try_acquire(self: &Arc<Self>, holder: K, amount: u32) -> Option<Share<K>> {
        let holding = self.holding(holder);
        let amount = amount.min(self.each);
        let own = holding.own.clone()?.try_acquire_many_owned(amount).ok()?;
        let all = self.all.clone().try_acquire_many_owned(amount).ok()?;
        Some(Share { _own: own, _all: all, _holding: holding })
    }

    fn holding(self: &Arc<Self>, holder: K) -> Holding<K> {
        let own = self.holders().entry(holder).or_insert_with(|| self.part()).clone();
        Holding { budget: self.clone(), holder, own: Some(own) }
    }

    fn part(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.each as usize))
    }

    fn holders(&self) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
        self.holders.lock()
    }
}

/// A share of a budget; dropping it gives it back.
#[derive(Debug)]
pub struct Share<K: Eq + Hash + Copy> {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    // The last field: it looks whether anybody else has a part of the holder's.
    _holding: Holding<K>,
}

/// Somebody who waits or has something; the last one of a holder forgets it.
#[derive(Debug)]
struct Holding<K: Eq + Hash + Copy> {
    budget: Arc<Budget<K>>,
    holder: K,
    own: Option<Arc<Semaphore>>,
}

impl<K: Eq + Hash + Copy> Drop for Holding<K> {
    fn drop(&mut self) {
        let mut holders = self.budget.holders();
        self.own = None;
        if holders.get(&self.holder).is_some_and(|own| Arc::strong_count(own) == 1) {
            holders.remove(&self.holder);
        }
    }
}

/// Bytes that keep a share until the last slice of them is gone.
pub fn held<K>(bytes: Bytes, share: Arc<Share<K>>) -> Bytes
where
    K: Eq + Hash + Copy + Send + Sync + 'static,
{
    struct Held<K: Eq + Hash + Copy>(Bytes, #[expect(dead_code, reason = "kept")] Arc<Share<K>>);
    impl<K: Eq + Hash + Copy> AsRef<[u8]> for Held<K> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Held(bytes, share))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn one_holder_has_its_part_and_leaves_the_rest_to_others() {
        let budget = Budget::new(10, 4);
        let first = budget.acquire('a', 3, NOW).await.expect("free");
        assert!(budget.acquire('a', 2, NOW).await.is_none(), "past its part");
        assert!(budget.try_acquire('a', 2).is_none(), "past its part");
        let _second = budget.try_acquire('b', 9).expect("cut to its part");
        assert!(budget.try_acquire('c', 4).is_none(), "past all");
        drop(first);
        let _third = budget.acquire('c', 4, NOW).await.expect("free again");
    }

    #[tokio::test]
    async fn who_waits_is_served_and_who_is_gone_is_forgotten() {
        let budget = Budget::new(10, 1);
        let first = budget.try_acquire('a', 1).expect("free");
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.acquire('a', 1, Duration::from_secs(20)).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(budget.acquire('a', 1, NOW).await.is_none());
        drop(first);
        assert!(waiting.await.expect("no panic"), "served");
        assert!(budget.holders().is_empty());
    }

    #[tokio::test]
    async fn bytes_keep_their_share_until_the_last_slice_is_gone() {
        let budget = Budget::new(1, 1);
        let share = Arc::new(budget.try_acquire('a', 1).expect("free"));
        let mut bytes = held(Bytes::from_static(b"abc"), share);
        let slice = bytes.split_to(1);
        drop(bytes);
        assert!(budget.try_acquire('b', 1).is_none());
        drop(slice);
        assert!(budget.try_acquire('b', 1).is_some());
    }
}
