//! The harness of the fuzz targets: known inputs, changed at random, until a time is over.
//!
//! A target is a test whose name begins with `fuzz_`, beside the code that it feeds. Its seeds are
//! the files in `tests/seeds/<target>`. An input that makes a target panic is shrunk and written
//! there, so that every later run begins with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use tokio::time::Instant;

/// Seconds that each target runs; `NATTER_FUZZ_SECONDS` sets another number.
const SECONDS: u64 = 2;

/// Inputs between two looks at the time.
const ROUND: u32 = 200;

/// Longest input, so that repeating does not grow without bound.
const MAX_INPUT: usize = 64 * 1024;

/// One change to an input.
#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    /// Inserts one of the target's words.
    Word(Index, Index),
    Delete(Index, usize),
    Repeat(Index, usize, usize),
    /// Replaces what follows by the end of another seed.
    Splice(Index, Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        1 => (at(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        3 => (at(), at()).prop_map(|(at, word)| Edit::Word(at, word)),
        1 => (at(), 1_usize..64).prop_map(|(at, length)| Edit::Delete(at, length)),
        1 => (at(), 1_usize..32, 1_usize..64).prop_map(|(at, n, times)| Edit::Repeat(at, n, times)),
        1 => (at(), at(), at()).prop_map(|(at, seed, from)| Edit::Splice(at, seed, from)),
    ]
}

/// The seeds and words that a target's inputs are made from.
struct Corpus {
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Corpus {
    fn input(&self, seed: Index, edits: &[Edit]) -> Vec<u8> {
        let mut input = self.seeds[seed.index(self.seeds.len())].clone();
        for edit in edits {
            self.apply(edit, &mut input);
        }
        input.truncate(MAX_INPUT);
        input
    }

    fn apply(&self, edit: &Edit, input: &mut Vec<u8>) {
        let place = |at: &Index, length: usize| at.index(length + 1);
        match edit {
            Edit::Set(at, byte) if !input.is_empty() => *at.get_mut(input) = *byte,
            Edit::Set(_, byte) => input.push(*byte),
            Edit::Insert(at, bytes) => {
                let at = place(at, input.len());
                input.splice(at..at, bytes.iter().copied());
            }
            Edit::Word(at, word) => {
                let at = place(at, input.len());
                input.splice(at..at, word.get(&self.words).iter().copied());
            }
            Edit::Delete(at, length) => {
                let at = place(at, input.len());
                input.drain(at..(at + length).min(input.len()));
            }
            Edit::Repeat(at, length, times) => {
                let at = place(at, input.len());
                let piece = input[at..(at + length).min(input.len())].repeat(*times);
                input.splice(at..at, piece);
            }
            Edit::Splice(at, seed, from) => {
                input.truncate(place(at, input.len()));
                let other = &self.seeds[seed.index(self.seeds.len())];
                input.extend_from_slice(&other[place(from, other.len())..]);
            }
        }
    }
}

/// Feeds `check` every seed of the target, then changed seeds until the time is over. `words` are
/// what the format is made of.
///
/// # Panics
/// When `check` panics for an input: the smallest one found is kept as a seed.
pub(crate) fn fuzz(target: &str, words: &[&str], check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds").join(target);
    let corpus = Corpus {
        seeds: seeds(&directory),
        words: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
    };
    for seed in &corpus.seeds {
        check(seed);
    }
    let config = Config { cases: ROUND, failure_persistence: None, ..Config::default() };
    let changed = (any::<Index>(), vec(edit(), 0..12));
    let (began, limit, mut rounds) = (Instant::now(), limit(), 0);
    while began.elapsed() < limit {
        // A runner counts its inputs over all its runs, and is done once it has had its number.
        let outcome = TestRunner::new(config.clone()).run(&changed, |(seed, edits)| {
            check(&corpus.input(seed, &edits));
            Ok::<_, TestCaseError>(())
        });
        rounds += 1;
        if let Err(TestError::Fail(why, (seed, edits))) = &outcome {
            let input = corpus.input(*seed, edits);
            let kept = directory.join(format!("found-{:08x}", fingerprint(&input)));
            std::fs::write(&kept, &input).expect("the directory of seeds takes files");
            panic!("{target}: {why}; the input is now {}", kept.display());
        }
        outcome.expect("no round is given up");
    }
    println!("fuzz {target}: {} inputs in {} s", rounds * ROUND, began.elapsed().as_secs());
}

fn seeds(directory: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(directory).expect("a directory of seeds");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no seeds in {}", directory.display());
    files.into_iter().map(|file| std::fs::read(file).expect("a readable seed")).collect()
}

fn limit() -> Duration {
    let seconds = std::env::var("NATTER_FUZZ_SECONDS").ok();
    Duration::from_secs(seconds.map_or(SECONDS, |it| it.parse().expect("a number of seconds")))
}

/// FNV-1a: enough to tell files apart.
fn fingerprint(input: &[u8]) -> u32 {
    input.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
