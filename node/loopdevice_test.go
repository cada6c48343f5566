package node_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

func TestMain(m *testing.M) {
	os.Exit(hosttest.LeaveNothing(m.Run))
}

// real is a node service over a pool of image files, on this machine.
type real struct {
	*testing.T
	*node.Server
	machine *host.Host
	ran     *ran
	pool    *loop.Pool
	dir     string
}

// ran notes which commands were run.
type ran struct {
	host.Runner
	mu    sync.Mutex
	names []string
	fails string // a command that fails
}

func (r *ran) Run(ctx context.Context, c host.Command) ([]byte, error) {
	r.mu.Lock()
	r.names = append(r.names, c.Name)
	fails := c.Name == r.fails
	r.mu.Unlock()
	if fails {
		return nil, &host.ExitError{Command: c.Name, Code: 4, Stderr: "UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY"}
	}
	return r.Runner.Run(ctx, c)
}

// taken returns the commands that were run since it was called last.
func (r *ran) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := r.names
	r.names = nil
	return names
}

func newReal(t *testing.T) *real { return newRealWith(t, loop.Config{}) }

// newRealWith has a pool of that configuration, in a directory of its own.
func newRealWith(t *testing.T, c loop.Config) *real {
	t.Helper()
	hosttest.NeedsRoot(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ran := &ran{Runner: host.NewRunner()}
	machine := host.New(ran)
	m := &real{T: t, dir: dir, machine: machine, ran: ran}
	c.Directory, c.Create = m.path("pool"), true
	m.pool, err = loop.Open(t.Context(), "fast", nodeName, c, machine)
	m.ok("Open", err)
	pools, err := pool.NewSet(nodeName, m.pool)
	m.ok("NewSet", err)
	m.Server = node.New(node.Config{Pools: pools, Machine: machine, MaxVolumes: 7})
	t.Cleanup(func() { // what a test that failed left
		mounts, _ := machine.Mounts()
		for _, at := range slices.Backward(mounts) {
			if strings.HasPrefix(at.Target, dir+"/") && filepath.Base(at.Target) != "mounted" {
				_ = machine.Unmount(context.Background(), at.Target)
			}
		}
		devices, _ := machine.DevicesByName()
		for _, d := range devices {
			if d.File != nil && strings.HasPrefix(d.File.Path, dir+"/") && filepath.Base(d.File.Path) == "image" {
				_ = machine.DetachDevice(context.Background(), d, "")
			}
		}
		m.ok("Close", m.pool.Close())
	})
	return m
}

func (m *real) path(elements ...string) string {
	return filepath.Join(append([]string{m.dir}, elements...)...)
}

func (m *real) ok(what string, err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%s: %v", what, err)
	}
}

func (m *real) is(what string, err error, kind volume.Kind, says string) {
	m.Helper()
	if !volume.Is(err, kind) || !strings.Contains(err.Error(), says) {
		m.Errorf("%s: got error %v of kind %s, want %s that says %q", what, err, volume.KindOf(err), kind, says)
	}
}

func (m *real) run(name string, args ...string) string {
	m.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		m.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (m *real) id(name string) volume.ID {
	return volume.ID{Node: nodeName, Pool: "fast", Name: name}
}

func (m *real) target(name string) string { return m.path("target-" + name) }

// create makes a volume that begins with its own name.
func (m *real) create(name string, bytes volume.Size) {
	m.Helper()
	_, err := m.pool.Create(m.Context(), volume.Spec{ID: m.id(name), Size: volume.Range{RequiredBytes: bytes}})
	m.ok("Create", err)
	f, err := os.OpenFile(m.image(name), os.O_WRONLY, 0)
	m.ok("open", err)
	_, err = f.WriteString(name)
	m.ok("write", err)
	m.ok("sync", f.Sync())
	m.ok("close", f.Close())
	m.ok("make a directory", os.Mkdir(m.path("staging-"+name), 0o750))
}

func (m *real) image(name string) string { return m.path("pool", "volumes", name, "image") }

func (m *real) device(name string) string {
	m.Helper()
	v, err := m.pool.Get(m.Context(), m.id(name))
	m.ok("Get", err)
	return v.Device
}

func (m *real) stage(name string, c *csi.VolumeCapability) error {
	_, err := m.NodeStageVolume(m.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: m.id(name).String(), StagingTargetPath: m.path("staging-" + name), VolumeCapability: c})
	return err
}

