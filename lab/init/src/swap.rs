//! A compressed swap device: zram, formatted and switched on without any tool.
//!
//! An unsafe call: the standard library and `rustix` have no swapon(2).
#![allow(unsafe_code)]
use std::ffi::{CStr, c_char, c_int};
use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

unsafe extern "C" {
    fn swapon(path: *const c_char, flags: c_int) -> c_int;
}

/// The header's page: swap areas are formatted in pages of the machine, and the lab runs x86-64.
const PAGE_BYTES: usize = 4096;
const DEVICE: &CStr = c"/dev/zram0";

/// Makes a swap device of `size_bytes` (uncompressed) and uses it.
pub(crate) fn start_zram(size_bytes: u64) -> Result<()> {
    let size_bytes = size_bytes / PAGE_BYTES as u64 * PAGE_BYTES as u64;
    std::fs::write("/sys/block/zram0/disksize", size_bytes.to_string())
        .context("sizing zram0 (is the module loaded?)")?;
    let path = DEVICE.to_str().context("the device's name")?;
    let device = File::options()
        .write(true)
        .open(path)
        .with_context(|| format!("opening {path}"))?;
    device
        .write_all_at(&header(size_bytes), 0)
        .with_context(|| format!("formatting {path}"))?;
    device.sync_all().with_context(|| format!("formatting {path}"))?;
    drop(device);
    // SAFETY: DEVICE is a NUL-terminated string that lives as long as the program; the call keeps no pointer to it.
    if unsafe { swapon(DEVICE.as_ptr(), 0) } != 0 {
        return Err(std::io::Error::last_os_error()).context("swapon /dev/zram0");
    }
    Ok(())
}

/// The first page of a swap area, version 1 (`union swap_header` in the kernel's include/linux/swap.h).
fn header(size_bytes: u64) -> Vec<u8> {
    let mut page = vec![0_u8; PAGE_BYTES];
    let pages = u32::try_from(size_bytes / PAGE_BYTES as u64).unwrap_or(u32::MAX);
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = page.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(1024, &1_u32.to_le_bytes());
    put(1028, &pages.saturating_sub(1).to_le_bytes());
    put(PAGE_BYTES - 10, b"SWAPSPACE2");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    // Offsets as mkswap(8) writes them: version and last page after the boot block, the signature at the page's end.
    #[test]
    fn a_swap_header_names_its_version_its_last_page_and_itself() {
        let page = header(1 << 20);
        assert_eq!(page.len(), 4096);
        assert_eq!(&page[1024..1032], &[1, 0, 0, 0, 255, 0, 0, 0]);
        assert_eq!(&page[4086..], b"SWAPSPACE2");
    }
}
