//! The kind of a zip archive: an office file, a book, or just an archive.
//!
//! Writers put the parts of an archive in any order, so the directory at its end is read (APPNOTE.TXT
//! 6.3.10), then the one part that names the type. What is read and unpacked is bounded whatever the
//! archive says of itself; an archive that cannot be read is an archive all the same.

mod types;

use std::io::Read;

use flate2::read::DeflateDecoder;

pub use self::types::ZIP;
use crate::error::Result;

/// The last bytes of an archive in which its end record must be: the record with its longest
/// comment, and before it what the 64-bit form adds.
const TAIL: u64 = 22 + 65_535 + 20 + 56;

/// The most of a directory that is read: names of some thousand parts.
const MAX_DIRECTORY: u64 = 512 * 1024;

/// The most bytes of a part that are read, and that they are unpacked to.
const MAX_PACKED: u64 = 64 * 1024;
const MAX_UNPACKED: u64 = 256 * 1024;

/// The bytes of a file.
pub trait Source: Sync {
    /// Those from one place to before another, both within the file.
    fn range(&self, from: u64, to: u64) -> impl Future<Output = Result<Vec<u8>>> + Send;
}

/// A part of an archive, as the directory has it.
#[derive(Debug, Clone, Copy)]
struct Member {
    method: u16,
    packed: u64,
    header: u64,
}

/// The parts that tell what an archive is.
#[derive(Debug, Default)]
struct Directory {
    /// `[Content_Types].xml` of Office Open XML (ECMA-376 part 2).
    content_types: Option<Member>,
    /// `mimetype` of `OpenDocument` and EPUB.
    mimetype: Option<Member>,
    /// `META-INF/manifest.xml` of `OpenDocument`.
    manifest: Option<Member>,
    /// The Office Open XML type that the name of its main part implies.
    main: Option<&'static str>,
}

/// Where a directory may be, and how far the archive is from where it says that it begins.
#[derive(Debug, Clone, Copy)]
struct Place {
    from: u64,
    to: u64,
    shift: u64,
}

/// The media type of a zip archive of `size` bytes.
///
/// # Errors
/// When the source fails.
pub async fn type_of(source: &impl Source, size: u64) -> Result<&'static str> {
    let tail = source.range(size.saturating_sub(TAIL), size).await?;
    for Place { from, to, shift } in places(&tail, size) {
        let bytes = source.range(from, to.min(from + MAX_DIRECTORY)).await?;
        let Some(directory) = Directory::read(&bytes) else { continue };
        return Box::pin(directory.type_of(source, size, shift)).await;
    }
    Ok(ZIP)
}

impl Directory {
    /// The entries of a directory, as far as they are there; `None` where none is.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut directory = Self::default();
        let mut rest = Some(bytes).filter(|bytes| bytes.starts_with(b"PK\x01\x02"))?;
        while let Some((name, member, after)) = entry(rest) {
            rest = after;
            match name {
                b"[Content_Types].xml" => directory.content_types = Some(member),
                b"mimetype" => directory.mimetype = Some(member),
                b"META-INF/manifest.xml" => directory.manifest = Some(member),
                name => directory.main = directory.main.or_else(|| types::of_main_part(name)),
            }
        }
        Some(directory)
    }

    async fn type_of(&self, source: &impl Source, size: u64, shift: u64) -> Result<&'static str> {
        let parts = [
            (self.content_types, types::of_content_types as fn(&[u8]) -> _),
            (self.mimetype, types::of_mimetype),
            (self.manifest, types::of_manifest),
        ];
        for (member, named) in parts {
            let Some(member) = member else { continue };
            let text = part(source, size, shift, member).await?;
            if let Some(found) = named(&text) {
                return Ok(found);
            }
        }
        Ok(self.main.filter(|_| self.content_types.is_some()).unwrap_or(ZIP))
    }
}

