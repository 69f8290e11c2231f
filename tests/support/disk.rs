//! Disks of a test's own that do most things as the real one.

/// Leaves these calls of a [`LogIo`](shrike::log::LogIo) to the real disk.
macro_rules! as_the_disk {
    (create) => {
        fn create(
            &self,
            path: &::std::path::Path,
            bytes: u64,
        ) -> ::std::io::Result<::shrike::log::LogFile> {
            ::shrike::log::Disk.create(path, bytes)
        }
    };
    (write) => {
        fn write(
            &self,
            file: &::shrike::log::LogFile,
            at: u64,
            bytes: &[u8],
        ) -> ::std::io::Result<()> {
            ::shrike::log::Disk.write(file, at, bytes)
        }
    };
    (truncate) => {
        fn truncate(&self, file: &::shrike::log::LogFile, bytes: u64) -> ::std::io::Result<()> {
            ::shrike::log::Disk.truncate(file, bytes)
        }
    };
    (sync) => {
        fn sync(&self, file: &::shrike::log::LogFile) -> ::std::io::Result<()> {
            ::shrike::log::Disk.sync(file)
        }
    };
    (rename) => {
        fn rename(
            &self,
            from: &::std::path::Path,
            to: &::std::path::Path,
        ) -> ::std::io::Result<()> {
            ::shrike::log::Disk.rename(from, to)
        }
    };
    (unlink) => {
        fn unlink(&self, path: &::std::path::Path) -> ::std::io::Result<()> {
            ::shrike::log::Disk.unlink(path)
        }
    };
    (sync_dir) => {
        fn sync_dir(&self, dir: &::std::path::Path) -> ::std::io::Result<()> {
            ::shrike::log::Disk.sync_dir(dir)
        }
    };
    (boot) => {
        fn boot(&self) -> Option<[u8; 16]> {
            ::shrike::log::Disk.boot()
        }
    };
    // A ring would pass the calls of this disk by.
    (no_ring) => {
        fn allows_ring(&self) -> bool {
            false
        }
    };
    ($($call:ident),+) => {
        $(as_the_disk!($call);)+
    };
}

pub(crate) use as_the_disk;
