package node_test

import (
	"context"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

// secret is put into every request that has room for secrets, and must never come back.
const secret = "correct-horse-battery-staple"

// script makes choices of random bytes.
type script []byte

func (s *script) choose(n int) int {
	if len(*s) == 0 {
		return 0
	}
	first := (*s)[0]
	*s = (*s)[1:]
	return int(first) % n
}

func pick[T any](s *script, all ...T) T { return all[s.choose(len(all))] }

// text returns a few of the bytes as they are.
func (s *script) text() string {
	n := min(s.choose(160), len(*s))
	text := string((*s)[:n])
	*s = (*s)[n:]
	return text
}

// playground is where random requests are let loose: volumes with data that must not be lost, and
// paths of which some lead astray.
type playground struct {
	*machine
	image, bytes string // what "data" began as; what "raw" and "ends" hold
	handles      []string
	staging      []string
	targets      []string
}

// newPlayground takes the bytes of an ext4, so that it is not made each time.
func newPlayground(t *testing.T, image string) *playground {
	m := newMachine(t)
	p := &playground{machine: m, image: image}
	for _, name := range []string{"fresh", "other", "data", "raw", "ends"} {
		m.create(name)
		m.stageRequest(name, nil)
		p.handles = append(p.handles, m.id(name).String())
		p.staging = append(p.staging, m.path("staging", name))
	}
	m.write("data", 0, image)
	m.mark("data", volume.Used)
	m.write("raw", size/2, data)
	m.mark("raw", volume.Used)
	m.write("ends", size-4*volume.KiB, data) // and marked fresh: a mark that lies
	p.bytes = m.read("raw", 0, int(size)) + m.read("ends", 0, int(size))
	m.ok("make directories", os.MkdirAll(m.path("pods", "full", "inside"), 0o750))
	m.inlineRequest("pod", nil)
	m.ok("make a file", os.WriteFile(m.path("pods", "file"), []byte(data), 0o640))
	m.ok("make a link", os.Symlink(m.path("pods", "full"), m.path("pods", "link")))
	for _, name := range []string{"a", "b", "full", "full/inside", "file", "link", "link/c", "missing/d", "file/e"} {
		p.targets = append(p.targets, m.path("pods", name))
	}
	return p
}

// odd reports whether this part of a request is to be one that makes no sense.
func (s *script) odd() bool { return s.choose(12) == 11 }

func (p *playground) capability(s *script) *csi.VolumeCapability {
	if s.odd() {
		return pick(s, nil, &csi.VolumeCapability{}, mount("ntfs"), mount(s.text()), mount("", s.text()), withMode(block(), 5))
	}
	mode := pick(s, multiWriter, multiWriter, multiWriter, writer, singleWriter, reader)
	return withMode(pick(s, mount(""), mount("ext4"), block(), block(), mount("", "ro"), mount("xfs")), mode)
}

func (p *playground) context(s *script) map[string]string {
	if s.odd() {
		return map[string]string{volume.ContextReadOnly: s.text()}
	}
	return pick(s, nil, nil, nil, map[string]string{volume.ContextReadOnly: "false"}, readOnlyContext)
}

func (p *playground) attributes(s *script) map[string]string {
	attributes := p.inlineRequest("pod", nil).GetVolumeContext()
	if s.odd() {
		attributes[s.text()] = s.text()
	}
	return attributes
}

func (p *playground) sizes(s *script) *csi.CapacityRange {
	if s.odd() {
		return &csi.CapacityRange{RequiredBytes: int64(s.choose(256)-128) << 56, LimitBytes: int64(s.choose(256)-128) << 20}
	}
	return pick(s, nil, &csi.CapacityRange{RequiredBytes: int64(size)})
}

// names chooses a volume, its staging path and a target.
func (p *playground) names(s *script) (handle, staging, target string) {
	i := s.choose(len(p.handles))
	handle, staging, target = p.handles[i], p.staging[i], pick(s, p.targets[0], p.targets[1], p.targets[s.choose(len(p.targets))])
	if s.odd() {
		handle = pick(s, "", "n1/fast/none", "n2/fast/data", inline, s.text())
	}
	if s.odd() {
		staging = pick(s, "", "some/path", "/", p.targets[0], p.path("pods")+"/../staging/data", p.staging[s.choose(len(p.staging))])
	}
	if s.odd() {
		target = pick(s, "", "some/path", "/", staging, p.staging[0], p.staging[0]+"/below")
	}
	return handle, staging, target
}

// call does one request; reads says that it must not change anything.
func (p *playground) call(ctx context.Context, s *script) (answer any, reads bool, err error) {
	secrets := map[string]string{"passphrase": secret}
	handle, staging, target := p.names(s)
	switch s.choose(10) {
	case 0, 1:
		answer, err = p.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{VolumeId: handle, StagingTargetPath: staging,
			VolumeCapability: p.capability(s), PublishContext: p.context(s), Secrets: secrets})
	case 2, 3:
		answer, err = p.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{VolumeId: handle, StagingTargetPath: staging, TargetPath: target,
			VolumeCapability: p.capability(s), Readonly: s.choose(4) == 0, PublishContext: p.context(s), Secrets: secrets})
	case 4:
		if !s.odd() {
			handle = inline
		}
		answer, err = p.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{VolumeId: handle, TargetPath: target,
			VolumeCapability: p.capability(s), Readonly: s.choose(4) == 0, VolumeContext: p.attributes(s), Secrets: secrets})
	case 5:
		answer, err = p.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: pick(s, handle, handle, inline), TargetPath: target})
	case 6:
		answer, err = p.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: handle, StagingTargetPath: staging})
	case 7:
		answer, err = p.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{VolumeId: handle, VolumePath: pick(s, target, staging), CapacityRange: p.sizes(s),
			StagingTargetPath: staging, VolumeCapability: p.capability(s), Secrets: secrets})
	default:
		answer, err = p.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: handle, VolumePath: pick(s, target, staging), StagingTargetPath: staging})
		reads = true
	}
	return answer, reads, err
}