func (m *real) publish(name, target string, c *csi.VolumeCapability) error {
	_, err := m.NodePublishVolume(m.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: m.id(name).String(), StagingTargetPath: m.path("staging-" + name), TargetPath: target, VolumeCapability: c})
	return err
}

func (m *real) unpublish(name, target string) error {
	_, err := m.NodeUnpublishVolume(m.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: m.id(name).String(), TargetPath: target})
	return err
}

func (m *real) unstage(name string) error {
	_, err := m.NodeUnstageVolume(m.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: m.id(name).String(), StagingTargetPath: m.path("staging-" + name)})
	return err
}

func (m *real) stats(name, path string) (int64, error) {
	answer, err := m.NodeGetVolumeStats(m.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: m.id(name).String(), VolumePath: path})
	if err != nil {
		return 0, err
	}
	return answer.GetUsage()[0].GetTotal(), nil
}

// detachByHand is what an administrator does.
func (m *real) detachByHand(device string) {
	m.Helper()
	file := "/sys/block/" + filepath.Base(device) + "/loop/backing_file"
	was, err := os.ReadFile(file)
	m.ok("read the file of the device", err)
	m.run("losetup", "--detach", device)
	for until := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // who looks at it keeps it a moment
		if now, err := os.ReadFile(file); err != nil || string(now) != string(was) {
			return
		}
		if time.Now().After(until) {
			m.Fatalf("%s is still there", device)
		}
	}
}

// reads returns what the pod reads at the beginning of the device that is bound at a path, if anything.
func reads(path string) string {
	text := make([]byte, 4096)
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	n, _ := f.Read(text)
	return strings.TrimRight(string(text[:n]), "\x00")
}

func (m *real) publishBlock(name string) {
	m.Helper()
	m.ok("stage", m.stage(name, block()))
	m.ok("publish", m.publish(name, m.target(name), block()))
	if got := reads(m.target(name)); got != name {
		m.Errorf("the pod of %s reads %q", name, got)
	}
}

// The first pod must never read what is the second one's.
func TestADeviceDetachedByHandDoesNotShowTheNextVolume(t *testing.T) {
	m := newReal(t)
	m.create("first", size)
	m.create("second", 2*size)
	m.publishBlock("first")
	device := m.device("first")
	m.detachByHand(device)
	m.publishBlock("second")
	if got := m.device("second"); got == device {
		t.Errorf("%s, which is bound at %s, was used again", device, m.target("first"))
	}
	if got := reads(m.target("first")); got == "second" {
		t.Error("the pod of the first volume reads the second one")
	}
	_, err := m.stats("first", m.target("first"))
	m.is("stats", err, volume.NotFound, "is not at volume_path")
	m.is("publish again", m.publish("first", m.target("first"), block()), volume.InUse, "is not volume")
	// The first can be used anew, beside what is left of it.
	m.ok("stage", m.stage("first", block()))
	m.ok("publish", m.publish("first", m.path("anew"), block()))
	if got := reads(m.path("anew")); got != "first" {
		t.Errorf("published anew it reads %q", got)
	}
	m.ok("unpublish", m.unpublish("first", m.path("anew")))
	for _, name := range []string{"first", "second"} {
		m.ok("unpublish", m.unpublish(name, m.target(name)))
		m.ok("unstage", m.unstage(name))
	}
}

