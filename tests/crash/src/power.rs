//! A loop-mounted ext4 whose power can be cut: `EXT4_IOC_SHUTDOWN` without a flush of its journal keeps what was
//! synced and drops the rest, as a power cut does.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::CrashError;
use crate::node::run;

/// Size of the file system, and what each cut adds to it: the workload leaves up to 12 MiB, of which nothing is deleted.
/// The image is sparse.
const DISK_MIB: u64 = 768;
const DISK_MIB_PER_CUT: u64 = 12;
/// `ioctl(fd, EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH)`.
const SHUTDOWN: &str = "\
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// A mounted file system in a file. Unmounted when dropped.
pub struct LoopDisk {
    image: PathBuf,
    mount: PathBuf,
    mounted: std::sync::atomic::AtomicBool,
}

impl LoopDisk {
    /// Makes and mounts a file system below `directory` that is large enough for so many power cuts under load.
    ///
    /// # Errors
    /// When this machine cannot, with the reason: loop mounts take root, loop devices, `mkfs.ext4` and `python3`.
    pub fn create(directory: &Path, cuts: u32) -> Result<Self, CrashError> {
        Self::with_size(directory, DISK_MIB + u64::from(cuts) * DISK_MIB_PER_CUT)
    }

    /// The same with a size of its own.
    ///
    /// # Errors
    /// As [`LoopDisk::create`].
    pub fn with_size(directory: &Path, mib: u64) -> Result<Self, CrashError> {
        run(Command::new("python3").arg("--version"))?;
        let image = directory.join("disk.img");
        let mount = directory.join("mount");
        std::fs::create_dir_all(&mount).map_err(CrashError::io("creating the mount point"))?;
        let file = std::fs::File::create(&image).map_err(CrashError::io("creating the disk image"))?;
        file.set_len(mib << 20).map_err(CrashError::io("sizing the disk image"))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let disk = Self { image, mount, mounted: false.into() };
        disk.power_on()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn mounted_at(&self) -> &Path {
        &self.mount
    }

    /// Cuts the power: what was not synced is gone, and everything fails until [`LoopDisk::power_on`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn cut_power(&self) -> Result<(), CrashError> {
        run(Command::new("python3").args(["-c", SHUTDOWN]).arg(&self.mount)).map(drop)
    }

    /// Mounts the file system, anew when it was mounted.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn power_on(&self) -> Result<(), CrashError> {
        self.unmount()?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))?;
        self.mounted.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    fn unmount(&self) -> Result<(), CrashError> {
        if self.mounted.swap(false, std::sync::atomic::Ordering::Relaxed) {
            run(Command::new("umount").arg(&self.mount))?;
        }
        Ok(())
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Nothing can be done about a failure here.
        let _ = self.unmount();
    }
}
