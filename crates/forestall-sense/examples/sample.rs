//! Prints one sample of this machine: what the sensor found, and what it reads.

use forestall_decide::{Moment, Span};
use forestall_sense::{SenseConfig, Sensor};

fn main() -> Result<(), forestall_sense::Error> {
    let mut config = SenseConfig::default();
    if let Some(prefix) = std::env::args_os().nth(1) {
        config.prefix = prefix.into();
    }
    let mut sensor = Sensor::open(&config)?;
    for tick in 1..=20 {
        sensor.sample(Moment(tick * 100_000), Span(0));
    }
    println!("{:#?}", sensor.capabilities());
    let sample = sensor.last();
    println!("{:#?}", sample.node);
    let roster = sensor.roster();
    for group in &sample.groups {
        let path = roster
            .find(group.id)
            .map(|member| member.path.escape_ascii().to_string())
            .unwrap_or_default();
        println!(
            "{path}: {:?}, current {}, unreclaimable {}, limit {:?}, {:?}",
            group.kind,
            group.current,
            group.unreclaimable(),
            group.limit,
            group.protection
        );
    }
    println!("not followed: {}", roster.left_out());
    for process in &sample.processes {
        let name = sensor.process_name(process.id).unwrap_or_default().escape_ascii();
        println!(
            "{} {name}: {}, {:?}",
            process.id.pid, process.unreclaimable, process.protection
        );
    }
    Ok(())
}
