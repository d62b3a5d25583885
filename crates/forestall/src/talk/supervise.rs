//! Going on through panics and errors, with a pause that grows.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The longest pause.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Runs `body` until it ends well. After an error or a panic `pause` is told why and for how long to wait, twice as long
/// each time; it answers whether to go on.
pub(super) fn keep_going<T>(
    state: &mut T,
    mut body: impl FnMut(&mut T) -> io::Result<()>,
    mut pause: impl FnMut(&mut T, &str, Duration) -> bool,
) {
    let mut length = Duration::from_secs(1);
    loop {
        let why = match catch_unwind(AssertUnwindSafe(|| body(state))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("the talk thread could not go on: {error}"),
            Err(_) => "the talk thread panicked".to_owned(),
        };
        if !pause(state, &why, length) {
            return;
        }
        length = (length * 2).min(BACKOFF_MAX);
    }
}
