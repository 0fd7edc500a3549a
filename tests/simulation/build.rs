//! Compiles the one function that has to stand in the way of the system's randomness, and links it into the program.

fn main() {
    println!("cargo:rerun-if-changed=src/seeded_getrandom.c");
    let objects = cc::Build::new().file("src/seeded_getrandom.c").warnings(true).compile_intermediates();
    for object in objects {
        println!("cargo:rustc-link-arg-bins={}", object.display());
    }
}
