//! One guest: an initramfs, a machine under emulation, and the reports that come out of it.
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::{self, Hierarchy, Plan};
use forestall_lab_init::report::Report;

use super::cpio::Archive;
use super::kernels::Image;
use crate::shell;

/// What every guest is made of.
pub(crate) struct Parts {
    /// The guest's init.
    pub(crate) init: PathBuf,
    /// The agent's static binary, unless only runs without it are wanted.
    pub(crate) agent: Option<PathBuf>,
    /// The emulator.
    pub(crate) qemu: PathBuf,
    /// Where the files of a run are made.
    pub(crate) folder: PathBuf,
    /// Where consoles and reports are kept, if anywhere.
    pub(crate) logs: Option<PathBuf>,
    /// The guest's clock counts its instructions instead of following the machine's.
    pub(crate) counted_clock: bool,
}

/// What came out of a guest.
pub(crate) struct Outcome {
    pub(crate) reports: Vec<Report>,
    /// Its kernel said that one of its processors stands still, and it had to be ended. That is the emulator's doing: no program
    /// can stop a processor, and what it was doing when it stopped shows nothing.
    pub(crate) stuck: bool,
    /// The end of its console, for a guest that did not come up.
    pub(crate) console_tail: String,
}

impl Outcome {
    /// Whether the guest got as far as being shaped, or as saying why it cannot be.
    pub(crate) fn came_up(&self) -> bool {
        self.reports
            .iter()
            .any(|report| matches!(report, Report::Booted { .. } | Report::Unable { .. }))
    }
}

/// How long a boot may take on top of what the plan takes. An emulated machine beside a compiler is slow.
const BOOT_MAX: Duration = Duration::from_mins(2);
/// How long nothing is reported before a guest is looked at for a processor that stands still. Each reports once a second.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// What a kernel says of such a processor (kernel/rcu/tree_stall.h, kernel/watchdog.c).
const STANDS_STILL: [&str; 4] = [
    "self-detected stall on CPU",
    "detected stalls on CPUs/tasks",
    "BUG: soft lockup - CPU#",
    "hard LOCKUP on cpu",
];
/// The disk's size. The image is sparse, and its writes go to a temporary file of the emulator.
const DISK_BYTES: u64 = 4 << 30;

