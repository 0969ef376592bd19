//! A cluster on this machine: munge, a controller and several nodes of Slurm, in a folder of their own, by a user of any
//! kind. Nothing of it is installed: Debian's packages are unpacked where none of it is here.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{run, say};

/// Debian's packages, with the libraries that a bare system lacks.
const PACKAGES: [&str; 8] = [
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurm-wlm-basic-plugins",
    "munge",
    "libmunge2",
    "libhwloc15",
    "liblua5.1-0",
];
/// The port of the controller, and of the first node.
const PORTS: (usize, usize) = (16_817, 17_001);
/// How long a daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster that runs until this is dropped.
pub(super) struct Cluster {
    folder: PathBuf,
    /// Where the packages were unpacked.
    root: PathBuf,
    nodes: usize,
}

impl Cluster {
    /// Unpacks what is needed into `folder` and starts `nodes` nodes.
    ///
    /// # Errors
    /// When the packages cannot be had, or a daemon does not come up.
    pub(super) fn start(folder: &Path, nodes: usize) -> Result<Self> {
        let root = unpacked(&folder.join("packages"))?;
        let folder = folder.join("cluster");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        for name in ["state", "log", "munge"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let cluster = Self { folder, root, nodes };
        cluster.write_configuration()?;
        cluster.start_munge()?;
        cluster.start_controller()?;
        for node in 1..=nodes {
            fs::create_dir_all(cluster.folder.join(format!("spool/n{node}")))?;
            let stepd = cluster.daemon("slurmstepd")?;
            run(Command::new(cluster.daemon("slurmd")?)
                .args(["-N", &format!("n{node}"), "-d"])
                .arg(stepd)
                .envs(cluster.environment()))?;
        }
        let idle = || cluster.ask("sinfo", &["--noheader", "--Node", "--states=idle", "--format=%N"]);
        let began = Instant::now();
        while idle().unwrap_or_default().lines().filter(|line| line.starts_with('n')).count() < 2 * nodes {
            ensure!(
                began.elapsed() < PATIENCE,
                "its nodes do not come up: {}",
                cluster.folder.join("log").display()
            );
            sleep(Duration::from_millis(200));
        }
        Ok(cluster)
    }

    /// What programs need to find this cluster and no other.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let libraries = self.root.join("usr/lib/x86_64-linux-gnu");
        let paths = |first: &[PathBuf], variable: &str| {
            let rest = std::env::var_os(variable).unwrap_or_default();
            std::env::join_paths(first.iter().cloned().chain(std::env::split_paths(&rest)))
                .unwrap_or_default()
        };
        vec![
            ("SLURM_CONF", self.folder.join("slurm.conf").into()),
            ("LD_LIBRARY_PATH", paths(&[libraries.clone(), libraries.join("slurm-wlm")], "LD_LIBRARY_PATH")),
            ("PATH", paths(&[self.root.join("usr/bin"), self.root.join("usr/sbin")], "PATH")),
        ]
    }

