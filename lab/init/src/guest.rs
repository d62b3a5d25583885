//! From the kernel's first process to a node that is ready for its pods, and back to reset.
use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::{self, Hierarchy, Lru, Plan, Trial};
use forestall_lab_init::report::Report;
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, SendFlags, SocketType};
use rustix::system::RebootCommand;

use crate::node::Node;
use crate::reporter::Reporter;
use crate::{brake, kills, machine, storm, swap, thrash, trial, watch};

/// Runs the plan and resets the machine, whatever happens.
pub(crate) fn run() -> Result<()> {
    if std::process::id() != 1 {
        bail!("this is the init of a lab guest; it wants to be PID 1 of a machine of its own");
    }
    let result = first_mounts().and_then(|()| Reporter::open()).map(|reporter| {
        if let Err(error) = carry_out(&reporter) {
            println!("init: {error:#}");
            reporter.send(&Report::Unable {
                why: format!("{error:#}"),
            });
        }
    });
    if let Err(error) = result {
        println!("init: {error:#}");
    }
    // A moment for the serial ports to drain; then QEMU, told not to reboot, ends.
    std::thread::sleep(std::time::Duration::from_millis(200));
    rustix::system::reboot(RebootCommand::Restart).context("resetting the machine")
}

fn carry_out(reporter: &Reporter) -> Result<()> {
    let text = fs::read(plan::PATH).with_context(|| format!("reading {}", plan::PATH))?;
    let plan: Plan = serde_json::from_slice(&text).with_context(|| format!("reading {}", plan::PATH))?;
    load_modules()?;
    mounts(&plan)?;
    raise_loopback().context("raising lo")?;
    set_kernel(&plan)?;
    // The init itself is no part of the experiment: it is never swapped, reclaimed or killed.
    rustix::mm::mlockall(rustix::mm::MlockAllFlags::CURRENT | rustix::mm::MlockAllFlags::FUTURE)
        .context("locking the init's memory")?;
    fs::write("/proc/self/oom_score_adj", "-1000").context("oom_score_adj of the init")?;

    let node = Node::shape(plan, machine::memory_bytes()?, reporter.clone())?;
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    reporter.send(&Report::Booted {
        at_millis: machine::now_millis(),
        kernel,
        memory_bytes: node.memory_bytes,
        kubepods_limit_bytes: node.kubepods_limit_bytes(),
        lru_gen: fs::read_to_string("/sys/kernel/mm/lru_gen/enabled")
            .ok()
            .map(|text| text.trim().to_owned()),
    });
    match node.plan.trial {
        Some(Trial::Rights) => return trial::run(&node),
        Some(Trial::Kills) => return kills::run(node),
        Some(Trial::Storms) => return storm::run(node),
        Some(Trial::Brakes) => return brake::run(node),
        None => {}
    }
    if let Some(rounds) = node.plan.reactions {
        return thrash::run(node, rounds);
    }
    watch::run(node)
}

fn first_mounts() -> Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        put(kind, kind, target, "")?;
    }
    Ok(())
}

fn mounts(plan: &Plan) -> Result<()> {
    put("tmpfs", "tmpfs", "/dev/shm", "")?;
    // Without a limit of its own: what fills it is stopped by cgroups, as a memory-backed volume without sizeLimit is.
    put("tmpfs", "tmpfs", "/memory", "size=0")?;
    match plan.hierarchy {
        Hierarchy::V2 => put("cgroup2", "cgroup2", "/sys/fs/cgroup", "")?,
        Hierarchy::V1 => {
            put("tmpfs", "tmpfs", "/sys/fs/cgroup", "")?;
            put("cgroup", "cgroup", "/sys/fs/cgroup/memory", "memory")?;
            fs::write("/sys/fs/cgroup/memory/memory.use_hierarchy", "1").context("memory.use_hierarchy")?;
        }
    }
    // A kernel without tracing is one that the agent has to live with.
    let _ = put("tracefs", "tracefs", "/sys/kernel/tracing", "");
    if plan.disk {
        put("/dev/vda", "ext4", "/data", "")?;
    }
    Ok(())
}

fn put(source: &str, kind: &str, target: &str, options: &str) -> Result<()> {
    if !Path::new(target).is_dir() {
        fs::create_dir_all(target).with_context(|| format!("making {target}"))?;
    }
    let options = CString::new(options)?;
    mount(source, target, kind, MountFlags::empty(), options.as_c_str())
        .with_context(|| format!("mounting {kind} at {target}"))
}

/// Loads what the host has put in /modules, in the order of the names.
fn load_modules() -> Result<()> {
    let Ok(entries) = fs::read_dir("/modules") else {
        return Ok(());
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        match rustix::system::finit_module(&file, c"", 0) {
            // Built in, or pulled in before.
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("loading {}", path.display())),
        }
    }
    Ok(())
}

/// The agent's metrics listen on the loopback: RTM_NEWLINK for interface 1 with IFF_UP, as rtnetlink(7) has it.
fn raise_loopback() -> Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const IFF_UP: u32 = 1;
    const LOOPBACK: i32 = 1;
    let mut message = Vec::new();
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // The message's number, the sender's (the kernel fills it in), family and type of the interface.
    message.extend([0_u8; 12]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    rustix::net::send(&socket, &message, SendFlags::empty())?;
    Ok(())
}

/// Settings that a node has, and those that the plan asks for.
fn set_kernel(plan: &Plan) -> Result<()> {
    // The kubelet sets it so on every node.
    fs::write("/proc/sys/vm/overcommit_memory", "1").context("vm.overcommit_memory")?;
    // Pipes as deep as a megabyte each, and as many descriptors as it takes.
    let _ = fs::write("/proc/sys/fs/nr_open", "1048576");
    let lru_gen = "/sys/kernel/mm/lru_gen/enabled";
    match plan.lru {
        Lru::AsBooted => {}
        // A kernel without the other LRU has the classic one.
        Lru::Classic => {
            if Path::new(lru_gen).exists() {
                fs::write(lru_gen, "n").with_context(|| format!("writing {lru_gen}"))?;
            }
        }
        Lru::MultiGen => fs::write(lru_gen, "y").with_context(|| format!("writing {lru_gen}"))?,
    }
    if let Some(share) = plan.zram {
        swap::start_zram(share.bytes_of(machine::memory_bytes()?))?;
    }
    Ok(())
}
