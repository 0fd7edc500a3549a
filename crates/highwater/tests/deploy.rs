//! What an operator installs fits the program: the example file, the containers' settings and the systemd unit.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_highwater");

/// Worst exposure that `systemd-analyze security` may find, in tenths.
const EXPOSURE_MAX: &str = "15";

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)
}

fn read(name: &str) -> String {
    let path = deploy(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `highwater serve` with no variables but these.
fn serve(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("serve").args(args).env_clear().envs(variables.iter().copied());
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn the_example_file_is_the_programs_and_can_be_used_as_it_is() {
    let example = serve(&["--example"], &[]);
    assert!(
        text(&example.stdout) == read("highwater.toml"),
        "deploy/highwater.toml is not what the program has; write it anew:\n  \
         cargo run -- serve --example > deploy/highwater.toml"
    );
    let file = deploy("highwater.toml");
    let checked = serve(&["--check", "--config", file.to_str().expect("UTF-8")], &[]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
}

#[test]
fn every_container_of_compose_has_settings_that_hold() {
    let compose = read("compose.yaml");
    let (common, services) = compose.split_once("\nservices:\n").expect("there are services");
    let nodes: Vec<&str> = services.split("\n  node-").collect();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        let lines = common.lines().chain(node.lines());
        let mut variables: Vec<(&str, &str)> = lines
            .filter_map(|line| line.trim().split_once(": "))
            .filter(|(name, _)| name.starts_with("HIGHWATER_"))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        // The image has this one.
        let data = ("HIGHWATER_DATA_DIR", "/var/lib/highwater");
        assert!(read("Dockerfile").contains(&format!("ENV {}={}", data.0, data.1)));
        variables.push(data);
        let checked = serve(&["--check"], &variables);
        assert!(checked.status.success(), "{variables:?}: {}", text(&checked.stderr));
    }
}

#[test]
fn the_unit_is_one_that_systemd_takes_and_finds_hardened() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("skipped: systemd-analyze is not installed");
        return;
    }
    let unit = read("highwater.service");
    let installed = "/usr/local/bin/highwater";
    assert!(unit.contains(&format!("ExecStart={installed} serve --config /etc/highwater/highwater.toml\n")));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("highwater.service");
    std::fs::write(&path, unit.replace(installed, BINARY)).expect("the unit is written");
    for args in [&["verify", "--man=no"][..], &["security", "--offline=yes", "--threshold", EXPOSURE_MAX]] {
        let output = Command::new("systemd-analyze").args(args).arg(&path).output().expect("it runs");
        let said = [text(&output.stdout), text(&output.stderr)].concat();
        assert!(output.status.success(), "{args:?}: {said}");
    }
}