    /// Runs one of Slurm's programs; what it writes.
    pub(super) fn ask(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = Command::new(self.root.join("usr/bin").join(program))
            .args(arguments)
            .envs(self.environment())
            .output()
            .with_context(|| format!("cannot start {program}"))?;
        if !output.status.success() {
            bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends the controller and starts it anew some seconds later: it reads its state from disk.
    ///
    /// # Errors
    /// When it does not come up again.
    pub(super) fn restart_controller(&self) -> Result<()> {
        let pid = self.folder.join("slurmctld.pid");
        kill(&pid, "TERM");
        // It writes down its state, and removes the file.
        let began = Instant::now();
        while pid.exists() && began.elapsed() < PATIENCE {
            sleep(Duration::from_millis(100));
        }
        sleep(Duration::from_secs(3));
        self.start_controller()
    }

    /// How many jobs had to make room for others.
    pub(super) fn sent_away(&self) -> usize {
        let log = fs::read_to_string(self.folder.join("log/slurmctld.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("preempted JobId")).count()
    }

    fn start_controller(&self) -> Result<()> {
        run(Command::new(self.daemon("slurmctld")?).envs(self.environment()))?;
        let began = Instant::now();
        while !self.ask("scontrol", &["ping"]).is_ok_and(|said| said.contains("UP")) {
            ensure!(began.elapsed() < PATIENCE, "the controller does not answer");
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn start_munge(&self) -> Result<()> {
        let folder = self.folder.join("munge");
        let key = folder.join("key");
        // Its only secret is that nobody else's munge has it.
        let random = fs::read("/proc/sys/kernel/random/uuid").context("cannot make a key")?;
        fs::write(&key, random.repeat(4))?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        let argument = |name: &str, file: &str| format!("--{name}={}", folder.join(file).display());
        run(Command::new(self.root.join("usr/sbin/munged"))
            .arg("--force")
            .args([
                argument("key-file", "key"),
                argument("socket", "socket"),
                argument("pid-file", "pid"),
                argument("log-file", "log"),
                argument("seed-file", "seed"),
            ])
            .envs(self.environment()))?;
        let began = Instant::now();
        while !folder.join("socket").exists() {
            ensure!(began.elapsed() < PATIENCE, "munge does not come up: {}", folder.join("log").display());
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// A daemon, as Debian calls it or as everybody else does.
    fn daemon(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join("usr/sbin");
        let names = [folder.join(format!("{name}-wlm")), folder.join(name)];
        let found = names.into_iter().find(|path| path.exists());
        found.with_context(|| format!("the packages have no {name}"))
    }

    fn write_configuration(&self) -> Result<()> {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").context("this machine has no name")?;
        let host = host.trim().split('.').next().unwrap_or_default().to_owned();
        let user = Command::new("id").arg("-un").output().context("cannot ask who this is")?;
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        let text = configuration(&host, &user, &self.folder, &self.root, self.nodes);
        Ok(fs::write(self.folder.join("slurm.conf"), text)?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Jobs end with their nodes' daemons only when they are told to.
        let _ = self.ask("scancel", &["--quiet", "--user=root"]);
        for node in 1..=self.nodes {
            kill(&self.folder.join(format!("slurmd.n{node}.pid")), "TERM");
        }
        for file in ["slurmctld.pid", "munge/pid"] {
            kill(&self.folder.join(file), "TERM");
        }
    }
}

/// The configuration: nodes with a core each, a partition for everybody and one whose jobs send the others' away.
fn configuration(host: &str, user: &str, folder: &Path, root: &Path, nodes: usize) -> String {
    let (folder, root) = (folder.display(), root.display());
    let (controller, first) = PORTS;
    let last = first + nodes - 1;
    // A job that was sent away begins again after the time that credentials live, two minutes unless said otherwise.
    format!(
        "ClusterName=titer\n\
         SlurmctldHost={host}(127.0.0.1)\n\
         SlurmctldPort={controller}\n\
         SlurmUser={user}\n\
         SlurmdUser={user}\n\
         AuthType=auth/munge\n\
         AuthInfo=socket={folder}/munge/socket,cred_expire=5\n\
         PluginDir={root}/usr/lib/x86_64-linux-gnu/slurm-wlm\n\
         StateSaveLocation={folder}/state\n\
         SlurmdSpoolDir={folder}/spool/%n\n\
         SlurmctldPidFile={folder}/slurmctld.pid\n\
         SlurmdPidFile={folder}/slurmd.%n.pid\n\
         SlurmctldLogFile={folder}/log/slurmctld.log\n\
         SlurmdLogFile={folder}/log/slurmd.%n.log\n\
         ProctrackType=proctrack/linuxproc\n\
         TaskPlugin=task/none\n\
         SelectType=select/cons_tres\n\
         SelectTypeParameters=CR_Core\n\
         ReturnToService=2\n\
         MpiDefault=none\n\
         SwitchType=switch/none\n\
         JobAcctGatherType=jobacct_gather/none\n\
         AccountingStorageType=accounting_storage/none\n\
         SchedulerType=sched/backfill\n\
         SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0\n\
         PreemptType=preempt/partition_prio\n\
         PreemptMode=REQUEUE\n\
         KillWait=5\n\
         MinJobAge=300\n\
         SlurmdParameters=config_overrides\n\
         NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=1 RealMemory=16000\n\
         PartitionName=everyone Nodes=n[1-{nodes}] Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=0\n\
         PartitionName=first Nodes=n[1-{nodes}] MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF\n"
    )
}

/// Ends the process that a file names.
fn kill(pid_file: &Path, signal: &str) {
    if let Ok(pid) = fs::read_to_string(pid_file) {
        // One that is gone already needs no end.
        let _ = Command::new("kill").args(["-s", signal, pid.trim()]).stderr(Stdio::null()).status();
    }
}

/// The packages, downloaded and unpacked into a folder unless they are there.
fn unpacked(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.join("usr/bin/sbatch").exists() {
        return Ok(root);
    }
    let archives = folder.join("archives");
    fs::create_dir_all(&archives)?;
    let download =
        || run(Command::new("apt-get").args(["download", "--quiet"]).args(PACKAGES).current_dir(&archives));
    // The lists of what there is may be missing, as in a new container.
    if let Err(first) = download() {
        say(&format!("{first:#}; asks for the lists of packages first"));
        run(Command::new("apt-get").args(["update", "--quiet"]))
            .and_then(|()| download())
            .context("Debian's packages of Slurm 22.05 cannot be had: this needs apt-get, and its lists")?;
    }
    for entry in fs::read_dir(&archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(&root))?;
        }
    }
    ensure!(root.join("usr/bin/sbatch").exists(), "the packages have no sbatch");
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_port_and_both_partitions() {
        let text = configuration("vm", "me", Path::new("/c"), Path::new("/r"), 4);
        for line in [
            "SlurmctldHost=vm(127.0.0.1)",
            "SlurmUser=me",
            "NodeName=n[1-4] NodeHostname=vm NodeAddr=127.0.0.1 Port=[17001-17004] CPUs=1 RealMemory=16000",
            "PartitionName=first Nodes=n[1-4] MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF",
            "StateSaveLocation=/c/state",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
    }
}
