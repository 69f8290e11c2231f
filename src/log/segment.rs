//! Segments in memory: read-only mappings that survive a failing disk, and the shared page.
//!
//! The only unsafe code of the log besides the ring lives here. Files that are mapped are
//! preallocated and never truncated by us, only unlinked; still a disk can fail under a mapping, or
//! somebody can truncate the file. The kernel then raises SIGBUS. A guard puts a page of zeros
//! under the access, marks the stripe as damaged and lets the thread go on: the checksum of what it
//! reads will not match.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::STRIPE_BYTES;

/// A whole segment, mapped for reading and guarded against SIGBUS.
#[derive(Debug)]
pub(crate) struct Mapping {
    raw: MmapRaw,
    /// One bit per stripe, set by the guard. Boxed, since the guard holds its address.
    damage: Box<[AtomicU64]>,
    slot: &'static Slot,
}

impl Mapping {
    /// Maps the first `bytes` of a file.
    pub(crate) fn new(file: &File, bytes: u64) -> io::Result<Self> {
        let len = usize::try_from(bytes).map_err(io::Error::other)?;
        let raw = MmapOptions::new().len(len).map_raw_read_only(file)?;
        let words = bytes.div_ceil(STRIPE_BYTES).div_ceil(64);
        let damage: Box<[AtomicU64]> = (0..words).map(|_| AtomicU64::new(0)).collect();
        let slot = guard(raw.as_ptr().addr(), len, damage.as_ptr().cast_mut())?;
        Ok(Self { raw, damage, slot })
    }

    /// The bytes of the segment.
    ///
    /// Bytes at and above `written` may change while they are looked at; readers cut the slice at
    /// `written` before they do.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable over its whole length and lives as long as `self`. The
        // one writer never changes a byte below `written` (log/writer.rs), and every reader cuts
        // at `written` (log/reader.rs). Should the file vanish below us, the guard installed in
        // `new` supplies zeros, so that an access cannot kill the process.
        unsafe { std::slice::from_raw_parts(self.raw.as_ptr(), self.raw.len()) }
    }

    /// Whether all pages under the range are in memory, so that reading it cannot wait for a disk.
    pub(crate) fn resident(&self, start: usize, len: usize) -> bool {
        let (start, len) = self.pages(start, len);
        let mut pages = [0_u8; RESIDENT_PAGES];
        let mut at = start;
        while at < start + len {
            let step = (start + len - at).min(RESIDENT_PAGES * page_bytes());
            // SAFETY: the address lies in the mapping and is a multiple of the page size.
            let address = unsafe { self.raw.as_mut_ptr().add(at) };
            // SAFETY: mincore writes one byte per page of the range, at most RESIDENT_PAGES.
            let answer = unsafe { libc::mincore(address.cast(), step, pages.as_mut_ptr()) };
            let count = step.div_ceil(page_bytes());
            if answer != 0 || pages[..count].iter().any(|page| page & 1 == 0) {
                return false;
            }
            at += step;
        }
        true
    }

    /// Reads the pages under the range into memory; blocks, and fails where the disk does.
    pub(crate) fn populate(&self, start: usize, len: usize) -> io::Result<()> {
        let (start, len) = self.pages(start, len);
        self.raw.advise_range(Advice::PopulateRead, start, len)
    }

    /// Says that single pages will be looked at: otherwise a look at an empty stripe reads, and so
    /// zeroes, as many megabytes as the disk reads ahead.
    pub(crate) fn expect_single_pages(&self) {
        // Advice that is not taken costs time and nothing else.
        let _slower = self.raw.advise(Advice::Random);
    }

    /// Says that pages will be read in order again.
    pub(crate) fn expect_order(&self) {
        let _slower = self.raw.advise(Advice::Normal);
    }

    /// Whether the guard had to supply zeros in one of the range's stripes.
    pub(crate) fn is_damaged(&self, start: usize, len: usize) -> bool {
        let stripe_bytes = STRIPE_BYTES as usize;
        (start / stripe_bytes..(start + len).div_ceil(stripe_bytes)).any(|stripe| {
            self.damage[stripe / 64].load(Ordering::Acquire) & (1 << (stripe % 64)) != 0
        })
    }

    /// The range, widened to whole pages and cut at the end of the mapping.
    fn pages(&self, start: usize, len: usize) -> (usize, usize) {
        let page = page_bytes();
        let from = start / page * page;
        let to = (start + len).min(self.raw.len());
        (from, to.saturating_sub(from))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // Before the mapping goes: its addresses may belong to somebody else right afterwards.
        self.slot.clear();
    }
}

/// A small file mapped for reading and writing by all processes that use the log.
#[derive(Debug)]
pub(crate) struct SharedPage {
    raw: MmapRaw,
}