/// Boots `image` with `memory_mib` and lets it carry out `plan`. `label` names its files.
pub(crate) fn run(
    parts: &Parts,
    image: &Image,
    plan: &Plan,
    memory_mib: u32,
    label: &str,
) -> Result<Outcome> {
    let folder = parts.folder.join(label);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("clearing {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let initrd = folder.join("initrd");
    write_initramfs(parts, image, plan, &initrd)?;
    let (console, results) = (folder.join("console.log"), folder.join("reports.jsonl"));

    let mut command = Command::new(&parts.qemu);
    command
        .args(clock(parts.counted_clock))
        .args(["-cpu", "max,-cx16", "-nodefaults", "-no-reboot"])
        .args([
            "-display",
            "none",
            "-monitor",
            "none",
            "-m",
            &memory_mib.to_string(),
        ])
        .arg("-kernel")
        .arg(&image.vmlinuz)
        .arg("-initrd")
        .arg(&initrd)
        .args(["-append", &command_line(plan)])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", results.display()))
        // What the guest writes to the disk goes there, and away with the folder.
        .env("TMPDIR", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if plan.disk {
        let disk = disk(&parts.folder)?;
        let drive = format!(
            "file={},if=virtio,format=raw,snapshot=on,cache=unsafe",
            disk.display()
        );
        command.args(["-drive", &drive]);
    }
    // Instructions are counted more slowly than they are only carried out.
    let times = if parts.counted_clock { 6 } else { 2 };
    let time_max = BOOT_MAX + Duration::from_millis(plan.calm_millis + plan.deadline_millis) * times;
    let errors = folder.join("qemu.log");
    command.stderr(File::create(&errors).with_context(|| format!("creating {}", errors.display()))?);
    let ended_itself = wait(&mut command, &results, &console, time_max)?;

    let reports = read_reports(&results);
    let console_text = fs::read(&console).unwrap_or_default();
    let console_text = String::from_utf8_lossy(&console_text);
    let stuck = !ended_itself && stands_still(&console_text);
    let console_tail = tail(
        &format!(
            "{}{}",
            fs::read_to_string(&errors).unwrap_or_default(),
            console_text
        ),
        20,
    );
    if let Some(logs) = &parts.logs {
        fs::create_dir_all(logs).with_context(|| format!("making {}", logs.display()))?;
        for (from, kind) in [(&console, "console.log"), (&results, "reports.jsonl")] {
            let to = logs.join(format!("{label}.{kind}"));
            fs::copy(from, &to).with_context(|| format!("keeping {}", to.display()))?;
        }
        fs::write(
            logs.join(format!("{label}.plan.json")),
            serde_json::to_vec_pretty(plan)?,
        )?;
    }
    fs::remove_dir_all(&folder).with_context(|| format!("clearing {}", folder.display()))?;
    Ok(Outcome {
        reports,
        stuck,
        console_tail,
    })
}

/// Waits for the emulator to end, and ends it where that takes too long: `time_max` in all, [`BOOT_MAX`] without a first
/// report in the file `results`, or [`SILENCE_MAX`] without a further one when the `console` tells why. Whether it ended by itself.
fn wait(command: &mut Command, results: &Path, console: &Path, time_max: Duration) -> Result<bool> {
    let mut child = command.spawn().context("starting the emulator")?;
    let start = Instant::now();
    let (mut reported, mut last) = (0, start);
    loop {
        if child.try_wait().context("waiting for the emulator")?.is_some() {
            return Ok(true);
        }
        let bytes = fs::metadata(results).map_or(0, |file| file.len());
        if bytes != reported {
            (reported, last) = (bytes, Instant::now());
        }
        let stuck = last.elapsed() > SILENCE_MAX
            && stands_still(&String::from_utf8_lossy(&fs::read(console).unwrap_or_default()));
        if stuck || start.elapsed() > time_max || (start.elapsed() > BOOT_MAX && reported == 0) {
            // Whatever it reported so far is looked at; the missing end tells the rest.
            child.kill().context("ending the emulator")?;
            child.wait().context("waiting for the emulator")?;
            return Ok(false);
        }
        sleep(Duration::from_millis(100));
    }
}

fn stands_still(console: &str) -> bool {
    STANDS_STILL.iter().any(|words| console.contains(words))
}

/// The emulator's processors and how they are timed. A counted clock goes two nanoseconds on with every instruction, and
/// skips what nobody works in: the same guest sees the same times, whatever else this machine does. It has one processor,
/// because a second one does not come up: each waits for the other's turn.
fn clock(counted: bool) -> &'static [&'static str] {
    if counted {
        &[
            "-accel",
            "tcg,thread=single",
            "-smp",
            "1",
            "-icount",
            "shift=1,sleep=off",
        ]
    } else {
        &["-accel", "tcg,thread=multi", "-smp", "2"]
    }
}

fn command_line(plan: &Plan) -> String {
    let mut line = "console=ttyS0 quiet panic=-1 psi=1 mitigations=off random.trust_cpu=on".to_owned();
    if plan.hierarchy == Hierarchy::V2 {
        line.push_str(" cgroup_no_v1=all");
    }
    line
}

fn write_initramfs(parts: &Parts, image: &Image, plan: &Plan, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for folder in [
        "bin", "dev", "proc", "sys", "modules", "memory", "data", "run", "tmp", "var", "var/lib",
    ] {
        archive.directory(folder)?;
    }
    // The kernel opens it for the init before devtmpfs is there.
    archive.device("dev/console", 5, 1)?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    archive.file("init", &read(&parts.init)?)?;
    if plan.agent.is_some() {
        let Some(agent) = &parts.agent else {
            bail!("the plan wants an agent, and none was built")
        };
        archive.file("bin/forestall", &read(agent)?)?;
    }
    archive.file(plan::PATH.trim_start_matches('/'), &serde_json::to_vec(plan)?)?;
    if plan.disk || plan.zram.is_some() {
        for (index, (name, content)) in image.modules(plan.zram.is_some())?.into_iter().enumerate() {
            archive.file(&format!("modules/{index:02}-{name}.ko"), &content)?;
        }
    }
    archive.finish()?;
    Ok(())
}

/// The disk's image, made once: an empty ext4 filesystem. No guest ever writes to it.
fn disk(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("disk.img");
    if path.exists() {
        return Ok(path);
    }
    let new = folder.join(format!("disk.img.{}", std::process::id()));
    File::create(&new)
        .and_then(|file| file.set_len(DISK_BYTES))
        .with_context(|| format!("creating {}", new.display()))?;
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal"]);
    mke2fs.args(["-E", "lazy_itable_init=1,root_owner=0:0"]).arg(&new);
    shell::run(&mut mke2fs).context("mke2fs is in Debian's package e2fsprogs")?;
    fs::rename(&new, &path).with_context(|| format!("renaming {}", new.display()))?;
    Ok(path)
}

/// Every line that is a report; a guest that was cut off may have left half a line.
fn read_reports(path: &Path) -> Vec<Report> {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .filter_map(|line| serde_json::from_str(line.trim()).ok())
        .collect()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_stands_still_is_told_in_the_kernels_words() {
        let said = "[   48.445935] rcu: INFO: rcu_preempt self-detected stall on CPU\r\n";
        assert!(stands_still(said));
        assert!(stands_still(
            "[   72.52] watchdog: BUG: soft lockup - CPU#1 stuck for 45s! [x:105]"
        ));
        assert!(!stands_still("Out of memory: Killed process 96 (leaky)"));
    }

    #[test]
    fn a_silent_guest_is_ended_only_at_its_time_unless_a_processor_stands_still() {
        let folder = std::env::temp_dir().join(format!("forestall-guest-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (results, console) = (folder.join("results"), folder.join("console"));
        fs::write(&results, "{}").unwrap();
        fs::write(&console, "").unwrap();
        let mut ends_itself = Command::new("true");
        assert!(wait(&mut ends_itself, &results, &console, Duration::from_mins(1)).unwrap());
        let mut stays = Command::new("sleep");
        stays.arg("60");
        assert!(!wait(&mut stays, &results, &console, Duration::from_millis(10)).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }
}