// As it is where an earlier release, or an administrator, has used the number again.
func TestANumberThatWasUsedAgainIsToldAndBothVolumesCanGo(t *testing.T) {
	for _, order := range [][]string{{"first", "second"}, {"second", "first"}} {
		t.Run(order[0]+" goes first", func(t *testing.T) {
			m := newReal(t)
			m.create("first", size)
			m.create("second", 2*size)
			device := ""
			for tries := 0; ; tries++ {
				m.publishBlock("first")
				device = m.device("first")
				m.detachByHand(device)
				out, err := exec.Command("losetup", "--sector-size=4096", "--direct-io=on", device, m.image("second")).CombinedOutput()
				if err == nil {
					break
				}
				if tries == 9 {
					t.Fatalf("losetup %s: %v: %s", device, err, out)
				}
				// Somebody else on this machine was quicker.
				m.ok("unpublish", m.unpublish("first", m.target("first")))
				m.ok("unstage", m.unstage("first"))
			}
			m.publishBlock("second")
			if got := m.device("second"); got != device {
				t.Fatalf("the second volume has %s, not %s", got, device)
			}
			for _, name := range []string{"first", "second"} {
				_, err := m.stats(name, m.target("first"))
				m.is("stats of "+name, err, volume.NotFound, "is not at volume_path")
				m.is("publish "+name, m.publish(name, m.target("first"), block()), volume.InUse, "is not volume")
			}
			if got, err := m.stats("second", m.target("second")); err != nil || got != int64(2*size) {
				t.Errorf("stats of the second: %d, %v", got, err)
			}
			for _, name := range order {
				m.ok("unpublish", m.unpublish(name, m.target(name)))
				if name == "first" && order[0] == "first" && m.device("second") != device {
					t.Error("the device of the second was taken away")
				}
				m.ok("unstage", m.unstage(name))
				if _, err := os.Lstat(m.target(name)); !os.IsNotExist(err) {
					t.Errorf("%s is still there: %v", m.target(name), err)
				}
			}
			for _, name := range order {
				if got := m.device(name); got != "" {
					t.Errorf("%s still has %s", name, got)
				}
			}
		})
	}
}

// As with the mount option "errors=continue,loop" that releases let pass: what is mounted at the staging path is
// another device, above the volume's.
func TestAVolumeStagedThroughASecondDeviceIsNotMountedAgain(t *testing.T) {
	m := newReal(t)
	m.create("v", 4*size)
	device, err := m.pool.Attach(t.Context(), m.id("v"), false)
	m.ok("Attach", err)
	m.run("mkfs.ext4", "-q", device)
	m.ok("Mark", m.pool.Mark(t.Context(), m.id("v"), volume.Used))
	m.run("mount", "-o", "errors=continue,loop", device, m.path("staging-v"))
	m.ok("write", os.WriteFile(m.path("staging-v", "file"), []byte("kept"), 0o600))

	m.is("stage", m.stage("v", mount("ext4")), volume.InUse, "/dev/loop")
	m.is("stage elsewhere", func() error {
		_, err := m.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
			VolumeId: m.id("v").String(), StagingTargetPath: m.path("pool", "new"), VolumeCapability: mount("ext4")})
		return err
	}(), volume.InUse, "/dev/loop")
	m.is("publish", m.publish("v", m.target("v"), mount("ext4")), volume.InUse, "/dev/loop")
	m.is("Delete", m.pool.Delete(t.Context(), m.id("v")), volume.InUse, device)
	m.ok("unstage", m.unstage("v"))
	if got := m.device("v"); got != "" {
		t.Errorf("unstaged it still has %s", got)
	}
	m.ok("stage", m.stage("v", mount("ext4")))
	if text, err := os.ReadFile(m.path("staging-v", "file")); err != nil || string(text) != "kept" {
		t.Errorf("the file reads %q, %v", text, err)
	}
	// And one that an administrator mounts beside it is in the way of the next stage, but not of going.
	other := m.run("losetup", "--find", "--show", "--read-only", m.image("v"))
	m.is("stage", m.stage("v", mount("ext4")), volume.InUse, other)
	m.detachByHand(other)
	m.ok("stage", m.stage("v", mount("ext4")))
	m.ok("unstage", m.unstage("v"))
}
