//! Whoever wants a run to end tells it so by a signal, and what it has started ends in its order.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// Listens from now on, on a thread of its own.
pub(crate) fn listen() -> Result<()> {
    let (tell, told) = mpsc::channel();
    let listener = std::thread::Builder::new().name("signals".to_owned());
    listener.spawn(move || {
        let wait = || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()?;
            runtime.block_on(async {
                let [mut interrupt, mut terminate, mut hangup] = signals()?;
                let _ = tell.send(Ok(()));
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                IS_WANTED.store(true, Ordering::Relaxed);
                Ok(())
            })
        };
        if let Err(error) = wait() {
            let _ = tell.send(Err(error));
        }
    })?;
    told.recv().context("the thread for signals")?
}

fn signals() -> Result<[Signal; 3]> {
    Ok([
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ])
}

/// Whether an end is wanted.
pub(crate) fn is_wanted() -> bool {
    IS_WANTED.load(Ordering::Relaxed)
}

/// An error where an end is wanted.
pub(crate) fn check() -> Result<()> {
    if is_wanted() {
        bail!("interrupted");
    }
    Ok(())
}
