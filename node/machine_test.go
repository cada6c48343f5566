package node_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

const (
	nodeName = "n1"
	size     = 8 * volume.MiB
)

type step = hosttest.Step

// machine is a node service over a pool in memory, "fast", and a second one, "slow".
type machine struct {
	testing.TB
	*node.Server
	m     *hosttest.Machine
	pools *pool.Set
	fast  *watchedPool
	dir   string
	watch func(step) error

	ephemeral map[string]node.Ephemeral
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{TB: t, m: hosttest.New(), dir: dir, watch: func(step) error { return nil }}
	m.m.Watch(func(s step) error { return m.watch(s) })
	m.fast = &watchedPool{Pool: memory.New("fast", nodeName, 4*volume.GiB), machine: m}
	slow := &watchedPool{Pool: memory.New("slow", nodeName, 4*volume.GiB), machine: m}
	t.Cleanup(func() { _, _ = m.fast.Close(), slow.Close() })
	m.pools, err = pool.NewSet(nodeName, m.fast, slow)
	m.ok("NewSet", err)
	m.m.SetDevices(hosttest.Devices{List: m.devices, Detach: func(ctx context.Context, d host.BlockDevice) error {
		return m.fast.Pool.Detach(ctx, m.id(filepath.Base(filepath.Dir(d.File.Path))))
	}})
	m.restart()
	for _, name := range []string{"staging", "pods"} {
		m.ok("make a directory", os.Mkdir(m.path(name), 0o750))
	}
	return m
}

// restart is what a new process finds after the old one was killed.
func (m *machine) restart() {
	m.m.Restart()
	m.Server = node.New(node.Config{Pools: m.pools, Machine: m.m, MaxVolumes: 7, Ephemeral: m.ephemeral})
}

// devices returns those of the pool "fast" as the kernel would call them.
func (m *machine) devices() (all []host.BlockDevice, err error) {
	volumes, err := m.fast.Pool.List(context.Background(), "", 0)
	for _, v := range volumes {
		if v.Attached() {
			all = append(all, host.BlockDevice{Name: filepath.Base(v.Device), Path: v.Device, File: &host.BackingFile{Path: "/fast/volumes/" + v.ID.Name + "/image"}})
		}
	}
	return all, err
}

func (m *machine) path(elements ...string) string {
	return filepath.Join(append([]string{m.dir}, elements...)...)
}

func (m *machine) ok(what string, err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%s: %v", what, err)
	}
}

// is fails the test unless err has the kind and a text that can be read.
func (m *machine) is(what string, err error, kind volume.Kind, says string) {
	m.Helper()
	if err == nil || volume.KindOf(err) != kind {
		m.Errorf("%s: got error %v of kind %s, want %s", what, err, volume.KindOf(err), kind)
		return
	}
	if !strings.Contains(err.Error(), says) {
		m.Errorf("%s: %q does not say %q", what, err, says)
	}
	checkText(m, err)
}

func checkText(t testing.TB, err error) {
	t.Helper()
	if text := err.Error(); text == "" || len(text) > 10_000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("an error of %d bytes: %.300q", len(text), text)
	}
}

func (m *machine) id(name string) volume.ID {
	return volume.ID{Node: nodeName, Pool: "fast", Name: name}
}

// create makes a volume in the pool "fast".
func (m *machine) create(name string, change ...func(*volume.Spec)) {
	m.Helper()
	spec := volume.Spec{ID: m.id(name), Size: volume.Range{RequiredBytes: size}}
	for _, c := range change {
		c(&spec)
	}
	_, err := m.fast.Pool.Create(m.Context(), spec)
	m.ok("Create "+name, err)
}

func (m *machine) get(name string) volume.Volume {
	m.Helper()
	v, err := m.fast.Pool.Get(m.Context(), m.id(name))
	m.ok("Get "+name, err)
	return v
}

