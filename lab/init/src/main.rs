//! PID 1 of a lab guest, and every other program in it but the agent: one static file, told apart by its first argument.
//!
//! Without an argument it is the guest's init: it shapes the machine like a node, carries out the plan it finds at
//! [`forestall_lab_init::plan::PATH`], reports on the second serial port and resets the machine.
use anyhow::{Context, Result, bail};
use forestall_lab_init::reaction;

mod brake;
mod cgroup;
mod errand;
mod guest;
mod kills;
mod kubelet;
mod launch;
mod machine;
mod node;
mod recording;
mod reporter;
mod resident;
mod storm;
mod swap;
mod thrash;
mod trial;
mod watch;
mod work;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let rest = arguments.get(2..).unwrap_or_default();
    match arguments.get(1).map(String::as_str) {
        None => guest::run(),
        Some("enter") => launch::enter(rest),
        Some("shim") => launch::shim(rest),
        Some("work") => {
            let plan = rest.first().context("work wants what to do, as JSON")?;
            work::run(&serde_json::from_str(plan)?)
        }
        Some("kubelet") => {
            let view = rest
                .first()
                .context("kubelet wants its view of the node, as JSON")?;
            kubelet::run(&serde_json::from_str(view)?)
        }
        Some("try") => {
            let order = rest.first().context("try wants what to try, as JSON")?;
            trial::carry_out(&serde_json::from_str(order)?)
        }
        Some("watch-kills") => {
            let order = rest.first().context("watch-kills wants its order, as JSON")?;
            kills::carry_out(&serde_json::from_str(order)?)
        }
        Some("errand") => errand::answer(rest),
        Some("read-log") => storm::read_log(),
        Some("end") => {
            let cgroup = rest.first().context("end wants a cgroup")?;
            kills::end_all_in(std::path::Path::new(cgroup))
        }
        Some("slay") => kills::slay(rest.first().context("slay wants a process")?),
        Some("bare") => {
            let root = rest.first().context("bare wants a root")?;
            reaction::react_barely(std::path::Path::new(root), || false)
        }
        Some(other) => bail!("unknown part {other:?}"),
    }
}