// unharmed fails the test unless all data is where it was.
func (p *playground) unharmed() {
	p.Helper()
	const at, length = 1024 + 0x68, 16 // s_uuid in the superblock of ext4
	if p.read("data", at, length) != p.image[at:at+length] {
		p.Error("it is another file system")
	}
	if p.read("raw", 0, int(size))+p.read("ends", 0, int(size)) != p.bytes {
		p.Error("data was written over")
	}
	text, err := os.ReadFile(p.path("pods", "file"))
	if err != nil || string(text) != data {
		p.Errorf("a file holds %.20q, %v", text, err)
	}
	if _, err := os.Lstat(p.path("pods", "link")); err != nil {
		p.Error(err)
	}
}

// clear does what an orchestrator does in the end, with a new process, and fails the test if anything
// is left.
func (p *playground) clear(ctx context.Context) {
	p.Helper()
	p.restart()
	for _, handle := range append(p.handles, inline) {
		for _, path := range append(append([]string{p.staging[0] + "/below"}, p.targets...), p.staging...) {
			if _, err := p.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: handle, TargetPath: path}); err != nil {
				checkText(p, err)
			}
		}
	}
	for i, handle := range p.handles {
		_, err := p.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: handle, StagingTargetPath: p.staging[i]})
		p.ok("unstage "+handle, err)
	}
	if left := p.state(); strings.Contains(left, "mount ") || strings.Contains(left, "attached") || strings.Contains(left, "ephemeral=true") || p.m.Claimed() > 0 {
		p.Errorf("left in the end, with %d devices claimed:\n%s", p.m.Claimed(), left)
	}
}

func FuzzNodeRequests(f *testing.F) {
	m := newMachine(f)
	m.create("image")
	m.format("image", volume.Ext4)
	image := strings.TrimRight(m.read("image", 0, int(size)), "\x00")
	detached := strings.NewReplacer(" attached read-only=true", "", " attached read-only=false", "", "  read-only=false", "")
	random := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		data := make([]byte, 600)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, s := newPlayground(t, image), script(data)
		for calls := 0; len(s) > 0 && calls < 24; calls++ {
			before := p.state()
			answer, reads, err := p.call(t.Context(), &s)
			if reflect.ValueOf(answer).IsNil() != (err != nil) {
				t.Fatalf("answered %v with error %v", answer, err)
			}
			if err != nil {
				checkText(t, err)
				if volume.Is(err, volume.Internal) || strings.Contains(err.Error(), secret) {
					t.Errorf("%T: %v", answer, err)
				}
			}
			after := p.state()
			if _, stages := answer.(*csi.NodeStageVolumeResponse); stages && err != nil {
				// It may have detached what seemed to be left of a call that was cut off.
				before, after = detached.Replace(before), detached.Replace(after)
			}
			if after != before && (reads || err != nil) {
				t.Errorf("%T, %v, changed\n%s\nto\n%s", answer, err, before, after)
			}
			if s.choose(8) == 0 {
				p.Server = node.New(node.Config{Pools: p.pools, Machine: p.m})
			}
		}
		p.unharmed()
		p.clear(t.Context())
	})
}