// onDevice calls do with the device of a volume, attached or not, which stays as it is.
func (m *machine) onDevice(name string, do func(device string)) {
	m.Helper()
	v := m.get(name)
	if !v.Attached() {
		device, err := m.fast.Pool.Attach(m.Context(), v.ID, false)
		m.ok("Attach", err)
		defer func() { m.ok("Detach", m.fast.Pool.Detach(m.Context(), v.ID)) }()
		v.Device = device
	}
	do(v.Device)
}

// write writes to a volume behind everybody's back, as its user did in an earlier life.
func (m *machine) write(name string, at volume.Size, text string) {
	m.Helper()
	m.onDevice(name, func(device string) {
		f, err := os.OpenFile(device, os.O_WRONLY, 0)
		m.ok("open", err)
		_, err = f.WriteAt([]byte(text), int64(at))
		m.ok("write", errors.Join(err, f.Close()))
	})
}

func (m *machine) read(name string, at volume.Size, bytes int) string {
	m.Helper()
	text := make([]byte, bytes)
	m.onDevice(name, func(device string) {
		f, err := os.Open(device)
		m.ok("open", err)
		_, err = f.ReadAt(text, int64(at))
		m.ok("read", errors.Join(err, f.Close()))
	})
	return string(text)
}

// format makes a file system on a volume, as an earlier life did, and returns its UUID.
func (m *machine) format(name string, t volume.FSType) string {
	m.Helper()
	m.onDevice(name, func(device string) {
		m.ok("Format", host.New(host.NewRunner()).Format(m.Context(), device, host.Format{Type: t}))
	})
	m.mark(name, volume.Used)
	return m.found(name).UUID
}

func (m *machine) mark(name string, mark volume.Mark) {
	m.Helper()
	m.ok("Mark", m.fast.Pool.Mark(m.Context(), m.id(name), mark))
}

// found returns what is really on a volume.
func (m *machine) found(name string) (found host.Signature) {
	m.Helper()
	m.onDevice(name, func(device string) {
		var err error
		found, err = host.New(host.NewRunner()).Probe(m.Context(), device)
		m.ok("Probe", err)
	})
	return found
}

// state is what an orchestrator and its pods could see, and what would leak: volumes, mounts, and the
// directories and files of the test.
func (m *machine) state() string {
	m.Helper()
	var lines []string
	devices := map[host.DeviceNumber]string{}
	for _, p := range m.pools.All() {
		volumes, err := p.List(m.Context(), "", 0)
		m.ok("List", err)
		for _, v := range volumes {
			if v.Attached() {
				d, err := hosttest.New().Device(v.Device)
				m.ok("Device", err)
				devices[d.Number] = v.ID.Name
			}
			v.Device = map[bool]string{true: "attached"}[v.Attached()]
			lines = append(lines, fmt.Sprintf("volume %s %s %s read-only=%t ephemeral=%t", v.ID, v.Size, v.Device, v.ReadOnly, v.Ephemeral))
		}
	}
	lines = append(lines, m.mounts(devices)...)
	m.ok("walk", filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		relative, _ := filepath.Rel(m.dir, path)
		lines = append(lines, fmt.Sprintf("path %s %s", relative, d.Type()))
		return err
	}))
	return strings.Join(lines, "\n")
}

// mounts describes the mount table, each device by the name of its volume.
func (m *machine) mounts(devices map[host.DeviceNumber]string) []string {
	m.Helper()
	var lines []string
	watch := m.watch
	m.watch = func(step) error { return nil }
	defer func() { m.watch = watch }()
	table, err := m.m.Mounts()
	m.ok("Mounts", err)
	for _, at := range table[1:] {
		relative, _ := filepath.Rel(m.dir, at.Target)
		shown := at.Target
		if at.Root == "/" {
			shown = at.Source
		}
		d, err := m.m.Device(shown)
		m.ok("Device", err)
		lines = append(lines, fmt.Sprintf("mount %s of %s %s read-only=%t", relative, devices[d.Number], at.FSType, at.ReadOnly))
	}
	slices.Sort(lines)
	return lines
}

func (m *machine) same(what, got, want string) {
	m.Helper()
	if got != want {
		m.Errorf("%s:\n%s\nwant\n%s", what, got, want)
	}
}
