//! Whether a process is the node agent that it calls itself, by its own files. Whom that takes is decided elsewhere ([`Claim`]).

use forestall_decide::Claim;
use forestall_kernel::file::Buffer;
use forestall_kernel::process::{Process, ProcessFile};

/// Allocates nothing.
pub(crate) fn is_true(claim: Claim, process: &Process, buffer: &mut Buffer) -> bool {
    let uid = process.status(buffer).ok().and_then(|status| status.uid);
    claim.is_true_of(uid, move || process.read(ProcessFile::Cgroup, buffer).ok())
}