impl SharedPage {
    /// Maps the file's first `bytes`; the file must be that long.
    pub(crate) fn new(file: &File, bytes: usize) -> io::Result<Self> {
        if file.metadata()?.len() < bytes as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is too short"));
        }
        let mut options = MmapOptions::new();
        // Populated: publishing an offset must not wait for a page fault.
        Ok(Self { raw: options.len(bytes).populate().map_raw(file)? })
    }

    /// Maps a copy of that, which a file that cannot be written allows as well: what is written
    /// there stays in this process, and what others write may not be seen.
    pub(crate) fn copy(file: &File, bytes: usize) -> io::Result<Self> {
        if file.metadata()?.len() < bytes as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is too short"));
        }
        // SAFETY: a private mapping; nobody writes or cuts a file on a disk that cannot be written.
        let page = unsafe { MmapOptions::new().len(bytes).map_copy(file)? };
        Ok(Self { raw: page.into() })
    }

    /// The number at a position, shared with other processes.
    #[inline]
    pub(crate) fn u64(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at + 8 <= self.raw.len(), "inside the page, aligned");
        // SAFETY: inside the mapping, as asserted.
        let address = unsafe { self.raw.as_mut_ptr().add(at) };
        // SAFETY: aligned, valid as long as `self`; all accesses everywhere are atomic.
        unsafe { AtomicU64::from_ptr(address.cast()) }
    }

    /// The number at a position, shared with other processes.
    #[inline]
    pub(crate) fn u32(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.raw.len(), "inside the page, aligned");
        // SAFETY: inside the mapping, as asserted.
        let address = unsafe { self.raw.as_mut_ptr().add(at) };
        // SAFETY: aligned, valid as long as `self`; all accesses everywhere are atomic.
        unsafe { AtomicU32::from_ptr(address.cast()) }
    }
}

/// A table of guarded mappings, and the next one once that is full. Tables stay for ever: the
/// handler looks at them at any time.
struct Table {
    slots: [Slot; SLOTS],
    next: OnceLock<Box<Table>>,
}

impl Table {
    const fn new() -> Self {
        Self { slots: [const { Slot::free() }; SLOTS], next: OnceLock::new() }
    }

    /// All slots that there are; only loads, so that a signal handler may ask.
    fn all() -> impl Iterator<Item = &'static Slot> {
        let tables = std::iter::successors(Some(&TABLE), |table| table.next.get().map(Box::as_ref));
        tables.flat_map(|table| &table.slots)
    }

    /// Fills a free slot, of another table where this one is full.
    fn claim(
        &'static self,
        base: usize,
        len: usize,
        damage: *mut AtomicU64,
    ) -> Option<&'static Slot> {
        let mut table = self;
        for _ in 0..TABLES_MAX {
            if let Some(slot) = table.slots.iter().find(|slot| slot.claim(base, len, damage)) {
                return Some(slot);
            }
            table = table.next.get_or_init(|| Box::new(Self::new()));
        }
        None
    }
}

/// One guarded mapping. All zero: free.
#[derive(Debug)]
struct Slot {
    /// First address; 0 when free.
    base: AtomicUsize,
    len: AtomicUsize,
    damage: AtomicPtr<AtomicU64>,
    /// How often it was filled.
    turn: AtomicUsize,
}

impl Slot {
    const fn free() -> Self {
        Self {
            base: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            damage: AtomicPtr::new(std::ptr::null_mut()),
            turn: AtomicUsize::new(0),
        }
    }

    /// Fills it, if it is free.
    fn claim(&self, base: usize, len: usize, damage: *mut AtomicU64) -> bool {
        // Most are taken where there are many: a look is cheaper than a try.
        if self.base.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let claim = self.base.compare_exchange(0, CLAIMED, Ordering::AcqRel, Ordering::Relaxed);
        if claim.is_err() {
            return false;
        }
        // Before the rest: whoever sees any of that sees this too.
        self.turn.fetch_add(1, Ordering::AcqRel);
        self.damage.store(damage, Ordering::Release);
        self.len.store(len, Ordering::Release);
        self.base.store(base, Ordering::Release);
        true
    }

    /// Where the address lies in it, and the bits of its stripes; `None` where it does not.
    ///
    /// Slots of other mappings are looked at too, and may be given on meanwhile.
    fn find(&self, address: usize) -> Option<(usize, *mut AtomicU64)> {
        let turn = self.turn.load(Ordering::Acquire);
        let base = self.base.load(Ordering::Acquire);
        if base <= CLAIMED || address < base {
            return None;
        }
        let (len, damage) = (self.len.load(Ordering::Acquire), self.damage.load(Ordering::Acquire));
        // Else it was given on in between, and the numbers are of two mappings.
        let is_one = self.turn.load(Ordering::Acquire) == turn;
        (is_one && address - base < len).then_some((address - base, damage))
    }

    fn clear(&self) {
        self.len.store(0, Ordering::Release);
        self.base.store(0, Ordering::Release);
    }
}

