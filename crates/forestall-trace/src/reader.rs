//! From bytes back to inputs, and what is missing among them.

use forestall_decide::{Moment, Outcome, Policy, Sample};

use crate::error::Error;
use crate::frame::{self, Frame, MARK, kind};
use crate::header::{self, Columns, MAGIC, Origin, VERSION, Version};
use crate::item::{Begin, Cause, Item, Recorded};
use crate::names::Names;
use crate::record::read_fields;
use crate::sample::{SampleState, blank};
use crate::state::Key;
use crate::varint::Cursor;
use crate::{kubelet, outcome, pods, policy};

/// Reads a trace, one segment after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    chain: u32,
    head: Head,
    names: Names,
    samples: SampleState,
    sample: Sample,
    outcome: Outcome,
    key: Key,
    /// A key frame has been read and everything since.
    synced: bool,
    /// How many inputs of the run were read without a gap.
    counted: Option<u64>,
    /// Why the next engine begins afresh, if one has to.
    cause: Cause,
    /// Why the last one did.
    began: Cause,
}

#[derive(Debug)]
struct Head {
    version: Version,
    origin: Origin,
    columns: Columns,
}

/// What was found, before it is lent out.
enum Found {
    Begin,
    Sample,
    Outcome,
    Policy,
    Pods,
    Kubelet,
    Nothing,
    Lost(u64),
    Unknown(u8),
}

