//! Where a trace comes from: one file, or the segments of a recorder in the order in which they were written.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use forestall_decide::{Bytes, Span};
use forestall_trace::{Item, MAGIC, Reader, Recording, VERSION, Version};

use crate::config::quantity;
use crate::input::{self, Wanted};
use crate::log::escape;
use crate::log::time::parse_rfc3339;

use super::date::write_date;

/// How the files of a recorder end.
pub(crate) const EXTENSION: &str = "ftr";
/// A trace as a file. It is kept whole in memory and may be large, so that it does not come through a pipe.
const TRACE: Wanted = Wanted {
    what: "trace",
    bytes_max: 4 << 30,
    mark: &MAGIC,
    may_flow: false,
};

/// So many recordings are named in one message.
const NAMED_MAX: usize = 8;
/// So many are told in one answer: twice the nodes of the largest cluster that is supported. A file has room for a boot in some hundred
/// bytes, and each is an answer of its own.
const RECORDINGS_MAX: usize = 10_000;

/// A trace in memory.
#[derive(Debug)]
pub(crate) struct Source {
    bytes: Vec<u8>,
    /// How many files it came from.
    pub(crate) files: usize,
    /// What could not be read, in words.
    pub(crate) notes: Vec<String>,
}

impl Source {
    /// Reads a file, or every segment of a directory.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        Self::load_within(path, &TRACE)
    }

    fn load_within(path: &Path, wanted: &Wanted) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let about = std::fs::metadata(path).with_context(|| format!("{shown}: cannot be read"))?;
        if !about.is_dir() {
            let bytes = input::read(path, wanted)?;
            Reader::open(&bytes).with_context(|| shown)?;
            return Ok(Self {
                bytes,
                files: 1,
                notes: Vec::new(),
            });
        }
        let mut source = Self {
            bytes: Vec::new(),
            files: 0,
            notes: Vec::new(),
        };
        for segment in segments(path)? {
            match read_segment(&segment, wanted) {
                Ok(bytes) if source.size() + bytes.len() as u64 > wanted.bytes_max => bail!(
                    "{shown}: the traces in it are more than {} together; give each machine a directory of its own, or leave out \
                     what is too old",
                    quantity::write_size(Bytes(wanted.bytes_max))
                ),
                Ok(bytes) => {
                    source.files += 1;
                    source.bytes.extend_from_slice(&bytes);
                }
                Err(why) => source
                    .notes
                    .push(format!("{}; it is left out", escape::message(&why))),
            }
        }
        if source.files == 0 {
            if let Some(note) = source.notes.first() {
                bail!("{note}");
            }
            bail!("{shown}: no trace in this directory; a recorder's segments end in .{EXTENSION}");
        }
        Ok(source)
    }

    /// A reader of all of it.
    pub(crate) fn reader(&self) -> anyhow::Result<Reader<'_>> {
        Ok(Reader::open(&self.bytes)?)
    }

    /// How many recordings are in it.
    pub(crate) fn count_recordings(&self) -> anyhow::Result<usize> {
        Ok(Recording::all(&self.bytes)?.len())
    }

    /// The recordings in it, each of one boot of one machine, as traces of their own.
    pub(crate) fn recordings(&self) -> anyhow::Result<impl Iterator<Item = Cow<'_, [u8]>>> {
        let all = Recording::all(&self.bytes)?;
        if all.len() > RECORDINGS_MAX {
            bail!(
                "there are {} recordings in it, each of one boot of one machine, and no more than {RECORDINGS_MAX} are told at once; put fewer into \
                 one directory",
                all.len()
            );
        }
        Ok(all.into_iter().map(|recording| recording.of(&self.bytes)))
    }

    /// The recording with this number, from 1 on in the order in which `replay` tells them; without a number the only one there is.
    /// Inputs of several machines behind one another are nobody's story, and have no beginning that a time could be counted from.
    pub(crate) fn choose(self, path: &Path, number: Option<usize>) -> anyhow::Result<Self> {
        let all = Recording::all(&self.bytes)?;
        let chosen = match (number, &all[..]) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(number), all) => number.checked_sub(1).and_then(|nth| all.get(nth)),
        };
        match (chosen, all.len()) {
            (Some(_), 1) => Ok(self),
            (Some(recording), _) => Ok(Self {
                bytes: recording.of(&self.bytes).into_owned(),
                ..self
            }),
            (None, count) => {
                let lacks = number.map_or_else(String::new, |number| format!(" and no number {number}"));
                bail!(
                    "{}: holds {count} recordings{lacks}, each of one boot of one machine; choose one with --recording: {}",
                    path.display(),
                    self.name(&all)?
                )
            }
        }
    }

    /// Each with its number, its node and when it was made.
    fn name(&self, all: &[Recording]) -> anyhow::Result<String> {
        let mut named = Vec::new();
        for (number, recording) in (1..).zip(all).take(NAMED_MAX) {
            let bytes = recording.of(&self.bytes);
            let (mut reader, mut begins, mut ends) = (Reader::open(&bytes)?, None, None);
            while reader.advance() {
                let at = match reader.item() {
                    Some(Item::Begin(begin)) => begin.at,
                    Some(Item::Input(at, _)) => at,
                    _ => continue,
                };
                let unix = reader.unix_micros(at);
                begins = begins.or(Some(unix));
                ends = Some(unix);
            }
            let when = begins.zip(ends).map_or_else(
                || "nothing".to_owned(),
                |(begins, ends)| format!("{} to {}", write_date(begins), write_date(ends)),
            );
            named.push(format!(
                "{number} of {} ({when})",
                escape::text(&recording.origin.node)
            ));
        }
        if all.len() > NAMED_MAX {
            named.push(format!("and {} more", all.len() - NAMED_MAX));
        }
        Ok(named.join(", "))
    }

    /// How many bytes.
    pub(crate) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// One segment, or why it is left out: it was being begun when the machine failed, or the recorder has taken it away since. The