/// Mappings of one table: 4,096 segments of 256 MiB are 1 TiB, of 8 MiB 32 GiB.
const SLOTS: usize = 4096;

/// Tables at a time: the kernel gives a process 65,530 mappings, and some are needed elsewhere.
const TABLES_MAX: usize = 15;

/// A slot's base while it is being filled; no mapping starts there.
const CLAIMED: usize = 1;

/// Pages asked of `mincore` at a time: one block of 256 KiB.
const RESIDENT_PAGES: usize = 64;

static TABLE: Table = Table::new();

static INSTALLED: Once = Once::new();

/// What handled SIGBUS before us.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// Puts a mapping under the guard.
fn guard(base: usize, len: usize, damage: *mut AtomicU64) -> io::Result<&'static Slot> {
    INSTALLED.call_once(install);
    TABLE.claim(base, len, damage).ok_or_else(|| {
        io::Error::other(
            "more than 61,440 segments are mapped: lower log.max_bytes or raise log.segment_bytes",
        )
    })
}

/// Installs the guard for the whole process, once.
fn install() {
    // SAFETY: all zero is a valid sigaction: default action, empty mask, no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_sigbus as extern "C" fn(_, _, _) as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK;
    // SAFETY: all zero is a valid sigaction.
    let previous: Box<libc::sigaction> = Box::new(unsafe { std::mem::zeroed() });
    let previous = Box::into_raw(previous);
    PREVIOUS.store(previous, Ordering::Release);
    // SAFETY: both point to valid structures; the previous one is never freed.
    let answer = unsafe { libc::sigaction(libc::SIGBUS, &action, previous) };
    assert_eq!(answer, 0, "SIGBUS can be caught on every Linux");
}

/// Supplies a page of zeros under a guarded access; async-signal-safe.
extern "C" fn on_sigbus(
    _signal: libc::c_int,
    about: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid siginfo with SA_SIGINFO.
    let about = unsafe { &*about };
    // SAFETY: SIGBUS carries the address.
    let address = unsafe { about.si_addr() }.addr();
    if Table::all().any(|slot| slot.find(address).is_some_and(|at| supply_zeros(address, at))) {
        return;
    }
    let previous = PREVIOUS.load(Ordering::Acquire);
    // Not ours: put back what was there and return; the access faults again and meets it.
    // SAFETY: `previous` was filled by `install` and is never freed.
    unsafe { libc::sigaction(libc::SIGBUS, previous, std::ptr::null_mut()) };
}

/// Marks the stripe, then maps zeros over the page.
fn supply_zeros(address: usize, (within, words): (usize, *mut AtomicU64)) -> bool {
    let stripe = within / STRIPE_BYTES as usize;
    // SAFETY: the array has a bit for each stripe of the mapping, and the mapping cannot be
    // dropped while one of its bytes is being read.
    let word = unsafe { words.add(stripe / 64) };
    // SAFETY: as above.
    let word = unsafe { &*word };
    word.fetch_or(1 << (stripe % 64), Ordering::AcqRel);
    let page = address / page_bytes() * page_bytes();
    // SAFETY: the page lies in our own read-only mapping; replacing it by zeros changes only bytes
    // that could not be read at all. The call is a bare system call.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::with_exposed_provenance_mut(page),
            page_bytes(),
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    mapped != libc::MAP_FAILED
}

/// The size of a page; rustix reads it once, from the auxiliary vector.
fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// Asks the processor to bring these bytes into its caches.
#[inline]
pub(super) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(LINE_BYTES) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a prefetch changes nothing that a program sees, and fails nowhere.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// Bytes that a processor's caches hold together.
const LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn more_mappings_than_one_table_has_are_guarded() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(STRIPE_BYTES).expect("its length");
        let map = |_| Mapping::new(&file, STRIPE_BYTES).expect("mapped and guarded");
        let mappings: Vec<Mapping> = (0..SLOTS + 100).map(map).collect();
        file.set_len(0).expect("cut off");
        for mapping in mappings.iter().rev().take(2) {
            assert!(!mapping.is_damaged(0, 8));
            assert_eq!(mapping.bytes()[..8], [0; 8], "zeros, and no death");
            assert!(mapping.is_damaged(0, 8));
        }
    }

    #[test]
    fn an_address_outside_of_every_mapping_is_never_guarded() {
        const MIB: usize = 1 << 20;
        const LOOKS: usize = 3_000_000;
        let (slot, is_over) = (Slot::free(), AtomicBool::new(false));
        let found = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    for (base, len) in [(MIB, MIB), (1024 * MIB, 1024 * MIB)] {
                        assert!(slot.claim(base, len, std::ptr::null_mut()), "it is free");
                        slot.clear();
                    }
                }
            });
            let found = (0..LOOKS).filter(|_| slot.find(3 * MIB).is_some()).count();
            is_over.store(true, Ordering::Release);
            found
        });
        assert_eq!(found, 0, "a base and a length of different mappings were taken together");
    }
}
