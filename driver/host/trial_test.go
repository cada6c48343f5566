package host_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

// trialDevices names the loop devices that trials have made and that are there still. Who looks at a new device keeps
// it a moment longer.
func trialDevices(t *testing.T) (left []string) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
		if err != nil {
			t.Fatal(err)
		}
		left = nil
		for _, path := range files {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "memfd:loam-trial") {
				left = append(left, strings.Split(path, "/")[3])
			}
		}
		if len(left) == 0 || time.Now().After(until) {
			return left
		}
	}
}

func TestOptionsThatMakeNoFileSystemHereAreRefusedWithTheReason(t *testing.T) {
	hosttest.NeedsRoot(t)
	h := host.New(host.NewRunner())
	for _, c := range []struct {
		fsType      volume.FSType
		options     string
		size, block volume.Size
		says        string // nothing: it works
	}{
		{volume.XFS, "-s size=512", volume.GiB, 4096, "illegal sector size 512"},
		{volume.XFS, "-s size=512", volume.GiB, 512, ""},
		{volume.XFS, "-d sectsize=512", volume.GiB, 4096, "sector size"},
		{volume.XFS, "-s size=8192", volume.GiB, 4096, "sector size"},
		{volume.XFS, "-i size=4096", volume.GiB, 4096, "too large"},
		{volume.XFS, "-d agcount=200", volume.GiB, 4096, "too small"},
		{volume.XFS, "-d agcount=200", 100 * volume.GiB, 4096, ""},
		{volume.XFS, "-m crc=0,finobt=1", volume.GiB, 4096, "finobt"},
		{volume.XFS, "-d su=64k,sw=4 -i size=1024,maxpct=10 -n size=8192 -l size=64m", 2 * volume.TiB, 4096, ""},
		{volume.XFS, "-l su=32k,size=1g -L silo", 4 * volume.TiB, 4096, ""},
		{volume.XFS, "-m reflink=0", 300 * volume.MiB, 4096, ""},
		{volume.Ext4, "-b 1024", volume.GiB, 4096, "too small for device"},
		{volume.Ext4, "-b 1024", volume.GiB, 512, ""},
		{volume.Ext4, "-b 65536", volume.GiB, 4096, "kernel does not mount"},
		{volume.Ext4, "-I 8192", volume.GiB, 4096, "inode size"},
		{volume.Ext4, "-N 100000000", volume.GiB, 4096, "too big"},
		{volume.Ext4, "-N 100000000", 2 * volume.TiB, 4096, ""},
		{volume.Ext4, "-J size=2000", volume.GiB, 4096, "journal size too big"},
		{volume.Ext4, "-O ^extents,64bit", volume.GiB, 4096, "Extents MUST be enabled"},
		{volume.Ext4, "-O none", volume.GiB, 4096, "ext2"},
		{volume.Ext4, "-E resize=1000", volume.GiB, 4096, "resize maximum"},
		{volume.Ext4, "-E stride=16,stripe_width=64,lazy_itable_init=0 -O ^has_journal -m 1 -i 8192", 16 * volume.MiB, 4096, ""},
		{volume.Ext4, "-b 1024 -m 60", 10 * volume.TiB, 512, "reserved blocks percent"},
		{volume.Ext4, "-b 1024", 4 * volume.TiB, 512, ""},
		{volume.Btrfs, "-n 1000", volume.GiB, 4096, "nodesize"},
		{volume.Btrfs, "-n 131072", volume.GiB, 4096, "nodesize"},
		{volume.Btrfs, "-O mixed-bg -n 16384", volume.GiB, 4096, "mixed"},
		{volume.Btrfs, "-d single -m dup --csum xxhash -n 16384", 4 * volume.TiB, 4096, ""},
	} {
		trial := host.Trial{Type: c.fsType, Options: c.options, SizeBytes: c.size, BlockBytes: c.block}
		for range 2 { // the second time it may be remembered
			err := h.TryFormat(t.Context(), trial)
			switch {
			case c.says == "" && err != nil:
				t.Errorf("%+v: %v", trial, err)
			case c.says != "" && (!volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.options) || len(err.Error()) > 1500 || strings.Contains(err.Error(), "Usage")):
				t.Errorf("%+v: %v, want %q", trial, err, c.says)
			}
		}
	}
	if left := trialDevices(t); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// What cannot be tried is not refused.
func TestWhatCannotBeTriedIsNotRefused(t *testing.T) {
	hosttest.NeedsRoot(t)
	h := host.New(missing{})
	if err := h.TryFormat(t.Context(), host.Trial{Type: volume.XFS, Options: "-s size=512", SizeBytes: volume.GiB, BlockBytes: 4096}); err != nil {
		t.Error(err)
	}
	if err := host.New(host.NewRunner()).TryFormat(t.Context(), host.Trial{Type: volume.Ext4, Options: "-b 1024", SizeBytes: volume.GiB, BlockBytes: 1 << 20}); err != nil {
		t.Error(err)
	}
}

// missing is a machine without any command.
type missing struct{}

func (missing) Run(_ context.Context, c host.Command) ([]byte, error) {
	return nil, volume.Errorf(volume.Internal, "%s is not installed on this machine", c.Name)
}

// trialEnv makes this test binary try one file system after the other, and say each time that it begins.
const trialEnv = "LOAM_TEST_TRIAL"

func tryFormats() {
	h, size := host.New(host.NewRunner()), 320*volume.MiB
	for {
		for _, t := range volume.FSTypes() {
			_, _ = os.Stdout.WriteString("begin\n")
			options := map[volume.FSType]string{volume.Ext4: "-m 1", volume.XFS: "-m reflink=0", volume.Btrfs: "-n 16384"}[t]
			if err := h.TryFormat(context.Background(), host.Trial{Type: t, Options: options, SizeBytes: size, BlockBytes: 4096}); err != nil {
				panic(err)
			}
		}
		size += volume.MiB
	}
}

// A trial whose process is killed leaves neither a device nor a mount: they go with what it had open.
func TestATrialThatIsKilledLeavesNothing(t *testing.T) {
	hosttest.NeedsRoot(t)
	for i := range 12 {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), trialEnv+"=yes")
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + i%3 { // ext4, xfs, btrfs
			if !lines.Scan() {
				t.Fatalf("it ended: %v", c.Wait())
			}
		}
		time.Sleep(time.Duration(i) * 17 * time.Millisecond) // at whatever moment
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // it was killed
		if left := trialDevices(t); len(left) > 0 {
			t.Fatalf("left are %q", left)
		}
	}
}

func TestATrialIsForOneAtATimeAndEndsWaiting(t *testing.T) {
	hosttest.NeedsRoot(t)
	slow := slowRunner{begun: make(chan struct{}), goOn: make(chan struct{})}
	h := host.New(slow)
	trial := host.Trial{Type: volume.Btrfs, Options: "-n 16384", SizeBytes: volume.GiB, BlockBytes: 4096}
	ended := make(chan error, 1)
	go func() { ended <- h.TryFormat(t.Context(), trial) }()
	<-slow.begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.TryFormat(ctx, trial); !volume.Is(err, volume.Unavailable) {
		t.Errorf("a caller that left: %v", err)
	}
	close(slow.goOn)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left := trialDevices(t); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

// slowRunner runs the first command when it is told to.
type slowRunner struct{ begun, goOn chan struct{} }

func (s slowRunner) Run(ctx context.Context, c host.Command) ([]byte, error) {
	if strings.HasPrefix(c.Name, "mkfs") {
		close(s.begun)
		<-s.goOn
	}
	return host.NewRunner().Run(ctx, c)
}
