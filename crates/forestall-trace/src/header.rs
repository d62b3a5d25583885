//! The head of a trace: which format, whose recording, and which columns its samples have.

use crate::column::{COLUMNS_MAX, Column, GROUP, NODE, PROCESS, READ_AT};
use crate::error::Error;
use crate::frame::{self, kind};
use crate::record::{Writer, read_fields};

/// How every trace begins. The first byte is no text, the last ones show a transfer that changed line ends.
pub const MAGIC: [u8; 8] = *b"\x89FTR\r\n\x1a\n";

/// A version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Another one cannot be read.
    pub major: u8,
    /// A newer one can: what it adds is passed over.
    pub minor: u8,
}

/// The version that this program writes.
pub const VERSION: Version = Version { major: 1, minor: 5 };

/// Whose recording it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// A number that no other run of a recorder on this machine has: segments of one run belong together.
    pub run: u64,
    /// Which segment of the run, from 0.
    pub segment: u64,
    /// The node's name.
    pub node: Box<str>,
    /// The kernel's release (`uname -r`).
    pub kernel: Box<str>,
    /// The program that wrote it, with its version.
    pub program: Box<str>,
    /// The boot it was recorded in (`/proc/sys/kernel/random/boot_id`): moments of one boot can be compared.
    pub boot: Box<str>,
}

/// For every column of the trace its position here, if it is known here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    pub(crate) node: Vec<Option<usize>>,
    pub(crate) group: Vec<Option<usize>>,
    pub(crate) process: Vec<Option<usize>>,
    /// Where the trace has the cgroups' parents.
    pub(crate) parent: Option<usize>,
    /// Where it has the times at which processes were read.
    pub(crate) read_at: Option<usize>,
}

/// The head of a segment.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) version: Version,
    pub(crate) origin: Origin,
    pub(crate) columns: Columns,
}

impl Head {
    /// The head at the beginning of `bytes`, how many bytes it takes, and where the next frame's CRC begins.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, usize, u32), Error> {
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
        let (major, minor) = (*major, *minor);
        if major != VERSION.major {
            return Err(Error::Newer { major, minor });
        }
        let frame = frame::read(rest, 0).filter(|frame| frame.kind == kind::HEAD);
        let frame = frame.ok_or(Error::Head("cut off or damaged"))?;
        let (origin, columns) = read(frame.content).ok_or(Error::Head("not understood"))?;
        let head = Self {
            version: Version { major, minor },
            origin,
            columns,
        };
        Ok((head, MAGIC.len() + 2 + frame.size, frame.chain))
    }
}

const RUN: u64 = 1;
const SEGMENT: u64 = 2;
const NODE_NAME: u64 = 3;
const KERNEL: u64 = 4;
const PROGRAM: u64 = 5;
const BOOT: u64 = 6;
const NODE_COLUMN: u64 = 16;
const GROUP_COLUMN: u64 = 17;
const PROCESS_COLUMN: u64 = 18;

/// The columns as this program writes them.
pub(crate) fn own_columns() -> Columns {
    let mut head = Vec::new();
    write(&Origin::default(), &mut head);
    read(&head).map(|(_, columns)| columns).unwrap_or_default()
}

/// Appends the head's record.
pub(crate) fn write(origin: &Origin, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.number(RUN, origin.run);
    writer.number(SEGMENT, origin.segment);
    writer.bytes(NODE_NAME, origin.node.as_bytes());
    writer.bytes(KERNEL, origin.kernel.as_bytes());
    writer.bytes(PROGRAM, origin.program.as_bytes());
    writer.bytes(BOOT, origin.boot.as_bytes());
    write_names(&mut writer, NODE_COLUMN, NODE);
    write_names(&mut writer, GROUP_COLUMN, GROUP);
    write_names(&mut writer, PROCESS_COLUMN, PROCESS);
}

fn write_names<T>(writer: &mut Writer<'_>, tag: u64, columns: &[Column<T>]) {
    for column in columns {
        writer.bytes(tag, column.name.as_bytes());
    }
}

/// Reads it. `None` where it is none, or has more columns than a row's mask.
pub(crate) fn read(bytes: &[u8]) -> Option<(Origin, Columns)> {
    let mut origin = Origin::default();
    let mut columns = Columns::default();
    let mut group_names = Vec::new();
    read_fields(bytes, |tag, value| {
        match tag {
            RUN => origin.run = value.number()?,
            SEGMENT => origin.segment = value.number()?,
            NODE_NAME => origin.node = value.text()?,
            KERNEL => origin.kernel = value.text()?,
            PROGRAM => origin.program = value.text()?,
            BOOT => origin.boot = value.text()?,
            NODE_COLUMN => columns.node.push(find(NODE, value.bytes()?)),
            GROUP_COLUMN => {
                let name = value.bytes()?;
                group_names.push(core::str::from_utf8(name).ok()?);
                columns.group.push(find(GROUP, name));
            }
            PROCESS_COLUMN => {
                let name = value.bytes()?;
                if name == READ_AT.as_bytes() {
                    columns.read_at = Some(columns.process.len());
                }
                columns.process.push(find(PROCESS, name));
            }
            _ => {}
        }
        Some(())
    })?;
    columns.parent = crate::sample::parent_of(&group_names);
    let fits = [&columns.node, &columns.group, &columns.process]
        .iter()
        .all(|table| table.len() <= COLUMNS_MAX);
    fits.then_some((origin, columns))
}

fn find<T>(columns: &[Column<T>], name: &[u8]) -> Option<usize> {
    columns.iter().position(|column| column.name.as_bytes() == name)
}
