//! Going on through panics and errors, with a pause that grows.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The longest pause.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Runs `body` of the thread that is called `name` until it ends well. After an error or a panic `pause` is told why and for how long to wait, twice as long
/// each time; it answers whether to go on.
pub(crate) fn keep_going<T>(
    name: &str,
    state: &mut T,
    mut body: impl FnMut(&mut T) -> io::Result<()>,
    mut pause: impl FnMut(&mut T, &str, Duration) -> bool,
) {
    let mut length = Duration::from_secs(1);
    loop {
        let why = match catch_unwind(AssertUnwindSafe(|| body(state))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("the {name} thread could not go on: {error}"),
            Err(_) => format!("the {name} thread panicked"),
        };
        if !pause(state, &why, length) {
            return;
        }
        length = (length * 2).min(BACKOFF_MAX);
    }
}
