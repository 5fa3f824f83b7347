//! A machine for dockerd: namespaces of its own over this one's files, so that every path is the real one and nothing
//! that is written, mounted or started in it is ever seen outside, or outlives it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// Becomes the machine's first process: what is written goes to memory, and a shell reads commands.
const FIRST: &str = r#"
set -e
ip link set lo up
mount -t tmpfs none "$1"
mkdir -p "$1"/{new,work,root}
mount -t overlay none -o "lowerdir=/,upperdir=$1/new,workdir=$1/work" "$1/root"
cd "$1/root"
for folder in dev sys; do mount --rbind /$folder $folder; done
mount -t proc proc proc
for folder in run tmp var/lib/docker; do mkdir -p $folder; mount -t tmpfs none $folder; done
rm -rf etc/docker etc/volinit var/lib/volinit data
cp "$2" usr/bin/volinit
mkdir -p old
pivot_root . old
umount -l /old
exec bash
"#;

/// Ends what a command printed, before its exit code.
const END: &str = "volinit-test-end ";

pub struct Machine {
    unshare: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _folder: TempDir,
}

impl Machine {
    pub fn new() -> Machine {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root: it makes namespaces and mounts");
        for tool in ["/usr/sbin/dockerd", "/usr/bin/docker", "/usr/bin/redis-cli", "/usr/bin/strace"] {
            assert!(Path::new(tool).exists(), "this test needs {tool} (`make deps` installs all)");
        }
        let folder = tempfile::tempdir().unwrap();
        let mut unshare = Command::new("unshare")
            .args(["--net", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"])
            .args(["bash", "-c", FIRST, "first"])
            .arg(folder.path())
            .arg(env!("CARGO_BIN_EXE_volinit"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = unshare.stdin.take().unwrap();
        let output = BufReader::new(unshare.stdout.take().unwrap());
        Machine { unshare, input, output, _folder: folder }
    }

    /// The exit code of a command, and what it printed on both channels.
    pub fn ends(&mut self, command: &str) -> (i32, String) {
        writeln!(self.input, "( {command}\n) </dev/null 2>&1; echo \"{END}$?\"").unwrap();
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).unwrap();
            assert!(read > 0, "the machine ended at `{command}`: {said}");
            // What the command printed may lack its line's end.
            if let Some((before, code)) = line.split_once(END) {
                said.push_str(before);
                return (code.trim().parse().unwrap(), said);
            }
            said.push_str(&line);
        }
    }

    /// What a command printed that has to succeed.
    pub fn run(&mut self, command: &str) -> String {
        let (code, said) = self.ends(command);
        assert_eq!(code, 0, "`{command}`: {said}");
        said
    }

    /// The same, shown to a person; what differs from run to run stands as a word.
    pub fn types(&mut self, command: &str) -> String {
        println!("# {command}");
        let said = self.run(command);
        print!("{said}");
        said
    }

    /// Runs a command until what it printed is this.
    pub fn until(&mut self, command: &str, seen: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        for _ in 0..600 {
            last = self.ends(command).1;
            if seen(&last) {
                return last;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("`{command}` goes on to say {last}; dockerd says {}", self.ends("tail -n 20 /run/dockerd.log").1);
    }

    pub fn write(&mut self, path: &str, text: &str) {
        assert!(!text.contains("END-OF-FILE"));
        self.run(&format!("mkdir -p $(dirname {path}) && cat >{path} <<'END-OF-FILE'\n{text}END-OF-FILE"));
    }

    /// Starts dockerd, as docker.service would, and waits until it answers.
    pub fn starts_dockerd(&mut self) {
        self.run("dockerd >/run/dockerd.log 2>&1 &");
        self.until("docker version --format '{{.Server.Version}}'", |said| {
            said.starts_with(|c: char| c.is_ascii_digit())
        });
    }

    /// Ends it in order, as a shutdown does.
    pub fn stops_dockerd(&mut self) {
        self.run("kill $(cat /run/docker.pid)");
        self.until("pgrep -x dockerd || echo none", |said| said == "none\n");
    }

    /// What `systemctl reload docker.service` does; systemd does not run here.
    pub fn reloads_dockerd(&mut self) {
        self.run("kill -HUP $(cat /run/docker.pid)");
    }

    /// An image without a registry: Debian's redis, with the libraries that it needs.
    pub fn has_redis_image(&mut self) {
        // In Debian one binary goes by several names, and redis-tools has it without the service.
        self.run(
            "cd $(mktemp -d) && mkdir -p usr/bin data tmp && cp /usr/bin/redis-check-rdb usr/bin/redis-server && \
             cp --parents $(ldd usr/bin/redis-server | grep -o '/lib[^ ]*') . && tar -c . | docker import - redis",
        );
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
