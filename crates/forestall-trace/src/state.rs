//! What the engine holds besides the last sample: restated in every key frame, so that a replay can begin there.

use forestall_decide::kubelet::KubeletConfig;
use forestall_decide::{Moment, Pods, Policy};

use crate::record::{Writer, read_fields};
use crate::{kubelet, pods, policy};

/// A key frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Key {
    /// The moment of the input before, from which the next one's is told.
    pub(crate) at: Moment,
    /// A moment and the wall clock then, in microseconds since 1970.
    pub(crate) clock: (Moment, u64),
    /// Inputs before this one in the run. A reader that has counted the same has missed nothing.
    pub(crate) inputs: u64,
    pub(crate) policy: Policy,
    pub(crate) kubelet: Option<KubeletConfig>,
    pub(crate) pods: Option<Pods>,
}

impl Key {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.number(1, self.at.0);
        writer.number(2, self.clock.0.0);
        writer.number(3, self.clock.1);
        writer.number(4, self.inputs);
        writer.record(5, |writer| policy::write(&self.policy, writer));
        if let Some(config) = &self.kubelet {
            writer.record(6, |writer| kubelet::write(config, writer));
        }
        if let Some(known) = &self.pods {
            writer.record(7, |writer| pods::write(known, writer));
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::default();
        read_fields(bytes, |tag, value| {
            match tag {
                1 => key.at = Moment(value.number()?),
                2 => key.clock.0 = Moment(value.number()?),
                3 => key.clock.1 = value.number()?,
                4 => key.inputs = value.number()?,
                5 => key.policy = policy::read(value.bytes()?)?,
                6 => key.kubelet = Some(kubelet::read(value.bytes()?)?),
                7 => key.pods = Some(pods::read(value.bytes()?)?),
                _ => {}
            }
            Some(())
        })?;
        Some(key)
    }
}