/// others are sound.
fn read_segment(segment: &Path, wanted: &Wanted) -> Result<Vec<u8>, String> {
    let bytes = input::read(segment, wanted).map_err(|error| error.to_string())?;
    Reader::open(&bytes).map_err(|error| format!("{}: {error}", segment.display()))?;
    Ok(bytes)
}

/// What is not known of a trace with a segment of this version, which a newer program wrote.
pub(crate) fn newer_than_known(version: Version) -> Option<String> {
    let Version { major, minor } = version;
    (version > VERSION).then(|| {
        format!(
            "format {major}.{minor} is newer than {}.{}, and what it adds is passed over; use a newer forestall",
            VERSION.major, VERSION.minor
        )
    })
}

/// The segments of a directory. Their names sort as they were written.
pub(crate) fn segments(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let shown = || directory.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| format!("{}: cannot be read", shown()))? {
        let path = entry.with_context(shown)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A place in a trace, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// After its beginning.
    After(Span),
    /// By the wall clock, microseconds since 1970.
    At(u64),
}

impl When {
    /// True if `unix_micros` is before it, in a trace that begins at `begins`.
    pub(crate) const fn is_after(self, unix_micros: u64, begins: u64) -> bool {
        unix_micros < self.unix_micros(begins)
    }

    /// By the wall clock, in a trace that begins at `begins`.
    pub(crate) const fn unix_micros(self, begins: u64) -> u64 {
        match self {
            Self::After(span) => begins.saturating_add(span.0),
            Self::At(at) => at,
        }
    }
}

/// Reads a place: `90s`, `2026-11-21T10:00:00Z`.
pub(crate) fn parse_when(text: &str) -> Result<When, String> {
    if text.contains('-') || text.contains(':') {
        let micros = parse_rfc3339(text)
            .ok_or_else(|| format!("{text:?} is no date in UTC such as 2026-11-21T10:00:00Z"))?;
        return Ok(When::At(micros));
    }
    quantity::parse_time(text).map(When::After)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_traces_is_kept_in_memory_up_to_a_bound() {
        let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces/lab-leak-container.ftr");
        let size = std::fs::metadata(&trace).expect("it is kept there").len();
        let place = tempfile::TempDir::new().expect("a directory");
        for name in ["1.ftr", "2.ftr"] {
            std::fs::copy(&trace, place.path().join(name)).expect("a copy");
        }
        let load = |bytes_max| Source::load_within(place.path(), &Wanted { bytes_max, ..TRACE });
        assert_eq!(load(2 * size).expect("just so").files, 2);
        let refused = load(2 * size - 1).expect_err("too much").to_string();
        assert!(
            refused.contains("more than") && refused.contains("together"),
            "{refused}"
        );
    }

    #[test]
    fn a_place_is_a_time_since_the_beginning_or_a_date() {
        assert_eq!(parse_when("90s"), Ok(When::After(Span::secs(90))));
        // date -u -d 2026-11-21T10:00:00Z +%s
        assert_eq!(
            parse_when("2026-11-21T10:00:00Z"),
            Ok(When::At(1_795_255_200_000_000))
        );
        assert_eq!(
            parse_when("2026-11-21T10:00:00.250Z"),
            Ok(When::At(1_795_255_200_250_000))
        );
        for wrong in ["90", "2026-11-21", "2026-11-21T10:00:00+01:00", "-5s"] {
            assert!(parse_when(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_divides_what_is_before_it_from_what_is_not() {
        assert!(When::After(Span(10)).is_after(109, 100));
        assert!(!When::After(Span(10)).is_after(110, 100));
        assert!(When::At(110).is_after(109, 0));
    }
}
