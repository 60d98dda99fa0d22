//! A map in memory that never holds more than so many entries.

use std::collections::HashMap;
use std::hash::Hash;

/// The part of the entries that goes when all are still of use: one in so many.
const EVICTED: usize = 8;

/// A map with a bound. What is past it costs a look-up, never a wrong answer.
#[derive(Debug)]
pub(super) struct BoundedMap<K, V> {
    entries: HashMap<K, V>,
    max: usize,
}

impl<K: Hash + Eq, V> BoundedMap<K, V> {
    /// An empty map of at most `max` entries.
    pub fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), max }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// Adds an entry. Where the map is full, those go that are not `useful` any more, and if all
    /// are, any eighth of them: hash order, which no caller chooses.
    pub fn insert(&mut self, key: K, value: V, useful: impl Fn(&V) -> bool) {
        if self.entries.len() >= self.max && !self.entries.contains_key(&key) {
            self.entries.retain(|_, value| useful(value));
            // Fewer would have the next insertion look through all of them again.
            let surplus = (self.entries.len() + self.max / EVICTED).saturating_sub(self.max);
            let mut left = surplus.max(usize::from(self.entries.len() >= self.max));
            self.entries.retain(|_, _| {
                let goes = left > 0;
                left = left.saturating_sub(1);
                !goes
            });
        }
        self.entries.insert(key, value);
    }

    pub fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    pub fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.entries.retain(|key, value| keep(key, value));
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn useless_entries_go_first_and_an_eighth_otherwise() {
        let mut map = BoundedMap::new(80);
        for n in 0..80_u32 {
            map.insert(n, n, |_| true);
        }
        map.insert(0, 0, |_| false);
        assert_eq!(map.entries.len(), 80, "no new entry");
        map.insert(100, 100, |n| *n < 40);
        assert_eq!(map.entries.len(), 41);
        for n in 200..240 {
            map.insert(n, n, |_| true);
        }
        assert!(map.get(&239).is_some());
        assert!((70..=80).contains(&map.entries.len()), "{}", map.entries.len());
    }
}
