//! SysRq `f`: asks the kernel to run its own OOM killer, now. The kernel chooses the victim; the write returns before it
//! has done so (`Documentation/admin-guide/sysrq.rst`).

use std::os::fd::AsFd;

use rustix::fs::{Access, AtFlags};
use rustix::io::Result;

use crate::file;

/// Whether `sysrq-trigger` below the proc root can be written. Nothing is triggered.
pub(crate) fn is_writable(proc_root: impl AsFd) -> Result<()> {
    rustix::fs::accessat(proc_root, c"sysrq-trigger", Access::WRITE_OK, AtFlags::EACCESS)
}

/// Runs the kernel's OOM killer once.
pub(crate) fn trigger_oom_killer(proc_root: impl AsFd) -> Result<()> {
    is_writable(&proc_root)?;
    file::write_once(file::open_write(&proc_root, c"sysrq-trigger")?, b"f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn it_writes_one_letter() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = std::fs::File::open(root.path()).expect("a directory");
        assert_eq!(trigger_oom_killer(&directory), Err(Errno::NOENT));
        let trigger = root.path().join("sysrq-trigger");
        std::fs::write(&trigger, "").expect("a file");
        assert_eq!(trigger_oom_killer(&directory), Ok(()));
        assert_eq!(std::fs::read(&trigger).expect("the file"), b"f");
    }
}