/// The content of a part, as far as it can be unpacked.
async fn part(source: &impl Source, size: u64, shift: u64, member: Member) -> Result<Vec<u8>> {
    let Some(header) = member.header.checked_add(shift).filter(|at| *at <= size.saturating_sub(30))
    else {
        return Ok(Vec::new());
    };
    let local = source.range(header, header + 30).await?;
    let lengths = [26, 28].map(|at| short(&local, at).unwrap_or_default());
    let from = header + 30 + lengths.into_iter().map(u64::from).sum::<u64>();
    let to = size.min(from.saturating_add(member.packed.min(MAX_PACKED)));
    if !local.starts_with(b"PK\x03\x04") || from >= to {
        return Ok(Vec::new());
    }
    let packed = source.range(from, to).await?;
    Ok(match member.method {
        0 => packed,
        8 => unpacked(&packed),
        _ => Vec::new(),
    })
}

/// As much as can be unpacked: what is cut short, or broken, begins all the same.
fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let mut decoder = DeflateDecoder::new(packed).take(MAX_UNPACKED);
    // Bytes that were unpacked before an error count.
    let _ = decoder.read_to_end(&mut unpacked);
    unpacked
}

/// Where the end record in the last bytes of a file says that the directory is: right before it,
/// or, where something is between, at its place.
fn places(tail: &[u8], size: u64) -> Vec<Place> {
    let is_end = |at: &usize| {
        let comment = short(tail, at + 20).map(usize::from);
        tail[*at..].starts_with(b"PK\x05\x06")
            && comment.is_some_and(|comment| at + 22 + comment <= tail.len())
    };
    let Some(at) = (0..tail.len().saturating_sub(21)).rev().find(is_end) else { return Vec::new() };
    let begin = size - tail.len() as u64;
    let large = large_end(tail, at, begin);
    let small = || Some((at, u64::from(long(tail, at + 12)?), u64::from(long(tail, at + 16)?)));
    let Some((end, length, offset)) = large.or_else(small) else { return Vec::new() };
    let end = begin + end as u64;
    let before = end.checked_sub(length).map(|from| Place {
        from,
        to: end,
        shift: from.saturating_sub(offset),
    });
    let there = (offset < end).then_some(Place { from: offset, to: end, shift: 0 });
    before.into_iter().chain(there).collect()
}

/// The end record of the 64-bit form, where the locator before the other one names it: its place
/// in `tail`, and how long and where the directory is.
fn large_end(tail: &[u8], end: usize, begin: u64) -> Option<(usize, u64, u64)> {
    let locator = tail.get(end.checked_sub(20)?..end)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return None;
    }
    let at = usize::try_from(longest(locator, 8)?.checked_sub(begin)?).ok()?;
    let record = tail.get(at..).filter(|record| record.starts_with(b"PK\x06\x06"))?;
    Some((at, longest(record, 40)?, longest(record, 48)?))
}

/// The first entry of a directory: its name, its part, and what comes after it.
fn entry(bytes: &[u8]) -> Option<(&[u8], Member, &[u8])> {
    let lengths = [short(bytes, 28)?, short(bytes, 30)?, short(bytes, 32)?].map(usize::from);
    let (name, extra) = (46 + lengths[0], 46 + lengths[0] + lengths[1]);
    let after = bytes.get(extra + lengths[2]..)?;
    let member = Member {
        method: short(bytes, 10)?,
        packed: long(bytes, 20)?.into(),
        header: long(bytes, 42)?.into(),
    };
    let unpacked = long(bytes, 24)?;
    let member = with_large(member, unpacked, bytes.get(name..extra)?);
    bytes.starts_with(b"PK\x01\x02").then_some((bytes.get(46..name)?, member, after))
}

/// A part whose numbers are in the 64-bit form: each that is all ones is in the extra field.
fn with_large(mut member: Member, unpacked: u32, mut extra: &[u8]) -> Member {
    let ones = u64::from(u32::MAX);
    while let (Some(kind), Some(length)) = (short(extra, 0), short(extra, 2)) {
        let Some(data) = extra.get(4..4 + usize::from(length)) else { return member };
        if kind == 1 {
            let mut at = if unpacked == u32::MAX { 8 } else { 0 };
            for number in [&mut member.packed, &mut member.header] {
                if *number == ones {
                    *number = longest(data, at).unwrap_or(ones);
                    at += 8;
                }
            }
            return member;
        }
        extra = &extra[4 + usize::from(length)..];
    }
    member
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn longest(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
