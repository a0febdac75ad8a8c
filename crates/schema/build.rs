//! A new file in `migrations/` is compiled in, although no file that was compiled in before has changed.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
