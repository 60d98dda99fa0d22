//! The bytes of an image, for as long as its decoder keeps within the memory it was granted.
//!
//! A decoder checks its own limit for pictures only. Tables that a file describes in a few bytes
//! can be five hundred times as large (the prefix codes of a lossless WebP).

use std::io::{BufRead, Cursor, Error, Read, Result, Seek, SeekFrom};

use tikv_jemalloc_ctl::thread::{ThreadLocal, allocatedp, deallocatedp};

/// The most bytes that are handed out at once: the memory is looked at in between.
const SLICE: usize = 4 << 10;

/// A reader for a decoder that runs on this thread.
pub(super) struct Metered<'a> {
    bytes: Cursor<&'a [u8]>,
    memory: Memory,
    /// Bytes that the thread may hold.
    most: i64,
}

impl<'a> Metered<'a> {
    /// The decoder may take `granted` bytes more than the thread holds now.
    pub fn new(bytes: &'a [u8], granted: u64) -> Result<Self> {
        let memory = Memory::of_this_thread().map_err(Error::other)?;
        let most = memory.held().saturating_add_unsigned(granted);
        Ok(Self { bytes: Cursor::new(bytes), memory, most })
    }
}

/// All that the current thread has allocated and freed since it began.
#[derive(Clone, Copy)]
struct Memory {
    allocated: ThreadLocal<u64>,
    freed: ThreadLocal<u64>,
}

impl Memory {
    fn of_this_thread() -> std::result::Result<Self, tikv_jemalloc_ctl::Error> {
        Ok(Self { allocated: allocatedp::read()?, freed: deallocatedp::read()? })
    }

    /// Bytes that the thread holds; negative where it freed the memory of others.
    fn held(self) -> i64 {
        self.allocated.get().wrapping_sub(self.freed.get()).cast_signed()
    }
}

impl BufRead for Metered<'_> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        if self.memory.held() > self.most {
            return Err(Error::other("the decoder takes more memory than it was granted"));
        }
        let bytes = self.bytes.fill_buf()?;
        Ok(&bytes[..bytes.len().min(SLICE)])
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.consume(amount);
    }
}

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl Seek for Metered<'_> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.bytes.seek(to)
    }
}
