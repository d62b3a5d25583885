//! Lays out the static program's code by `layout.ld`, which says why. Other builds are for developing, and are left as they are.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
    let is_static = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl");
    if let (true, Some(folder)) = (is_static, env::var_os("OUT_DIR")) {
        // A copy beside what is built: a target directory that outlives this one, as that of a build in another clone, has it still.
        let layout = Path::new(&folder).join("layout.ld");
        fs::copy("layout.ld", &layout)?;
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", layout.display());
    }
    Ok(())
}
