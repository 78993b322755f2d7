//! Docker's SDK for Python, Debian's and, where it is installed, PyPI's with testcontainers.

use std::time::Duration;

use crate::support::docker::DockerHost;
use crate::support::needs::leave_out;
use crate::support::place::Place;
use crate::support::process::Invocation;
use crate::support::{Barge, Need, needs};

/// What scripts of users do, told by what it prints.
const SCRIPT: &str = r#"
import io, sys, tarfile, docker
client = docker.from_env()
assert client.ping()
assert client.version()['ApiVersion']
image = client.images.get('busybox')
assert image.tags == ['busybox:latest'], image.tags
assert image.id.startswith('sha256:')
image.tag('tagged', tag='1')
assert sorted(client.images.get('tagged:1').tags) == ['busybox:latest', 'tagged:1']
assert client.images.list(name='tagged')[0].id == image.id
try:
    client.images.get('nosuch')
    sys.exit('found what is not there')
except docker.errors.ImageNotFound:
    pass
built, log = client.images.build(fileobj=io.BytesIO(b'FROM busybox\nRUN echo hi\nLABEL made=here\n'), tag='built')
assert built.labels == {'made': 'here'}, built.labels
assert any('Step 2/3' in line.get('stream', '') for line in log)
try:
    client.images.build(fileobj=io.BytesIO(b'FROM busybox\nRUN exit 3\n'))
    sys.exit('built what fails')
except docker.errors.BuildError as error:
    assert '3' in error.msg, error.msg
assert client.containers.run('busybox', ['echo', 'hello'], network_mode='none', remove=True) == b'hello\n'
try:
    client.containers.run('busybox', ['sh', '-c', 'exit 4'], network_mode='none', remove=True)
    sys.exit('ran what fails')
except docker.errors.ContainerError as error:
    assert error.exit_status == 4
volume = client.volumes.create('data', labels={'a': 'b'})
assert client.volumes.get('data').attrs['Labels'] == {'a': 'b'}
box = client.containers.run('busybox', ['sleep', '1000'], name='box', network_mode='none', detach=True,
                            volumes={'data': {'bind': '/d', 'mode': 'rw'}}, environment={'E': '1'},
                            mem_limit='64m', labels=['l'])
assert box.status in ('created', 'running')
box.reload()
assert box.status == 'running' and box.image.id == image.id
code, output = box.exec_run(['sh', '-c', 'echo $E > /d/f; cat /d/f; exit 5'])
assert (code, output) == (5, b'1\n'), (code, output)
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode='w') as tar:
    info = tarfile.TarInfo('put')
    info.size = 3
    tar.addfile(info, io.BytesIO(b'put'))
assert box.put_archive('/tmp', buffer.getvalue())
chunks, stat = box.get_archive('/tmp/put')
assert stat['name'] == 'put' and stat['size'] == 3, stat
with tarfile.open(fileobj=io.BytesIO(b''.join(chunks))) as tar:
    assert tar.extractfile('put').read() == b'put'
assert [c.name for c in client.containers.list(filters={'label': 'l'})] == ['box']
assert box.attrs['HostConfig']['Memory'] == 64 << 20
made = box.commit('committed', tag='1')
assert made.tags == ['committed:1'], made.tags
assert client.volumes.prune()['VolumesDeleted'] in (None, [])
saved = b''.join(image.save())
loaded = client.images.load(saved)
assert loaded[0].id == image.id
network = client.networks.create('net', driver='bridge', labels={'n': '1'})
assert client.networks.get(network.id).name == 'net'
assert {n.name for n in client.networks.list()} >= {'bridge', 'host', 'none', 'net'}
network.remove()
box.remove(force=True, v=True)
volume.remove()
client.images.remove('built')
client.images.remove('committed:1')
client.images.remove('tagged:1')
df = client.df()
assert df['ImageUsage']['TotalCount'] == 1 if 'ImageUsage' in df else df['Images'][0]['RepoTags'] == ['busybox:latest'], df
print('all well')
"#;

#[test]
fn python_does_what_scripts_do() {
    if !needs(&[Need::Tool("docker-compose")]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let line = ["-c", SCRIPT];
    docker.client("/usr/bin/python3", line).run().exits(0).stdout("all well\n");
}

/// What a test of a user's program does.
const TESTCONTAINERS: &str = r#"
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs
script = 'echo ready to serve; exec sleep 1000'
with Network() as network:
    with DockerContainer('busybox').with_command(['sh', '-c', script]).with_env('A', '1') \
            .with_network(network).with_network_aliases('other') as box:
        wait_for_logs(box, 'ready to serve', timeout=30)
        code, output = box.exec(['sh', '-c', 'echo $A'])
        assert (code, output) == (0, b'1\n'), (code, output)
        assert box.get_wrapped_container().status in ('created', 'running')
print('all well')
"#;

#[test]
fn testcontainers_make_and_remove_theirs() {
    if !needs(&[Need::Root, Need::Tool("docker-compose")]) {
        return;
    }
    let barge = Barge::new();
    let modules = barge.path_text("py");
    let python = "/usr/bin/python3";
    let install = ["-m", "pip", "install", "-q", "--target", &modules, "testcontainers"];
    let installed =
        Invocation::new(python, install, &Place::host()).limit(Duration::from_secs(240)).run();
    if installed.status != 0 {
        leave_out("testcontainers cannot be had from PyPI");
        return;
    }
    let docker = DockerHost::with_busybox(&barge);
    docker
        .client(python, ["-c", TESTCONTAINERS])
        .env("PYTHONPATH", &modules)
        // It would remove what is left, with an image that is not here.
        .env("TESTCONTAINERS_RYUK_DISABLED", "true")
        .run()
        .exits(0)
        .stdout_has("all well");
    assert!(docker.docker(["ps", "-aq"]).ok().text().is_empty());
    // The newest SDK came with it.
    let line = ["-c", SCRIPT];
    let newest = docker.client(python, line).env("PYTHONPATH", &modules).run();
    newest.exits(0).stdout_has("all well");
}
