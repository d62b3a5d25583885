//! `/proc/PID/mountinfo` (`Documentation/filesystems/proc.rst` 3.5): what is mounted where.

use super::keyed::lines;
use super::number::{unsigned, words};

/// One mount. Names are as the kernel prints them, with blanks, newlines, backslashes and `#` escaped: see [`unescape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Its number.
    pub id: u64,
    /// The number of the mount it is mounted on.
    pub parent: u64,
    /// `major:minor` of the file system.
    pub device: &'a [u8],
    /// The directory of the file system that is shown, escaped. In a container that bind-mounts its cgroup this is where
    /// the cgroup lies, or `/..` and more where it lies outside the reader's cgroup namespace.
    pub root: &'a [u8],
    /// Where it is mounted, escaped.
    pub point: &'a [u8],
    /// Options of the mount: `ro`, `nosuid`, ….
    pub options: &'a [u8],
    /// Type of the file system: `cgroup2`, `cgroup`, `tracefs`, ….
    pub kind: &'a [u8],
    /// What is mounted, escaped.
    pub source: &'a [u8],
    /// Options of the file system; for v1 cgroups its controllers are among them.
    pub super_options: &'a [u8],
}

impl<'a> Mount<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = words(line);
        let id = unsigned(words.next()?)?;
        let parent = unsigned(words.next()?)?;
        let device = words.next()?;
        let root = words.next()?;
        let point = words.next()?;
        let options = words.next()?;
        // Any number of optional fields (`shared:7`) ends with a single dash.
        words.find(|word| *word == b"-")?;
        let kind = words.next()?;
        let source = words.next()?;
        // An empty source leaves two blanks and shifts what follows; the options are what is last.
        let super_options = words.next().unwrap_or_default();
        Some(Self {
            id,
            parent,
            device,
            root,
            point,
            options,
            kind,
            source,
            super_options,
        })
    }

    /// Whether `option` is among the file system's options.
    pub fn has_super_option(&self, option: &[u8]) -> bool {
        has_option(self.super_options, option)
    }

    /// Whether nothing can be written through this mount.
    pub fn is_read_only(&self) -> bool {
        has_option(self.options, b"ro") || has_option(self.super_options, b"ro")
    }
}

fn has_option(options: &[u8], option: &[u8]) -> bool {
    options
        .split(|byte| *byte == b',')
        .any(|candidate| candidate == option)
}

/// The mounts of `content`, in the kernel's order: a later one hides an earlier one at the same place. Lines that make
/// no sense are left out.
pub fn mounts(content: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    lines(content).filter_map(Mount::parse)
}

/// The bytes of a name in which the kernel wrote some as a backslash and three octal digits (`mangle_path` in
/// `fs/seq_file.c`). Anything else stays as it is.
pub fn unescape(escaped: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = escaped;
    core::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        if first == b'\\'
            && let Some((digits, behind)) = after.split_first_chunk::<3>()
            && let Some(byte) = octal(*digits)
        {
            rest = behind;
            return Some(byte);
        }
        rest = after;
        Some(first)
    })
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_may_be_none_one_or_many() {
        let all: Vec<_> = mounts(include_bytes!("../../fixtures/mountinfo-v2")).collect();
        assert_eq!(all.len(), 4);
        let cgroup = all[1];
        assert_eq!((cgroup.id, cgroup.parent, cgroup.device), (25, 27, &b"0:24"[..]));
        assert_eq!(
            (cgroup.kind, cgroup.root, cgroup.point),
            (&b"cgroup2"[..], &b"/"[..], &b"/sys/fs/cgroup"[..])
        );
        assert!(cgroup.has_super_option(b"nsdelegate") && !cgroup.has_super_option(b"memory"));
        assert!(!cgroup.is_read_only() && all[3].is_read_only());
        assert_eq!((all[2].kind, all[2].source), (&b"ext4"[..], &b"/dev/vda"[..]));
    }

    #[test]
    fn the_memory_hierarchy_of_v1_is_found_by_its_option() {
        let content = include_bytes!("../../fixtures/mountinfo-v1");
        let memory =
            mounts(content).find(|mount| mount.kind == b"cgroup" && mount.has_super_option(b"memory"));
        assert_eq!(
            memory.map(|mount| mount.point),
            Some(&b"/sys/fs/cgroup/memory"[..])
        );
    }

    #[test]
    fn escapes_are_undone_and_other_backslashes_kept() {
        let plain = |escaped: &[u8]| unescape(escaped).collect::<Vec<u8>>();
        assert_eq!(plain(b"/host/sys\\040fs\\134\\012x"), b"/host/sys fs\\\nx");
        assert_eq!(plain(b"a\\9b\\04"), b"a\\9b\\04");
        // 777 octal does not fit a byte.
        assert_eq!(plain(b"\\777\\377"), b"\\777\xff");
    }

    #[test]
    fn a_form_feed_in_a_name_ends_no_word() {
        let mount = mounts(b"60 27 0:24 / /a\x0cb\r rw - cgroup2 none rw\n")
            .next()
            .expect("one mount");
        assert_eq!((mount.point, mount.kind), (&b"/a\x0cb\r"[..], &b"cgroup2"[..]));
    }

    #[test]
    fn a_line_without_its_dash_is_left_out() {
        assert_eq!(mounts(b"25 27 0:24 / /sys rw shared:4\n").count(), 0);
        assert_eq!(mounts(b"25 27 0:24 / /sys rw - sysfs sysfs\n").count(), 1);
    }
}
