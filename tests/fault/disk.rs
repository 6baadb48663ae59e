//! A disk that fails: `disk.c`, compiled here, loaded by the servers under test.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::harness::{Folder, skip};

pub struct Disk {
    folder: Folder,
    variables: [(&'static str, String); 3],
}

impl Disk {
    /// `None`, said loudly, where there is no C compiler.
    pub fn new() -> Option<Disk> {
        let folder = Folder::new();
        let place = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
        let variables =
            [("LD_PRELOAD", library()?.to_owned()), ("DISK_ORDERS", place("orders")), ("DISK_UNDO", place("undo"))];
        fs::create_dir(folder.0.join("undo")).unwrap();
        Some(Disk { folder, variables })
    }

    /// What a server is started with to write to this disk.
    pub fn variables(&self) -> [(&str, &str); 3] {
        self.variables.each_ref().map(|(name, value)| (*name, value.as_str()))
    }

    /// From now on: `write N`, `fsync N`, `limit BYTES`, `quota BYTES`, `die N`, or nothing.
    pub fn order(&self, text: &str) {
        // In one step, for a server reads it at any moment.
        fs::write(self.folder.0.join("draft"), text).unwrap();
        fs::rename(self.folder.0.join("draft"), self.folder.0.join("orders")).unwrap();
    }

    /// Waits until the order was carried out.
    #[track_caller]
    pub fn has_failed(&self, within: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < within {
            if self.folder.0.join("orders.done").exists() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// Makes the files of `data` what a power cut leaves of them: of the writes that were not synced, all are gone, or
    /// those after some point. Says how many.
    pub fn lose_power(&self, data: &Path, case: &mut Case) -> usize {
        let mut lost = 0;
        // SQLite's shared memory is memory.
        let _ = fs::remove_file(data.join("usher.db-shm"));
        for file in fs::read_dir(self.folder.0.join("undo")).unwrap().map(Result::unwrap) {
            let bytes = fs::read(file.path()).unwrap();
            let mut writes = Vec::new();
            let mut rest = bytes.as_slice();
            while let Some((head, after)) = rest.split_at_checked(24) {
                let [offset, size, length] =
                    [0, 8, 16].map(|at| u64::from_le_bytes(head[at..at + 8].try_into().unwrap()));
                // Killed while it noted what it was about to overwrite, so the write itself was not made.
                let Some((old, after)) = after.split_at_checked(usize::try_from(length).unwrap()) else { break };
                writes.push((offset, size, old));
                rest = after;
            }
            let all = u64::try_from(writes.len()).unwrap();
            let kept = if case.dice(0..2) == 0 { 0 } else { usize::try_from(case.dice(0..all + 1)).unwrap() };
            if let Ok(target) = OpenOptions::new().write(true).open(data.join(file.file_name())) {
                for (offset, size, old) in writes.drain(kept..).rev() {
                    target.write_all_at(old, offset).unwrap();
                    target.set_len(size).unwrap();
                    lost += 1;
                }
            }
            fs::remove_file(file.path()).unwrap();
        }
        lost
    }
}

fn library() -> Option<&'static str> {
    static LIBRARY: OnceLock<Option<String>> = OnceLock::new();
    let compile = || {
        let library = concat!(env!("CARGO_TARGET_TMPDIR"), "/disk.so").to_owned();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fault/disk.c");
        let Ok(done) = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o", &library, source, "-ldl"]).status()
        else {
            skip("a disk that fails", "there is no C compiler");
            return None;
        };
        assert!(done.success(), "disk.c does not compile");
        Some(library)
    };
    LIBRARY.get_or_init(compile).as_deref()
}
