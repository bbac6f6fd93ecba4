//! How much memory the system lets this process use.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// A limit of memory below what the machine has, such as a container's.
///
/// On Linux this is the lowest limit of the process's cgroup and of those around it, in both versions (cgroups(7)), and on
/// every system `RLIMIT_AS` and `RLIMIT_DATA` (getrlimit(2)).
///
/// ```
/// use parrot_server::MemoryLimit;
///
/// match MemoryLimit::of_this_process() {
///     Some(limit) => println!("{} bytes, by {limit}", limit.bytes()),
///     None => println!("no limit"),
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    bytes: u64,
    name: String,
}

impl MemoryLimit {
    /// The lowest limit that applies, or `None` if there is none.
    pub fn of_this_process() -> Option<MemoryLimit> {
        let cgroups = if cfg!(target_os = "linux") { cgroup_limits(Path::new("/")) } else { Vec::new() };
        cgroups.into_iter().chain(resource_limits()).min_by_key(|limit| limit.bytes)
    }

    /// The limit in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The name of the limit: a file of a cgroup or a resource limit.
impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn resource_limits() -> Vec<MemoryLimit> {
    let resources = [
        // OpenBSD has no RLIMIT_AS.
        #[cfg(not(target_os = "openbsd"))]
        (Resource::As, "RLIMIT_AS"),
        (Resource::Data, "RLIMIT_DATA"),
    ];
    let limits = resources.into_iter().filter_map(|(resource, name)| {
        let bytes = getrlimit(resource).current?;
        Some(MemoryLimit { bytes, name: name.to_owned() })
    });
    limits.collect()
}

/// The limits of the process's cgroups below this root directory.
fn cgroup_limits(root: &Path) -> Vec<MemoryLimit> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (cgroups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mut limits = Vec::new();
    for cgroup in cgroups.lines() {
        // hierarchy-ID:controller-list:cgroup-path, where the second version has no controllers: cgroups(7).
        let mut fields = cgroup.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let files: &[&str] = match controllers {
            "" => &["memory.max", "memory.high"],
            _ if controllers.split(',').any(|controller| controller == "memory") => &["memory.limit_in_bytes"],
            _ => continue,
        };
        for mount in mounts.lines().filter_map(Mount::parse).filter(|mount| mount.is_for(controllers)) {
            limits.extend(limits_up(root, &mount, path, files));
        }
    }
    limits
}

/// The limits of a cgroup and of every one around it, up to where the hierarchy is mounted.
fn limits_up(root: &Path, mount: &Mount, path: &str, files: &[&str]) -> Vec<MemoryLimit> {
    let top = root.join(mount.point.trim_start_matches('/'));
    // In a container the mount may show only the part of the hierarchy that is the container's.
    let below = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let mut limits = Vec::new();
    let mut directory = top.join(below);
    loop {
        for file in files {
            let file = directory.join(file);
            limits.extend(limit_in(&file));
        }
        if directory == top || !directory.pop() {
            return limits;
        }
    }
}

/// The limit in a file. The second version writes `max` for none, the first one a number beyond any memory.
fn limit_in(file: &Path) -> Option<MemoryLimit> {
    const NO_LIMIT: u64 = 1 << 60;
    let bytes = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes < NO_LIMIT).then(|| MemoryLimit { bytes, name: file.display().to_string() })
}

/// A mounted hierarchy of cgroups.
struct Mount {
    /// The cgroup that is mounted.
    root: PathBuf,
    point: String,
    version_2: bool,
    memory: bool,
}

impl Mount {
    /// Reads a line of mountinfo (proc_pid_mountinfo(5)).
    fn parse(line: &str) -> Option<Mount> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let mut fields = file_system.split(' ');
        let (kind, options) = (fields.next()?, fields.nth(1)?);
        // A space in a path is written as \040.
        let path = |field: &str| field.replace("\\040", " ");
        Some(Mount {
            root: PathBuf::from(path(root)),
            point: path(point),
            version_2: kind == "cgroup2",
            memory: kind == "cgroup" && options.split(',').any(|option| option == "memory"),
        })
    }

    fn is_for(&self, controllers: &str) -> bool {
        if controllers.is_empty() { self.version_2 } else { self.memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root directory with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn lowest(files: &[(&str, &str)]) -> Option<u64> {
        let root = root(files);
        cgroup_limits(root.path()).iter().map(MemoryLimit::bytes).min()
    }

    const VERSION_2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const VERSION_1: &str = "33 24 0:28 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n";

    #[test]
    fn a_cgroup_of_version_2_limits() {
        let files = [
            ("proc/self/cgroup", "0::/system.slice/parrot.service\n"),
            ("proc/self/mountinfo", VERSION_2),
            ("sys/fs/cgroup/system.slice/parrot.service/memory.max", "50331648\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
        ];
        assert_eq!(lowest(&files), Some(50_331_648));
    }

    #[test]
    fn a_lower_limit_of_a_cgroup_around_it_counts() {
        let files = [
            ("proc/self/cgroup", "0::/pod/container\n"),
            ("proc/self/mountinfo", VERSION_2),
            ("sys/fs/cgroup/pod/container/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/memory.max", "1000000\n"),
            ("sys/fs/cgroup/pod/memory.high", "900000\n"),
        ];
        assert_eq!(lowest(&files), Some(900_000));
    }

    #[test]
    fn a_cgroup_of_version_1_limits() {
        let files = [
            ("proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/\n"),
            ("proc/self/mountinfo", &[VERSION_1, VERSION_2].concat()),
            ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "2000000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(lowest(&files), Some(2_000_000));
    }

    #[test]
    fn a_container_sees_its_part_of_version_1_as_the_top() {
        let files = [
            ("proc/self/cgroup", "4:memory:/docker/abc\n"),
            ("proc/self/mountinfo", "33 24 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n"),
        ];
        assert_eq!(lowest(&files), Some(3_000_000));
    }

    #[test]
    fn a_namespace_has_its_cgroup_at_the_top() {
        let files = [
            ("proc/self/cgroup", "0::/\n"),
            ("proc/self/mountinfo", VERSION_2),
            ("sys/fs/cgroup/memory.max", "4000000\n"),
        ];
        assert_eq!(lowest(&files), Some(4_000_000));
    }

    #[test]
    fn without_a_limit_there_is_none() {
        for max in ["max\n", "9223372036854771712\n", "", "nonsense"] {
            let files = [
                ("proc/self/cgroup", "0::/\nnonsense\n"),
                ("proc/self/mountinfo", &["nonsense\n", VERSION_2].concat()),
                ("sys/fs/cgroup/memory.max", max),
            ];
            assert_eq!(lowest(&files), None, "{max}");
        }
        assert_eq!(lowest(&[]), None);
    }
}
