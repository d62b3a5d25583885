//! The name of a process, kept without allocating.

/// A process's name, 15 bytes at the most; its own choice, to be escaped before it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Comm {
    bytes: [u8; 15],
    length: usize,
}

impl Comm {
    pub(super) fn new(name: &[u8]) -> Self {
        let mut comm = Self::default();
        for (to, from) in comm.bytes.iter_mut().zip(name) {
            *to = *from;
            comm.length += 1;
        }
        comm
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
