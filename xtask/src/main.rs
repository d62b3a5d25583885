//! The project's own chores: `cargo xtask CHORE …`. Each chore is a module; this file only picks one.
use std::process::ExitCode;

mod lab;

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("lab") => lab::run(args.collect()),
        _ => {
            eprintln!("usage: cargo xtask lab [--list] …");
            Ok(ExitCode::from(2))
        }
    }
}
