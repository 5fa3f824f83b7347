//! Volumes on Docker Swarm, the fourth story: a service follows the label of its volume, and its named volume lies on it.
//! dockerd, the swarm and redis are Debian's own; only what systemd would do, starting and reloading dockerd, the test does.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it was made")]

mod machine;

use machine::Machine;

/// What an administrator said before. The machine's kernel need not have what bridges and their rules take.
const THEIRS: &str = "{
  \"bridge\": \"none\",
  \"iptables\": false,
  \"ip6tables\": false,
  \"labels\": [
    \"region=us-west\"
  ]
}
";

const CONFIG: &str = "\
volumes:
  foobarstore:
    source: { image: /var/lib/foobarstore.img, size: 256M }
    mount: /data/foobarstore
    metadata: { redis: \"{uuid}\" }
publish: [swarm]
";

/// dockerd keeps them in no order.
const LABELS: &str = "docker info --format '{{join .Labels \"\\n\"}}' | sort";

#[test]
fn a_service_follows_its_label_and_keeps_its_data() {
    let mut machine = with_dockerd();
    machine.run("docker swarm init --advertise-addr 127.0.0.1");
    machine.has_redis_image();
    let uuid = is_published(&mut machine);
    is_placed(&mut machine, &uuid);
    an_update_keeps_the_data(&mut machine);
    a_second_run_does_nothing(&mut machine);

    // A boot: dockerd starts after volinit, and has never heard of the volume.
    machine.run("docker service rm stateful elsewhere && docker swarm leave --force");
    machine.until("docker ps --all --quiet | wc -l", |said| said == "0\n");
    machine.stops_dockerd();
    machine.run("umount /data/foobarstore && umount /var/lib/docker && mount -t tmpfs none /var/lib/docker");
    machine.write("/etc/docker/daemon.json", THEIRS);
    is_there_before_dockerd(&mut machine, &uuid);

    is_taken_back(&mut machine);
}

fn with_dockerd() -> Machine {
    let mut machine = Machine::new();
    machine.write("/etc/docker/daemon.json", THEIRS);
    machine.write("/etc/volinit/volinit.yaml", CONFIG);
    machine.starts_dockerd();
    machine
}

/// Docker made one for a service that came too early, or a person did: an error that says the way out, and no label.
#[test]
fn others_volumes_are_left_alone() {
    let mut machine = with_dockerd();
    machine.run("docker volume create foobarstore && echo bar >/var/lib/docker/volumes/foobarstore/_data/foo");
    let (code, said) = machine.ends("volinit up");
    assert_eq!(code, 1, "{said}");
    for words in ["with data in /var/lib/docker/volumes/foobarstore/_data", "`docker volume rm foobarstore`"] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(machine.run("cat /etc/docker/daemon.json"), THEIRS);
    assert_eq!(machine.run("cat /var/lib/docker/volumes/foobarstore/_data/foo"), "bar\n");

    machine.run("rm /var/lib/docker/volumes/foobarstore/_data/foo");
    let (code, said) = machine.ends("volinit up");
    assert!(code == 1 && said.contains("Docker has an empty volume `foobarstore` of its own"), "{code}: {said}");

    machine.run("docker volume rm foobarstore");
    machine.run("docker volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m foobarstore");
    let (code, said) = machine.ends("volinit up");
    assert!(code == 1 && said.contains("(type=tmpfs, o=size=1m, device=tmpfs)"), "{code}: {said}");
    machine.run("docker volume rm foobarstore");

    // dockerd 23.0 and later look at a config before they start with it. This is what they say; Debian's 20.10 can't.
    machine.write(
        "/stand-in/dockerd",
        "#!/bin/sh\n[ \"$1 $2\" = '--validate --config-file' ] && grep -q redis= \"$3\" || exit 0\n\
         echo \"unable to configure the Docker daemon with file $3: no such option\" >&2\nexit 1\n",
    );
    let (code, said) = machine.ends("chmod +x /stand-in/dockerd && PATH=/stand-in:$PATH volinit up");
    assert!(
        code == 1 && said.contains("merging /etc/docker/daemon.json: dockerd would not start with"),
        "{code}: {said}"
    );
    assert!(said.contains("so it stays as it is: unable to configure the Docker daemon with file"), "{said}");
    assert_eq!(machine.run("cat /etc/docker/daemon.json"), THEIRS);
    assert_eq!(machine.run("docker volume ls --quiet"), "");
}

/// The stack file that ships, as `docker stack deploy` and the swarm take it. It is not run: a swarm's own network and its
/// ports take what the machine's kernel need not have.
#[test]
fn the_stack_file_asks_for_the_label_and_the_volume() {
    let mut machine = Machine::new();
    machine.write("/etc/docker/daemon.json", THEIRS);
    machine.starts_dockerd();
    machine.run("docker swarm init --advertise-addr 127.0.0.1");
    machine.write("/stack.yaml", include_str!("../../cloud-config/swarm/stack.yaml"));
    machine.run("docker stack deploy --resolve-image never --compose-file /stack.yaml story");
    let asks = |machine: &mut Machine, what: &str| {
        machine.run(&format!("docker service inspect --format '{{{{json .Spec.TaskTemplate.{what}}}}}' story_stateful"))
    };
    assert_eq!(asks(&mut machine, "Placement.Constraints"), "[\"engine.labels.redis == vol-5afc0745\"]\n");
    let mounts = "[{\"Type\":\"volume\",\"Source\":\"foobarstore\",\"Target\":\"/data\",\"VolumeOptions\":{}}]\n";
    assert_eq!(asks(&mut machine, "ContainerSpec.Mounts"), mounts);
    assert_eq!(machine.run("docker volume ls --quiet"), "", "the stack makes no volume");
}

/// dockerd runs: it makes the volume, and has the label once it is reloaded.
fn is_published(machine: &mut Machine) -> String {
    let said = machine.types("volinit up");
    assert!(said.contains("formatted as ext4, mounted at /data/foobarstore"), "{said}");
    assert!(said.contains("created /var/lib/docker/volumes/foobarstore/opts.json"), "{said}");
    let uuid = machine.run("findmnt --noheadings --output UUID /data/foobarstore").trim().to_owned();
    let text = THEIRS.replace("us-west\"\n", &format!("us-west\",\n    \"redis={uuid}\"\n"));
    assert_eq!(machine.types("cat /etc/docker/daemon.json"), text);
    let options = machine.run("docker volume inspect --format '{{json .Options}}' foobarstore");
    assert_eq!(options, "{\"device\":\"/data/foobarstore\",\"o\":\"bind\",\"type\":\"none\"}\n");

    assert_eq!(machine.run(LABELS), "region=us-west\n");
    machine.reloads_dockerd();
    let both = format!("redis={uuid}\nregion=us-west\n");
    machine.until(LABELS, |said| said == both);
    machine.types(LABELS);
    uuid
}

fn create(name: &str, uuid: &str, port: u16) -> String {
    format!(
        "docker service create --quiet --detach --name {name} --network host --no-resolve-image \
         --constraint engine.labels.redis=={uuid} --mount type=volume,source=foobarstore,target=/data \
         redis redis-server --port {port} --appendonly yes --appendfsync always --dir /data"
    )
}

fn runs(machine: &mut Machine) {
    let tasks = "docker service ps --filter desired-state=running --format '{{.CurrentState}}' stateful";
    machine.until(tasks, |said| said.starts_with("Running") && said.lines().count() == 1);
    machine.until("redis-cli -p 10000 ping", |said| said == "PONG\n");
}

/// The scheduler goes by the label. It hears of a new one within its 20 seconds.
fn is_placed(machine: &mut Machine, uuid: &str) {
    machine.types(&create("stateful", uuid, 10000));
    machine.run(&create("elsewhere", "vol-5afc0745", 10001));
    runs(machine);
    assert_eq!(machine.types("redis-cli -p 10000 set foo bar"), "OK\n");
    let tasks = machine.run("docker service ps --format '{{.CurrentState}}: {{.Error}}' elsewhere");
    assert!(tasks.starts_with("Pending") && tasks.contains("no suitable node"), "{tasks}");
    // What redis wrote lies on the volume's filesystem, and not on the root disk.
    machine.run("grep --text --quiet foo /data/foobarstore/appendonlydir/*.incr.aof");
    let device = machine.run("stat --format %d /data/foobarstore/appendonlydir/*.incr.aof");
    assert_eq!(device, machine.run("stat --format %d /data/foobarstore"));
    assert_ne!(device, machine.run("stat --format %d /data"));
}

/// The story's point: each update makes a new container.
fn an_update_keeps_the_data(machine: &mut Machine) {
    let container = machine.run("docker ps --quiet --filter name=stateful");
    machine.types("docker service update --quiet --detach --force stateful");
    let other = |said: &str| said != container && said.lines().count() == 1;
    machine.until("docker ps --quiet --filter name=stateful", other);
    runs(machine);
    assert_eq!(machine.types("redis-cli -p 10000 get foo"), "bar\n");
}

/// With the container's mounts there, too.
fn a_second_run_does_nothing(machine: &mut Machine) {
    let trace =
        "strace --follow-forks --quiet=all --trace=execve,fork,vfork,clone,clone3 --output /run/trace volinit up";
    let said = machine.run(trace);
    assert!(said.starts_with("foobarstore: nothing to do") && said.lines().count() == 1, "{said}");
    let started = machine.run("cat /run/trace");
    assert_eq!(started.lines().filter(|line| line.contains("execve(")).count(), 1, "{started}");
}

/// dockerd does not run: what its driver reads is there when it starts.
fn is_there_before_dockerd(machine: &mut Machine, uuid: &str) {
    let said = machine.run("volinit up");
    assert!(said.contains("created /var/lib/docker/volumes/foobarstore/opts.json"), "{said}");
    machine.starts_dockerd();
    assert_eq!(machine.run(LABELS), format!("redis={uuid}\nregion=us-west\n"));
    assert_eq!(machine.run("docker volume ls --quiet"), "foobarstore\n");
    machine.run("docker swarm init --advertise-addr 127.0.0.1");
    machine.has_redis_image();
    machine.run(&create("stateful", uuid, 10000));
    runs(machine);
    assert_eq!(machine.run("redis-cli -p 10000 get foo"), "bar\n");
    let said = machine.run("volinit up");
    assert!(said.starts_with("foobarstore: nothing to do") && said.lines().count() == 1, "{said}");
}

/// The label goes, and then the service can; the volume of Docker's stays, without data.
fn is_taken_back(machine: &mut Machine) {
    let (code, said) = machine.ends("volinit release");
    let elsewhere = "is mounted at /var/lib/docker/volumes/foobarstore/_data too";
    assert!(code == 3 && said.contains(elsewhere), "{code}: {said}");
    assert_eq!(machine.run("cat /etc/docker/daemon.json"), THEIRS);
    machine.reloads_dockerd();
    // The swarm itself takes the service from a node without its label, within 20 seconds.
    machine.run("docker service rm stateful");
    machine.until("docker ps --all --quiet | wc -l", |said| said == "0\n");
    machine.run("volinit release");
    machine.until(LABELS, |said| said == "region=us-west\n");
    assert_eq!(machine.run("mountpoint /data/foobarstore || true"), "/data/foobarstore is not a mountpoint\n");
    assert_eq!(machine.run("docker volume ls --quiet"), "foobarstore\n");
    assert_eq!(machine.run("ls /var/lib/docker/volumes/foobarstore/_data"), "");
}
