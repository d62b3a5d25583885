//! From inputs to bytes.

use forestall_decide::kubelet::KubeletConfig;
use forestall_decide::{Input, Moment, Pods, Policy, Sample};

use crate::frame::{self, MARK, kind};
use crate::header::{self, MAGIC, Origin, VERSION, own_columns};
use crate::names::Names;
use crate::record::Writer;
use crate::room::trim;
use crate::sample::SampleState;
use crate::state::Key;
use crate::varint::{put, put_signed};
use crate::{kubelet, outcome, pods, policy};

/// A key frame is written once what followed the last one is so many times its size: then keys are an eighth of a trace.
const KEY_RATIO: usize = 8;
/// Not before so many bytes, however small a key is.
const KEY_SPACING_BYTES_MIN: usize = 2048;
/// And after so many samples in any case, which bounds what one flipped bit can cost.
const KEY_SPACING_SAMPLES_MAX: u32 = 1024;

/// Room for a frame that is kept when a crowd has gone, bytes.
const CONTENT_FEW: usize = 16 << 10;

/// Writes one run of a recorder, segment by segment. Bytes are appended to the buffer that is handed in; where they go is the
/// caller's business.
#[derive(Debug)]
pub struct Encoder {
    origin: Origin,
    key: Key,
    names: Names,
    fresh_names: Names,
    samples: SampleState,
    chain: u32,
    key_bytes: usize,
    bytes_since_key: usize,
    samples_since_key: u32,
    content: Vec<u8>,
}

impl Encoder {
    /// A run that begins with this policy. Nothing is written before [`Encoder::open_segment`].
    pub fn new(origin: Origin, policy: Policy) -> Self {
        Self {
            origin,
            key: Key {
                policy,
                ..Key::default()
            },
            names: Names::default(),
            fresh_names: Names::default(),
            samples: SampleState::new(&own_columns()),
            chain: 0,
            key_bytes: 0,
            bytes_since_key: 0,
            samples_since_key: 0,
            content: Vec::new(),
        }
    }

    /// A run that goes on from what another reader has found: for cutting and rewriting traces.
    pub fn resume(
        origin: Origin,
        policy: Policy,
        kubelet: Option<KubeletConfig>,
        pods: Option<Pods>,
    ) -> Self {
        let mut encoder = Self::new(origin, policy);
        encoder.key.kubelet = kubelet;
        encoder.key.pods = pods;
        encoder
    }

    /// Begins a segment: its head, every name still in use, and a key frame. A segment can be read without those before it.
    /// `unix_micros` is the wall clock at `at`.
    pub fn open_segment(&mut self, at: Moment, unix_micros: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION.major, VERSION.minor]);
        self.content.clear();
        header::write(&self.origin, &mut self.content);
        self.chain = frame::write(kind::HEAD, &self.content, 0, out);
        self.origin.segment += 1;
        if self.key_bytes > 0 {
            let samples = &self.samples;
            self.names
                .keep(|id| samples.has_group(id), |id| samples.has_process(id));
        } else {
            self.key.at = at;
        }
        let mut names = std::mem::take(&mut self.names);
        names.extend(&self.fresh_names);
        self.fresh_names = names;
        self.write_names(out);
        self.key.clock = (at, unix_micros);
        self.write_key(out);
    }

    /// The wall clock at a moment; the next key frame carries it.
    pub const fn set_clock(&mut self, at: Moment, unix_micros: u64) {
        self.key.clock = (at, unix_micros);
    }

    /// Names that the next input's frame is preceded by.
    pub fn name(&mut self, names: &Names) {
        self.fresh_names.extend(names);
    }

    /// Appends an input and the moment at which the engine is given it.
    pub fn input(&mut self, at: Moment, input: Input<'_>, out: &mut Vec<u8>) {
        let from = out.len();
        self.write_names(out);
        match input {
            Input::Sample(sample) => self.write_sample(at, sample, out),
            Input::Outcome(told) => {
                self.write_record(kind::OUTCOME, at, out, |writer| outcome::write(told, writer));
            }
            Input::Policy(told) => {
                self.write_record(kind::POLICY, at, out, |writer| policy::write(told, writer));
                self.key.policy.clone_from(told);
            }
            Input::Pods(told) => self.write_pods(at, told, out),
            Input::KubeletConfig(told) => {
                self.write_record(kind::KUBELET, at, out, |writer| kubelet::write(told, writer));
                self.key.kubelet = Some(told.clone());
            }
        }
        self.key.inputs += 1;
        self.bytes_since_key += out.len() - from;
        trim(&mut self.content, CONTENT_FEW);
    }

    /// Says that so many inputs are missing here.
    pub fn lost(&mut self, count: u64, out: &mut Vec<u8>) {
        self.content.clear();
        put(&mut self.content, count);
        self.chain = frame::write(kind::LOST, &self.content, self.chain, out);
        self.key.inputs = self.key.inputs.wrapping_add(count);
    }

    /// Says that the run ends here, so that a trace which was cut at the end of a frame is told from one that is whole.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.chain = frame::write(kind::END, &[], self.chain, out);
    }

    fn write_names(&mut self, out: &mut Vec<u8>) {
        if self.fresh_names.is_empty() {
            return;
        }
        self.content.clear();
        self.fresh_names.write(&mut self.content);
        self.chain = frame::write(kind::NAMES, &self.content, self.chain, out);
        self.names.extend(&self.fresh_names);
        self.fresh_names = Names::default();
    }

    fn write_key(&mut self, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&MARK);
        self.content.clear();
        self.key.write(&mut self.content);
        self.chain = frame::write(kind::KEY, &self.content, 0, out);
        self.samples.clear();
        self.key_bytes = out.len() - from;
        (self.bytes_since_key, self.samples_since_key) = (0, 0);
    }

    fn write_sample(&mut self, at: Moment, sample: &Sample, out: &mut Vec<u8>) {
        let enough = (self.key_bytes * KEY_RATIO).max(KEY_SPACING_BYTES_MIN);
        if self.bytes_since_key > enough || self.samples_since_key >= KEY_SPACING_SAMPLES_MAX {
            self.write_key(out);
        }
        self.begin(at);
        self.samples.write(at, sample, &mut self.content);
        let from = out.len();
        self.chain = frame::write(kind::SAMPLE, &self.content, self.chain, out);
        if self.samples_since_key == 0 {
            // The first sample after a key is told in full.
            self.key_bytes += out.len() - from;
        }
        self.samples_since_key += 1;
    }

    fn write_pods(&mut self, at: Moment, told: &Pods, out: &mut Vec<u8>) {
        let known = self.key.pods.as_mut();
        let again = known.is_some_and(|known| {
            known.told_at = told.told_at;
            known == told
        });
        if again {
            self.write_record(kind::PODS_AGAIN, at, out, |writer| {
                writer.number(1, told.told_at.0);
            });
            return;
        }
        self.write_record(kind::PODS, at, out, |writer| pods::write(told, writer));
        self.key.pods = Some(told.clone());
    }

    fn write_record(&mut self, kind: u8, at: Moment, out: &mut Vec<u8>, fill: impl FnOnce(&mut Writer<'_>)) {
        self.begin(at);
        fill(&mut Writer::new(&mut self.content));
        self.chain = frame::write(kind, &self.content, self.chain, out);
    }

    /// Every input's frame begins with the time since the one before, which may be negative: clocks jump.
    fn begin(&mut self, at: Moment) {
        self.content.clear();
        put_signed(&mut self.content, at.0.wrapping_sub(self.key.at.0).cast_signed());
        self.key.at = at;
    }
}
