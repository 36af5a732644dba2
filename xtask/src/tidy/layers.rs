//! Which crate may depend on which: arrows between crates point one way.

use crate::workspace::{Kind, Package};

/// A crate, and the members it may depend on; `*` stands for the rest of a name.
///
/// A new codec or runtime fits a pattern and needs no new line here.
const LAYERS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("protocol-*", &["protocol"]),
    ("codecs", &["protocol", "protocol-*"]),
    ("storage", &["protocol"]),
    ("session", &["protocol", "storage"]),
    ("replication", &["protocol", "storage"]),
    ("server", &["protocol", "codecs", "storage", "session", "replication", "zrs"]),
    ("server-*", &["protocol", "codecs", "storage", "session", "server"]),
    ("client", &["protocol", "codecs"]),
    ("datafs", &["protocol", "protocol-pickle"]),
    ("zrs", &["protocol", "protocol-pickle"]),
    ("measure", &[]),
    ("loadgen", &["protocol", "codecs", "client", "measure"]),
    ("zeoxide", &["protocol", "codecs", "storage", "client", "datafs"]),
    ("testkit", &["*"]),
    ("xtask", &[]),
];

/// Crates from elsewhere that only one kind of member may use.
///
/// `deny.toml` says the same of whatever they pull in, but is not checked everywhere.
const ONLY_FOR: &[(&str, &[&str])] = &[
    ("tokio", &["server-tokio"]),
    ("smol", &["server-smol"]),
    ("async-std", &["server-async-std"]),
    ("async-global-executor", &["server-async-std"]),
    ("compio", &["server-compio"]),
    ("prost", &["protocol-proto", "replication"]),
    ("clap", &["server", "loadgen", "zeoxide", "xtask"]),
    ("shuttle", &["storage"]),
];

pub(super) fn check(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<String> {
    let name = &package.name;
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| matches(layer, name)) else {
        return vec![format!("{name}: has no layer; give it one in xtask/src/tidy/layers.rs")];
    };
    let mut complaints = Vec::new();
    // Tests may reach upwards: they link nothing into a product.
    for dependency in package.dependencies.iter().filter(|d| d.kind != Kind::Dev) {
        let on = &dependency.name;
        let is_test_tool = on == "testkit" || on == "xtask";
        if dependency.member && (is_test_tool || !allowed.iter().any(|one| matches(one, on))) {
            complaints.push(format!("{name}: must not depend on {on}"));
        }
        if let Some((_, users)) = ONLY_FOR.iter().find(|(foreign, _)| foreign == on)
            && !users.contains(&name.as_str())
        {
            complaints.push(format!("{name}: must not use {on}, which is for {users:?}"));
        }
    }
    complaints
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, on: &str, kind: Kind, member: bool) -> Vec<Package> {
        let dependency = Dependency { name: on.into(), kind, member };
        vec![Package { name: name.into(), dependencies: vec![dependency], ..Package::default() }]
    }

    fn complains(name: &str, on: &str) -> bool {
        !check(&package(name, on, Kind::Normal, true)).is_empty()
    }

    #[test]
    fn arrows_point_one_way() {
        for (name, on) in [
            ("protocol-new", "protocol"),
            ("codecs", "protocol-new"),
            ("session", "storage"),
            ("replication", "storage"),
            ("server", "replication"),
            ("server-new", "server"),
            ("testkit", "server"),
        ] {
            assert!(!complains(name, on), "{name} may use {on}");
        }
        for (name, on) in [
            ("protocol", "storage"),
            ("storage", "session"),
            ("session", "codecs"),
            ("replication", "session"),
            ("storage", "replication"),
            ("client", "storage"),
            ("server", "server-tokio"),
            ("server", "testkit"),
            ("server-tokio", "server-threads"),
            ("testkit", "xtask"),
            ("brand-new", "protocol"),
        ] {
            assert!(complains(name, on), "{name} must not use {on}");
        }
    }

    #[test]
    fn tests_may_reach_upwards() {
        assert_eq!(check(&package("storage", "testkit", Kind::Dev, true)), Vec::<String>::new());
    }

    #[test]
    fn a_runtime_stays_in_its_server() {
        assert!(check(&package("server-tokio", "tokio", Kind::Normal, false)).is_empty());
        assert_eq!(check(&package("session", "tokio", Kind::Normal, false)).len(), 1);
        assert_eq!(check(&package("server-smol", "async-std", Kind::Normal, false)).len(), 1);
    }
}
