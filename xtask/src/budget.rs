//! Ceilings that hold on every machine: the size of the static binary. What depends on the machine is a benchmark.

use anyhow::{Context, Result, bail};

use crate::binary;

/// The binary may not be larger than this: it is copied to every node and stays mapped there.
pub(crate) const BINARY_BYTES_MAX: u64 = 8 << 20;

/// Fails when the static binary is too large.
pub(crate) fn check() -> Result<()> {
    let binary = binary::build("forestall")?;
    let bytes = std::fs::metadata(&binary)
        .with_context(|| format!("cannot read {}", binary.display()))?
        .len();
    println!("static binary: {bytes} bytes, ceiling {BINARY_BYTES_MAX}");
    if bytes > BINARY_BYTES_MAX {
        bail!(
            "the static binary has {bytes} bytes, more than the {BINARY_BYTES_MAX} SPECIFICATION.md promises; \
             look for a new dependency with `cargo tree -p forestall`, or change the promise with its reason"
        );
    }
    Ok(())
}
