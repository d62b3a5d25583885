//! One input on its way, in memory that was reserved before.

use std::ops::Range;
use std::sync::Arc;

use forestall_decide::kubelet::KubeletConfig;
use forestall_decide::{GroupId, Input, Moment, Outcome, Pods, Policy, ProcessId, Sample};

use crate::encoder::Encoder;
use crate::names::Names;

/// Names that travel with one sample; more are told with later ones.
const NAMES_MAX: usize = 256;
/// Room for them.
const NAME_BYTES_MAX: usize = 16 << 10;

/// One input.
#[derive(Debug)]
pub struct Slot {
    at: Moment,
    pub(super) what: What,
    /// Inputs that found no slot before this one.
    pub(super) lost: u64,
    sample: Sample,
    /// The names of who is new in the sample.
    pub(super) told: Option<Box<Told>>,
}

/// Names on their way. There is one of these, because whoever is new is new once.
#[derive(Debug)]
pub(super) struct Told {
    names: Vec<(Who, Range<usize>)>,
    bytes: Vec<u8>,
}

/// What a slot holds.
#[derive(Debug)]
pub(super) enum What {
    Nothing,
    Sample,
    /// It held no sample of this size.
    TooLarge {
        groups: usize,
        processes: usize,
    },
    Outcome(Outcome),
    Policy(Policy),
    Pods(Arc<Pods>),
    Kubelet(Arc<KubeletConfig>),
}

#[derive(Clone, Copy, Debug)]
enum Who {
    Group(GroupId),
    Process(ProcessId),
}

impl Slot {
    pub(super) fn new(groups: usize, processes: usize) -> Self {
        let mut slot = Self {
            at: Moment(0),
            what: What::Nothing,
            lost: 0,
            sample: Sample::default(),
            told: None,
        };
        slot.make_room(groups, processes);
        slot
    }

    /// How many cgroups and processes there is room for.
    pub(super) fn room(&self) -> (usize, usize) {
        (self.sample.groups.capacity(), self.sample.processes.capacity())
    }

    /// How many cgroups and processes its sample has, or has no room for.
    pub(super) fn sample_size(&self) -> Option<(usize, usize)> {
        match self.what {
            What::Sample => Some((self.sample.groups.len(), self.sample.processes.len())),
            What::TooLarge { groups, processes } => Some((groups, processes)),
            _ => None,
        }
    }

    /// Room for so many of each; allocates where there is less, and gives back where there is more.
    pub(super) fn make_room(&mut self, groups: usize, processes: usize) {
        self.what = What::Nothing;
        make_room(&mut self.sample.groups, groups);
        make_room(&mut self.sample.processes, processes);
    }

    pub(super) fn begin(&mut self, at: Moment, lost: u64) {
        self.at = at;
        self.lost = lost;
        self.what = What::Nothing;
    }

    /// Copies a sample without allocating; false where it does not fit.
    pub(super) fn copy_sample(&mut self, sample: &Sample) -> bool {
        let (groups, processes) = (sample.groups.len(), sample.processes.len());
        if groups > self.sample.groups.capacity() || processes > self.sample.processes.capacity() {
            self.what = What::TooLarge { groups, processes };
            return false;
        }
        self.sample.node = sample.node;
        self.sample.groups.clear();
        self.sample.groups.extend_from_slice(&sample.groups);
        self.sample.processes.clear();
        self.sample.processes.extend_from_slice(&sample.processes);
        self.what = What::Sample;
        true
    }

    /// When the engine was given it.
    pub const fn at(&self) -> Moment {
        self.at
    }

    /// Inputs that are missing before it, this one included where it found no room.
    pub fn lost(&self) -> u64 {
        let this = u64::from(matches!(self.what, What::TooLarge { .. }));
        self.lost.saturating_add(this)
    }

    /// Appends it to a recording.
    pub fn record(&self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        if self.lost > 0 {
            encoder.lost(self.lost, out);
        }
        let mut names = Names::default();
        if let Some(told) = &self.told {
            told.add_to(&mut names);
        }
        encoder.name(&names);
        let recorded = match &self.what {
            What::Nothing => return,
            What::TooLarge { .. } => return encoder.lost(1, out),
            What::Sample => Input::Sample(&self.sample),
            What::Outcome(outcome) => Input::Outcome(outcome),
            What::Policy(policy) => Input::Policy(policy),
            What::Pods(pods) => Input::Pods(pods),
            What::Kubelet(config) => Input::KubeletConfig(config),
        };
        encoder.input(self.at, recorded, out);
    }
}

fn make_room<T>(list: &mut Vec<T>, count: usize) {
    list.clear();
    list.shrink_to(count);
    list.reserve_exact(count);
}

impl Told {
    pub(super) fn new() -> Self {
        Self {
            names: Vec::with_capacity(NAMES_MAX),
            bytes: Vec::with_capacity(NAME_BYTES_MAX),
        }
    }

    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.bytes.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn tell_group(&mut self, id: GroupId, name: &[u8]) -> bool {
        self.tell(Who::Group(id), name)
    }

    pub(super) fn tell_process(&mut self, id: ProcessId, name: &[u8]) -> bool {
        self.tell(Who::Process(id), name)
    }

    /// False where it does not fit.
    fn tell(&mut self, who: Who, name: &[u8]) -> bool {
        let from = self.bytes.len();
        if self.names.len() >= NAMES_MAX || from + name.len() > NAME_BYTES_MAX {
            return false;
        }
        self.bytes.extend_from_slice(name);
        self.names.push((who, from..from + name.len()));
        true
    }

    fn add_to(&self, names: &mut Names) {
        for (who, range) in &self.names {
            let name = self.bytes.get(range.clone()).unwrap_or_default();
            match who {
                _ if name.is_empty() => {}
                Who::Group(id) => names.name_group(*id, name),
                Who::Process(id) => names.name_process(*id, name),
            }
        }
    }
}
