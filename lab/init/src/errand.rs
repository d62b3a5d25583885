//! Somebody to ask in a container: a process in its cgroup that answers, as whoever is behind a liveness probe does, and a thread outside
//! that asks it ten times a second and notes how long that took.
//!
//! It asks one thing at a time: who waits for an answer asks nothing else meanwhile, as a probe does. What is asked for takes memory and
//! gives it back, or takes none but for what the connection is in the kernel.
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use forestall_lab_init::report::Answers;

use crate::launch::{self, Place};

const ASKS_EVERY: Duration = Duration::from_millis(100);
/// It is there within this, emulated or not.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a liveness probe waits, unless its pod says otherwise (`timeoutSeconds` is 1).
const LATE: Duration = Duration::from_secs(1);
const PAGE: usize = 4096;

/// `errand SOCKET BYTES`: answers whoever connects, each time with so many bytes of memory written and given back.
pub(crate) fn answer(words: &[String]) -> Result<()> {
    let [path, bytes] = words else {
        bail!("errand wants a socket and a number of bytes");
    };
    let bytes: usize = bytes.parse().context("errand wants a number of bytes")?;
    let listener = UnixListener::bind(path).with_context(|| format!("listening at {path}"))?;
    loop {
        let (mut asker, _) = listener
            .accept()
            .with_context(|| format!("accepting at {path}"))?;
        if asker.read_exact(&mut [0]).is_err() {
            continue;
        }
        let mut taken = vec![0_u8; bytes];
        for page in taken.iter_mut().step_by(PAGE) {
            *page = 1;
        }
        drop(black_box(taken));
        // One who is gone needs no answer.
        let _ = asker.write_all(&[1]);
    }
}

/// One question: when, and how long the answer took, once it is there.
type Asked = (Instant, Option<Duration>);

/// One that is asked until it ends.
pub(crate) struct Errand {
    pub(crate) bytes: usize,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Errand {
    /// Starts it in `place`, and begins to ask.
    pub(crate) fn start(place: &Place, bytes: usize) -> Result<Self> {
        let path = format!("/errand-{bytes}");
        // That of one before, who has ended.
        let _ = std::fs::remove_file(&path);
        let words = [
            launch::named("errand")?,
            "errand".into(),
            path.clone(),
            bytes.to_string(),
        ];
        // It ends with its container, and nobody waits for it.
        launch::placed(place, &words)?
            .spawn()
            .context("starting an errand")?;
        let deadline = Instant::now() + PATIENCE;
        while ask(Path::new(&path)).is_err() {
            if Instant::now() > deadline {
                bail!("nobody answers at {path}");
            }
            sleep(ASKS_EVERY);
        }
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        spawn(move || ask_until_it_ends(Path::new(&path), &notes));
        Ok(Self { bytes, asked })
    }

    /// What was asked in that time: who has had no answer yet has waited until now.
    pub(crate) fn answers(&self, from: Instant, to: Instant) -> Answers {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let within = asked.iter().filter(|(at, _)| (from..to).contains(at));
        let waits = within.map(|(at, took)| took.unwrap_or_else(|| at.elapsed()));
        tell(waits.collect())
    }
}

fn tell(mut waits: Vec<Duration>) -> Answers {
    waits.sort_unstable();
    let micros = |wait: Duration| u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
    // By the nearest rank: so many of a hundred are no longer than it.
    let rank = |percent: usize| waits.get((waits.len() * percent).div_ceil(100).saturating_sub(1));
    let wait_of = |percent| rank(percent).copied().map_or(0, micros);
    Answers {
        asked: waits.len(),
        median_micros: wait_of(50),
        p99_micros: wait_of(99),
        longest_micros: wait_of(100),
        late: waits.iter().filter(|wait| **wait > LATE).count(),
    }
}

fn ask_until_it_ends(path: &Path, notes: &Mutex<Vec<Asked>>) {
    loop {
        let at = Instant::now();
        notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((at, None));
        if ask(path).is_err() {
            notes.lock().unwrap_or_else(PoisonError::into_inner).pop();
            return;
        }
        if let Some(last) = notes.lock().unwrap_or_else(PoisonError::into_inner).last_mut() {
            last.1 = Some(at.elapsed());
        }
        sleep(ASKS_EVERY.saturating_sub(at.elapsed()));
    }
}

fn ask(path: &Path) -> std::io::Result<()> {
    let mut line = UnixStream::connect(path)?;
    line.write_all(&[1])?;
    line.read_exact(&mut [0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_by_their_ranks() {
        let waits = (1..=200).rev().map(|n| Duration::from_millis(n * 10)).collect();
        let told = tell(waits);
        assert_eq!((told.asked, told.late), (200, 100));
        assert_eq!(
            (told.median_micros, told.p99_micros, told.longest_micros),
            (1_000_000, 1_980_000, 2_000_000)
        );
        assert_eq!(tell(Vec::new()), Answers::default());
    }
}