impl<'a> Reader<'a> {
    /// Opens a segment. Fails where it is no trace, its head is damaged, or only a newer program can read it.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let (head, offset, chain) = read_head(bytes)?;
        Ok(Self {
            bytes,
            offset,
            chain,
            names: Names::default(),
            samples: SampleState::new(&head.columns),
            head,
            sample: blank(),
            outcome: outcome::NONE,
            key: Key::default(),
            synced: false,
            counted: None,
            cause: Cause::Opening,
            began: Cause::Opening,
        })
    }

    /// Goes on with another segment. Where it follows the one before without a gap, no engine has to begin afresh. Where it
    /// cannot be opened, nothing changes but that the next one no longer follows.
    pub fn follow(&mut self, bytes: &'a [u8]) -> Result<(), Error> {
        let opened = read_head(bytes);
        if opened.is_err() {
            self.counted = None;
        }
        let (head, offset, chain) = opened?;
        if head.origin.run != self.head.origin.run {
            self.cause = Cause::Run;
            self.counted = None;
        }
        (self.bytes, self.offset, self.chain) = (bytes, offset, chain);
        self.samples = SampleState::new(&head.columns);
        self.head = head;
        self.synced = false;
        Ok(())
    }

    /// The segment's version.
    pub const fn version(&self) -> Version {
        self.head.version
    }

    /// Whose recording it is.
    pub const fn origin(&self) -> &Origin {
        &self.head.origin
    }

    /// The names known so far.
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// The wall clock at a moment of this run, in microseconds since 1970, as of the last key frame.
    pub const fn unix_micros(&self, at: Moment) -> u64 {
        let (moment, unix) = self.key.clock;
        unix.wrapping_add(at.0.wrapping_sub(moment.0))
    }

    /// Where in the segment the reader stands, in bytes.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The next thing found; `None` at the end of the segment.
    pub fn read(&mut self) -> Option<Item<'_>> {
        let found = loop {
            let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
            match self.take(rest) {
                Some(Found::Nothing) => {}
                Some(found) => break found,
                None => return Some(self.pass_over(self.offset)),
            }
        };
        let at = self.key.at;
        let recorded = match found {
            Found::Nothing | Found::Begin => return Some(Item::Begin(self.begin())),
            Found::Lost(count) => return Some(Item::Lost(count)),
            Found::Unknown(kind) => return Some(Item::Unknown(kind)),
            Found::Sample => Recorded::Sample(&self.sample),
            Found::Outcome => Recorded::Outcome(&self.outcome),
            Found::Policy => Recorded::Policy(&self.key.policy),
            Found::Pods => Recorded::Pods(self.key.pods.get_or_insert_default()),
            Found::Kubelet => Recorded::KubeletConfig(self.key.kubelet.get_or_insert_default()),
        };
        Some(Item::Input(at, recorded))
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Policy {
        &self.key.policy
    }

    fn begin(&self) -> Begin<'_> {
        Begin {
            cause: self.began,
            at: self.key.at,
            policy: &self.key.policy,
            kubelet: self.key.kubelet.as_ref(),
            pods: self.key.pods.as_ref(),
        }
    }

    /// Takes what stands at the offset; `None` where it is not sound.
    fn take(&mut self, rest: &'a [u8]) -> Option<Found> {
        if let Some(after) = rest.strip_prefix(&MARK) {
            let frame = frame::read(after, 0).filter(|frame| frame.kind == kind::KEY)?;
            let found = self.take_key(frame.content)?;
            self.step(frame, MARK.len());
            return Some(found);
        }
        let frame = frame::read(rest, self.chain)?;
        let found = self.take_frame(frame)?;
        self.step(frame, 0);
        Some(found)
    }

    const fn step(&mut self, frame: Frame<'_>, before: usize) {
        self.offset += frame.size + before;
        self.chain = frame.chain;
    }

    fn take_key(&mut self, content: &[u8]) -> Option<Found> {
        let key = Key::read(content)?;
        let follows = self.counted == Some(key.inputs);
        self.counted = Some(key.inputs);
        self.samples.clear();
        self.sample.groups.clear();
        self.sample.processes.clear();
        self.sample.node = blank().node;
        self.synced = true;
        if follows {
            // Everything but the clock is known already, and stays as it was read.
            self.key.clock = key.clock;
            return Some(Found::Nothing);
        }
        self.key = key;
        self.began = core::mem::replace(&mut self.cause, Cause::Gap);
        Some(Found::Begin)
    }

    fn take_frame(&mut self, frame: Frame<'_>) -> Option<Found> {
        if frame.kind == kind::NAMES {
            self.names.read(frame.content)?;
            return Some(Found::Nothing);
        }
        if frame.kind >= 0x80 {
            return Some(Found::Nothing);
        }
        // Before the first key nothing can be told from anything.
        self.synced.then_some(())?;
        let mut cursor = Cursor::new(frame.content);
        if frame.kind == kind::LOST {
            let count = cursor.number()?;
            self.count(count);
            return Some(Found::Lost(count));
        }
        if !matches!(frame.kind, 0x10..=0x1e) {
            return Some(Found::Unknown(frame.kind));
        }
        let at = Moment(self.key.at.0.wrapping_add(cursor.signed()?.cast_unsigned()));
        let found = self.take_input(frame.kind, at, &mut cursor)?;
        self.key.at = at;
        self.count(1);
        Some(found)
    }

    fn take_input(&mut self, kind: u8, at: Moment, cursor: &mut Cursor<'_>) -> Option<Found> {
        Some(match kind {
            kind::SAMPLE => {
                self.samples
                    .read(at, &self.head.columns, cursor, &mut self.sample)?;
                Found::Sample
            }
            kind::OUTCOME => {
                self.outcome = outcome::read(cursor.rest())?;
                Found::Outcome
            }
            kind::POLICY => {
                self.key.policy = policy::read(cursor.rest())?;
                Found::Policy
            }
            kind::PODS => {
                self.key.pods = Some(pods::read(cursor.rest())?);
                Found::Pods
            }
            kind::PODS_AGAIN => {
                let pods = self.key.pods.as_mut()?;
                read_fields(cursor.rest(), |tag, value| {
                    if tag == 1 {
                        pods.told_at = Moment(value.number()?);
                    }
                    Some(())
                })?;
                Found::Pods
            }
            kind::KUBELET => {
                self.key.kubelet = Some(kubelet::read(cursor.rest())?);
                Found::Kubelet
            }
            other => Found::Unknown(other),
        })
    }

    const fn count(&mut self, inputs: u64) {
        if let Some(counted) = self.counted {
            self.counted = Some(counted.wrapping_add(inputs));
        }
    }

    /// Goes to the next key frame, or to the end.
    fn pass_over(&mut self, offset: usize) -> Item<'static> {
        self.synced = false;
        self.counted = None;
        if let Some(key) = frame::find_key(self.bytes, offset + 1) {
            self.offset = key;
            return Item::Damaged {
                offset,
                bytes: key - offset,
            };
        }
        self.offset = self.bytes.len();
        Item::Torn {
            offset,
            bytes: self.bytes.len() - offset,
        }
    }
}

/// The head, where the frames begin, and their chain.
fn read_head(bytes: &[u8]) -> Result<(Head, usize, u32), Error> {
    let Some(rest) = bytes.strip_prefix(&MAGIC) else {
        let cut = !bytes.is_empty() && MAGIC.starts_with(bytes);
        return Err(if cut {
            Error::Head("cut off")
        } else {
            Error::NoTrace
        });
    };
    let Some(([major, minor], rest)) = rest.split_first_chunk() else {
        return Err(Error::Head("cut off"));
    };
    let version = Version {
        major: *major,
        minor: *minor,
    };
    if version.major != VERSION.major {
        return Err(Error::Newer {
            major: version.major,
            minor: version.minor,
        });
    }
    let frame = frame::read(rest, 0).filter(|frame| frame.kind == kind::HEAD);
    let frame = frame.ok_or(Error::Head("cut off or damaged"))?;
    let (origin, columns) = header::read(frame.content).ok_or(Error::Head("not understood"))?;
    let head = Head {
        version,
        origin,
        columns,
    };
    Ok((head, MAGIC.len() + 2 + frame.size, frame.chain))
}
