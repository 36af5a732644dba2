//! Where servers keep their files, and what a control group lets them have.

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The file system of `folder`, and the device that it is on.
pub(super) fn disk(folder: &Path, facts: &mut BTreeMap<String, String>) {
    let Ok(folder) = folder.canonicalize() else { return };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if let Some(Mount { kind, options }) = mount_of(&folder, &mounts) {
        facts.insert("disk.file_system".to_owned(), kind);
        facts.insert("disk.mount_options".to_owned(), options);
    }
    let Ok(device) = fs::metadata(&folder).map(|folder| folder.st_dev()) else { return };
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let block = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    for (name, file) in [
        ("disk.model", "device/model"),
        ("disk.vendor", "device/vendor"),
        ("disk.scheduler", "queue/scheduler"),
        ("disk.rotates", "queue/rotational"),
        ("disk.write_cache", "queue/write_cache"),
        ("disk.read_ahead_kib", "queue/read_ahead_kb"),
        ("disk.requests", "queue/nr_requests"),
        ("disk.sectors", "size"),
    ] {
        // A partition has these in the folder of its disk.
        let found = [block.join(file), block.join("..").join(file)]
            .iter()
            .find_map(|path| fs::read_to_string(path).ok());
        facts.extend(found.map(|text| (name.to_owned(), text.trim().to_owned())));
    }
}

struct Mount {
    kind: String,
    options: String,
}

/// The mount with the longest path that `folder` is in; of several at one place the last.
fn mount_of(folder: &Path, mounts: &str) -> Option<Mount> {
    let mut best = (0, None);
    for line in mounts.lines() {
        let (mount, source) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(4);
        let (Some(point), Some(options)) = (fields.next(), fields.next()) else { continue };
        if !folder.starts_with(point) || point.len() < best.0 {
            continue;
        }
        let mut source = source.split(' ');
        let kind = source.next().unwrap_or_default().to_owned();
        let own = source.nth(1).unwrap_or_default();
        // Options that name places are of overlays and networks.
        let all = options.split(',').chain(own.split(',')).filter(|option| !option.contains('/'));
        let mut known: Vec<&str> = Vec::new();
        all.for_each(|option| {
            if !known.contains(&option) {
                known.push(option)
            }
        });
        best = (point.len(), Some(Mount { kind, options: known.join(",") }));
    }
    best.1
}

/// Limits of this process's own group and of those above it: the servers are in it, too.
pub(super) fn control_groups(facts: &mut BTreeMap<String, String>) {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let root = if controllers.is_empty() {
            Path::new("/sys/fs/cgroup").to_owned()
        } else {
            Path::new("/sys/fs/cgroup").join(controllers)
        };
        let own = Path::new(path.trim_start_matches('/'));
        for group in own.ancestors().map(|group| root.join(group)) {
            for file in LIMITS {
                let Ok(limit) = fs::read_to_string(group.join(file)) else { continue };
                // The nearest one that limits something.
                let limit = limit.trim();
                if !limit.is_empty() && !is_unlimited(limit) {
                    facts.entry(format!("cgroup.{file}")).or_insert_with(|| limit.to_owned());
                }
            }
        }
    }
}

/// Of control groups 2, then of 1.
const LIMITS: &[&str] = &[
    "cpu.max",
    "cpu.weight",
    "cpuset.cpus",
    "memory.max",
    "memory.high",
    "pids.max",
    "cpu.cfs_quota_us",
    "cpu.shares",
    "memory.limit_in_bytes",
];

fn is_unlimited(limit: &str) -> bool {
    // 1 says so of memory by the largest number of whole pages.
    limit.starts_with("max") || limit == "-1" || limit.parse::<u64>().is_ok_and(|n| n > 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_is_found() {
        let mounts = "22 27 0:21 / / rw,relatime shared:1 - ext4 /dev/x rw,discard\n\
                      23 27 0:22 / /var rw,noatime - xfs /dev/y rw,logbufs=8\n\
                      24 27 0:23 / /var/lib rw - overlay none rw,lowerdir=/a,index=off\n";
        let found = |path| {
            let Mount { kind, options } = mount_of(Path::new(path), mounts).unwrap();
            format!("{kind} {options}")
        };
        assert_eq!(found("/home"), "ext4 rw,relatime,discard");
        assert_eq!(found("/var/x"), "xfs rw,noatime,logbufs=8");
        assert_eq!(found("/var/lib/x"), "overlay rw,index=off");
        assert_eq!(found("/various"), "ext4 rw,relatime,discard");
    }

    #[test]
    fn what_limits_nothing_is_no_limit() {
        for limit in ["max", "max 100000", "-1", "9223372036854771712"] {
            assert!(is_unlimited(limit), "{limit}");
        }
        assert!(!is_unlimited("50000 100000") && !is_unlimited("1073741824"));
    }
}
