//! From bytes back to inputs, and what is missing among them.

use forestall_decide::{Input, Moment, Outcome, Policy, Sample};

use crate::error::Error;
use crate::frame::{self, Frame, MARK, kind};
use crate::header::{Head, MAGIC, Origin, Version};
use crate::item::{Begin, Cause, Item};
use crate::names::Names;
use crate::record::read_fields;
use crate::sample::{SampleState, blank};
use crate::state::Key;
use crate::varint::Cursor;
use crate::{damage, kubelet, outcome, pods, policy};

/// So much is checked in vain at the most. Where damage is, each place that claims to be a frame costs as much as it claims, and a
/// file that was made for it could have every few bytes of it claim megabytes.
const VAIN_BYTES_MAX: u64 = 4 << 30;

/// Reads a trace, one segment after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    /// Where the present segment begins.
    began_at: usize,
    chain: u32,
    head: Head,
    names: Names,
    samples: SampleState,
    sample: Sample,
    outcome: Outcome,
    found: Found,
    key: Key,
    /// A key frame has been read and everything since.
    synced: bool,
    /// How many inputs of the run were read without a gap.
    counted: Option<u64>,
    /// How many there were before the gap.
    before_gap: Option<u64>,
    /// How many of the run are missing before the last engine that began.
    missing: Option<u64>,
    /// Why the next engine begins afresh, if one has to.
    cause: Cause,
    /// Why the last one did.
    began: Cause,
    /// Bytes that may still be checked in vain.
    vain_bytes_left: u64,
}

/// What was found.
#[derive(Clone, Copy, Debug)]
enum Found {
    Begin,
    Sample,
    Outcome,
    Policy,
    Pods,
    Kubelet,
    Nothing,
    Lost(u64),
    End,
    Unknown(u8),
    Damaged {
        offset: usize,
        bytes: usize,
        newer: Option<Version>,
    },
    Torn {
        offset: usize,
        bytes: usize,
        newer: Option<Version>,
    },
}

