//! Lays out the static program's code by `layout.ld`, which says why. Other builds are for developing, and are left as they are.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
    let is_static = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl");
    if let (true, Some(folder)) = (is_static, env::var_os("CARGO_MANIFEST_DIR")) {
        let layout = Path::new(&folder).join("layout.ld");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", layout.display());
    }
}
