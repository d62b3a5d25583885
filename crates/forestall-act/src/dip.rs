//! A dip: `memory.high` lowered for at most 200 ms where the kernel has no `memory.reclaim` (before 5.19).

use forestall_decide::{Bytes, Moment, Span};
use rustix::io::Errno;

use crate::group;
use crate::lowered::{High, Lowered, page_bytes};
use crate::order::CgroupPlace;

/// The longest a dip lasts.
pub(crate) const DIP_MAX: Span = Span::millis(200);

/// Prepares to lower `memory.high` by `step` below what the cgroup holds. `None`: it is that low already.
pub(crate) fn prepare_dip(place: &CgroupPlace, step: Bytes, now: Moment) -> Result<Option<Lowered>, Errno> {
    let high = High::open(place, false)?;
    let current = group::current_bytes(place).ok_or(Errno::NODATA)?;
    // The kernel rounds down to pages, and only a value that reads back unchanged can be known as ours.
    let target = current.saturating_sub(step.0) / page_bytes() * page_bytes();
    Ok(high.lower_to(place, target, now + DIP_MAX, false))
}

#[cfg(test)]
pub(crate) mod tests;