impl<'a> Reader<'a> {
    /// Opens a trace: one segment, or several one behind the other. Fails where it is no trace, its head is damaged, or only
    /// a newer program can read it.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let (head, offset, chain) = Head::read(bytes)?;
        Ok(Self {
            bytes,
            offset,
            began_at: 0,
            chain,
            names: Names::default(),
            samples: SampleState::new(&head.columns),
            head,
            sample: blank(),
            outcome: outcome::NONE,
            found: Found::Nothing,
            key: Key::default(),
            synced: false,
            counted: None,
            before_gap: None,
            missing: None,
            cause: Cause::Opening,
            began: Cause::Opening,
            vain_bytes_left: VAIN_BYTES_MAX,
        })
    }

    /// The present segment's version.
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

    /// Where the reader stands, in bytes.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Where the present segment begins, in bytes.
    pub const fn segment_offset(&self) -> usize {
        self.began_at
    }

    /// Goes on to the next thing; false at the end.
    pub fn advance(&mut self) -> bool {
        while let Some(rest) = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty()) {
            self.found = match self.take(rest) {
                Some(Found::Nothing) => continue,
                Some(found) => found,
                None => self.pass_over(self.offset),
            };
            return true;
        }
        self.found = Found::Nothing;
        false
    }

    /// What [`Reader::advance`] has found; `None` before the first time and at the end.
    pub fn item(&self) -> Option<Item<'_>> {
        let recorded = match self.found {
            Found::Nothing => return None,
            Found::Begin => return Some(Item::Begin(self.begin())),
            Found::End => return Some(Item::End),
            Found::Lost(count) => return Some(Item::Lost(count)),
            Found::Unknown(kind) => return Some(Item::Unknown(kind)),
            Found::Damaged { offset, bytes, newer } => {
                return Some(Item::Damaged { offset, bytes, newer });
            }
            Found::Torn { offset, bytes, newer } => return Some(Item::Torn { offset, bytes, newer }),
            Found::Sample => Input::Sample(&self.sample),
            Found::Outcome => Input::Outcome(&self.outcome),
            Found::Policy => Input::Policy(&self.key.policy),
            Found::Pods => Input::Pods(self.key.pods.as_ref()?),
            Found::Kubelet => Input::KubeletConfig(self.key.kubelet.as_ref()?),
        };
        Some(Item::Input(self.key.at, recorded))
    }

    /// The next thing; `None` at the end.
    pub fn read(&mut self) -> Option<Item<'_>> {
        if self.advance() { self.item() } else { None }
    }

    /// The last sample; empty before the first.
    pub const fn sample(&self) -> &Sample {
        &self.sample
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Policy {
        &self.key.policy
    }

    fn begin(&self) -> Begin<'_> {
        Begin {
            cause: self.began,
            missing: self.missing,
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
        if rest.starts_with(&MAGIC) {
            return self.take_head(rest);
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

    /// Another segment begins. Its key frame tells whether anything is missing between.
    fn take_head(&mut self, rest: &[u8]) -> Option<Found> {
        let (head, size, chain) = Head::read(rest).ok()?;
        if head.origin.run != self.head.origin.run {
            self.cause = Cause::Run;
            (self.counted, self.before_gap) = (None, None);
        }
        self.began_at = self.offset;
        self.offset += size;
        self.chain = chain;
        self.samples = SampleState::new(&head.columns);
        self.head = head;
        self.synced = false;
        Some(Found::Nothing)
    }

    fn take_key(&mut self, content: &[u8]) -> Option<Found> {
        let key = Key::read(content)?;
        let follows = self.counted == Some(key.inputs);
        let before = self.counted.or(self.before_gap.take());
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
        self.missing =
            before.and_then(|before| key.inputs.checked_sub(before).filter(|missing| *missing > 0));
        self.key = key;
        self.began = core::mem::replace(&mut self.cause, Cause::Gap);
        Some(Found::Begin)
    }

    fn take_frame(&mut self, frame: Frame<'_>) -> Option<Found> {
        if frame.kind == kind::NAMES {
            self.names.read(frame.content)?;
            return Some(Found::Nothing);
        }
        if frame.kind == kind::END {
            return Some(Found::End);
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

    /// Goes to the next place from which reading can go on, or to the end.
    fn pass_over(&mut self, offset: usize) -> Found {
        self.synced = false;
        self.before_gap = self.counted.take().or(self.before_gap);
        let newer = self.bytes.get(offset..).and_then(damage::newer);
        let sound = damage::find_sound(self.bytes, offset, self.chain, &mut self.vain_bytes_left);
        self.offset = sound.unwrap_or(self.bytes.len());
        let bytes = self.offset - offset;
        if sound.is_some() {
            Found::Damaged { offset, bytes, newer }
        } else {
            Found::Torn { offset, bytes, newer }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Encoder;
    use crate::header::VERSION;

    /// A segment of one input, behind another one and four places that claim to be a head of 100 bytes.
    #[test]
    fn what_claims_to_be_sound_is_not_checked_without_end() {
        let segment = |run| {
            let origin = Origin {
                run,
                ..Origin::default()
            };
            let mut encoder = Encoder::new(origin, Policy::default());
            let mut out = Vec::new();
            encoder.open_segment(Moment(0), 0, &mut out);
            encoder.input(Moment(1), Input::Policy(&Policy::default()), &mut out);
            out
        };
        let claim = [&MAGIC[..], &[VERSION.major, VERSION.minor, kind::HEAD, 98]].concat();
        let bytes = [segment(1), claim.repeat(4), segment(2)].concat();
        let read = |vain_bytes_left| {
            let mut reader = Reader::open(&bytes).expect("a trace");
            reader.vain_bytes_left = vain_bytes_left;
            let mut inputs = 0;
            while let Some(item) = reader.read() {
                inputs += u32::from(matches!(item, Item::Input(..)));
            }
            inputs
        };
        // The first claim is found at its place, and the three others behind it.
        assert_eq!((read(400), read(399)), (2, 1));
        assert_eq!(read(VAIN_BYTES_MAX), 2);
    }
}
