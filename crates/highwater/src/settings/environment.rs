//! Reads settings from environment variables. An empty variable counts as none, for that is how one is taken away
//! where variables are composed.

use std::ffi::OsString;

use super::problem::{Origin, Problem};
use super::setting::{PREFIX, Setting};
use super::sources::Sources;
use super::table::SETTINGS;

/// Variables with the prefix that are for the command line, not for a node.
const OTHERS: [&str; 2] = ["HIGHWATER_CONFIG", "HIGHWATER_SERVER"];

/// Reads the variables into `sources`, in order of their names.
pub(super) fn read(variables: impl Iterator<Item = (OsString, OsString)>, sources: &mut Sources) {
    let ours = variables.filter_map(|(name, value)| {
        let name = name.to_string_lossy().into_owned();
        name.starts_with(PREFIX).then_some((name, value))
    });
    let mut ours: Vec<(String, OsString)> = ours.collect();
    ours.sort();
    for (name, value) in ours {
        if value.is_empty()
            || OTHERS.contains(&name.as_str())
            || is_service_link(&name, &value.to_string_lossy())
        {
            continue;
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
            let nearest = Setting::nearest(&name[PREFIX.len()..].to_ascii_lowercase());
            sources.problem(Problem::UnknownVariable { name, nearest });
            continue;
        };
        let origin = Origin::Environment(name);
        match value.to_str() {
            Some(text) => sources.give(setting, text, origin),
            None => sources.wrong(setting, Problem::NotText { origin }),
        }
    }
}

/// Whether Kubernetes gives this variable to every container beside a service whose name begins with "highwater".
fn is_service_link(name: &str, value: &str) -> bool {
    let is_protocol = |word: &str| matches!(word, "TCP" | "UDP" | "SCTP");
    let is_port = |word: &str| word.parse::<u16>().is_ok();
    let words: Vec<&str> = name.split('_').collect();
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    (words.ends_with(&["PORT"]) && is_url)
        || words.windows(2).any(|pair| matches!(pair, ["SERVICE", "HOST" | "PORT"]))
        || words
            .windows(3)
            .any(|three| matches!(three, ["PORT", port, word] if is_port(port) && is_protocol(word)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn problems(variables: &[(&str, &[u8])]) -> Vec<String> {
        let mut sources = Sources::default();
        let pairs = variables.iter().map(|(name, value)| (name.into(), OsString::from_vec(value.to_vec())));
        read(pairs, &mut sources);
        sources.into_problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_variable_that_is_no_setting_is_refused_and_the_nearest_named() {
        for (name, expected) in [
            (
                "HIGHWATER_LISTEN_GPRC",
                "HIGHWATER_LISTEN_GPRC: no setting has this variable; did you mean HIGHWATER_LISTEN_GRPC?",
            ),
            (
                "HIGHWATER_LOG_LEVEL",
                "HIGHWATER_LOG_LEVEL: no setting has this variable; did you mean HIGHWATER_LOG?",
            ),
            ("HIGHWATER_GRPC_PORT", "HIGHWATER_GRPC_PORT: no setting has this variable"),
            ("HIGHWATER_JOURNAL_FILEBYTES", "did you mean HIGHWATER_JOURNAL_FILE_BYTES?"),
            ("HIGHWATER_", "`highwater serve --example` shows all there are"),
        ] {
            let found = problems(&[(name, b"1")]);
            assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        }
        assert_eq!(problems(&[("HIGHWATER_DATA_DIR", b"\xff")]), ["HIGHWATER_DATA_DIR: is not UTF-8 text"]);
    }

    #[test]
    fn what_others_put_into_the_environment_is_left_alone() {
        let variables = [
            "PATH",
            "highwater_node_id",
            "HIGHWATER_SERVER",
            "HIGHWATER_PORT",
            "HIGHWATER_SERVICE_HOST",
            "HIGHWATER_SERVICE_PORT_GRPC",
            "HIGHWATER_PEERS_PORT_7401_TCP_ADDR",
        ];
        assert_eq!(problems(&variables.map(|name| (name, &b"tcp://10.0.0.1:7400"[..]))), [""; 0]);
        assert_eq!(problems(&[("HIGHWATER_NODE_ID", b""), ("HIGHWATER_NODE_IDS", b"")]), [""; 0]);
    }
}
