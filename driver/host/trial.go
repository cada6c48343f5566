package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// Trial is a file system that a volume is to have.
type Trial struct {
	Type       volume.FSType
	Options    string      // further options for mkfs, checked by volume.Parameters.CheckMkfs
	SizeBytes  volume.Size // of the device
	BlockBytes volume.Size // logical block size of the device
}

// What a trial takes of memory: mkfs.btrfs some MiB whatever the size, mkfs.ext4 up to some 40 MiB for 256 GiB,
// and mkfs.xfs as much as the log has, which it fills with zeros.
const (
	largestExt4Trial = 256 * volume.GiB
	largestLogTrial  = 128 * volume.MiB
)

// maxTried is how many good trials are remembered.
const maxTried = 256

// TrySpec tries, as TryFormat does, the options for mkfs that a spec has for a new volume, in the size and with the
// logical blocks that it will have. Where there are none it does nothing: what mkfs makes by itself can be mounted.
func (h *Host) TrySpec(ctx context.Context, spec volume.Spec, size, blockBytes volume.Size) error {
	if spec.Mkfs == "" || spec.Source != nil || spec.Parameters.MkfsOptions == "" {
		return nil
	}
	err := h.TryFormat(ctx, Trial{Type: spec.Mkfs, Options: spec.Parameters.MkfsOptions, SizeBytes: size, BlockBytes: blockBytes})
	if err != nil {
		return volume.Errorf(volume.KindOf(err), "volume %q: %w", spec.ID, err)
	}
	return nil
}

// TryFormat says whether mkfs makes such a file system on such a device, whether it is then found to be one,
// and whether this kernel mounts it for writing. It tries just that, on a loop device whose file is memory: the
// kernel takes all of it away when this process ends, in whatever way. What was good once is not tried again.
//
// A large ext4 or xfs would take too much memory. There mkfs only says whether it would make it, and the kernel
// is shown a smaller one, or one with a smaller log.
//
// The kind of its error is Invalid where one of them refuses, with the reason. Where the machine has nothing to try
// it on, that is written to the log and no error: whatever is wrong shows when the volume is staged.
func (h *Host) TryFormat(ctx context.Context, t Trial) error {
	select {
	case h.trials.one <- struct{}{}: // as little memory as possible
		defer func() { <-h.trials.one }()
	case <-ctx.Done():
		return volume.Errorf(volume.Unavailable, "waiting for another trial of options for mkfs: %w", ctx.Err())
	}
	if h.trials.good[t] {
		return nil
	}
	refused, err := h.tryFormat(ctx, t)
	if err != nil {
		klog.FromContext(ctx).Error(err, "options of mkfs cannot be tried here", "type", t.Type)
		return nil
	}
	if refused != nil {
		return volume.Errorf(volume.Invalid, "parameter %q: %q makes no %s of %s with logical blocks of %d bytes: %w",
			volume.KeyMkfsOptions, t.Options, t.Type, t.SizeBytes, int64(t.BlockBytes), refused)
	}
	if len(h.trials.good) >= maxTried {
		clear(h.trials.good)
	}
	h.trials.good[t] = true
	return nil
}

// trials is what was tried.
type trials struct {
	one  chan struct{} // who holds it has the rest
	good map[Trial]bool
}

func newTrials() trials { return trials{one: make(chan struct{}, 1), good: map[Trial]bool{}} }

// tryFormat returns why there is no such file system, nil if there is. The other error says that it cannot be
// tried.
func (h *Host) tryFormat(ctx context.Context, t Trial) (refused, err error) {
	device, err := newTrialDevice(ctx, t.SizeBytes, t.BlockBytes)
	if err != nil {
		return nil, err
	}
	defer device.Close() //nolint:errcheck // then it goes
	args, whole := strings.Fields(t.Options), true
	switch {
	case t.Type == volume.Ext4 && t.SizeBytes > largestExt4Trial:
		if refused, err = h.tryMkfs(ctx, device, t.Type, append(args, "-n")); refused != nil || err != nil {
			return refused, err
		}
		smaller, err := newTrialDevice(ctx, largestExt4Trial, t.BlockBytes)
		if err != nil {
			return nil, err
		}
		defer smaller.Close() //nolint:errcheck // then it goes
		device, whole = smaller, false
	case t.Type == volume.XFS:
		out, err := h.runner.Run(ctx, Command{Name: "mkfs.xfs", Args: append(append([]string{"-N", "-K"}, args...), device.Name()), Inherit: []*os.File{device}})
		if err != nil {
			return whyRefused(out, err)
		}
		if log := logBytes(string(out)); log > largestLogTrial {
			args, whole = withLog(args, "size=64m"), false
		}
	}
	if refused, err = h.tryMkfs(ctx, device, t.Type, args); err != nil || (refused != nil && whole) {
		return refused, err
	}
	if refused != nil {
		return nil, nil // only for how it was made smaller
	}
	return h.tryMount(ctx, device, t.Type)
}

// tryMkfs runs mkfs as Format does.
func (h *Host) tryMkfs(ctx context.Context, device *os.File, t volume.FSType, args []string) (refused, err error) {
	out, err := h.mkfs(ctx, device, Format{Type: t, Args: args}, true)
	if refusesPrezeroed(err) {
		out, err = h.mkfs(ctx, device, Format{Type: t, Args: args}, false)
	}
	return whyRefused(out, err)
}

// whyRefused tells a mkfs that refuses from one that cannot be run, or was killed. It shows what it said without
// the list of its options.
func whyRefused(out []byte, err error) (refused, failed error) {
	var exit *ExitError
	if err == nil || !errors.As(err, &exit) || exit.Code < 0 {
		return nil, err
	}
	said := exit.Stderr
	if said == "" {
		said = shorten(string(out))
	}
	said, _, _ = strings.Cut(said, " Usage: ")
	said, _, _ = strings.Cut(said, " Extended options are separated by commas")
	return fmt.Errorf("%s says %q", exit.Command, said), nil
}

// tryMount probes the file system and has the kernel mount it, where nobody sees it.
func (h *Host) tryMount(ctx context.Context, device *os.File, t volume.FSType) (refused, err error) {
	found, err := h.Probe(ctx, device.Name())
	if err != nil {
		return nil, err
	}
	if found.Type != string(t) {
		return fmt.Errorf("what mkfs makes of them is %s", found.Type), nil
	}
	var asked parameters
	if t == volume.XFS {
		asked.list = []parameter{{name: "nouuid"}}
	}
	fs, err := configured(t, device.Name(), asked)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EBUSY), errors.Is(err, unix.EIO), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENODEV):
		return nil, err
	case err != nil:
		return fmt.Errorf("this kernel does not mount what mkfs makes of them: %w", err), nil
	}
	return nil, unix.Close(fs) // then it is unmounted
}

// logBytes reads the size of the log in what mkfs.xfs says of a file system; 0 where it does not.
func logBytes(text string) (size volume.Size) {
	for line := range strings.Lines(text) {
		var block, blocks int64
		if rest, ok := strings.CutPrefix(line, "log "); ok {
			fields := strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == ',' || r == '=' })
			for i := range fields[:max(0, len(fields)-1)] {
				switch fields[i] {
				case "bsize":
					_, _ = fmt.Sscan(fields[i+1], &block)
				case "blocks":
					_, _ = fmt.Sscan(fields[i+1], &blocks)
				}
			}
			return volume.Size(block * blocks)
		}
	}
	return 0
}

// withLog gives the log of an xfs another size.
func withLog(args []string, size string) []string {
	var with []string
	for i := 0; i+1 < len(args); i += 2 { // pairs of an option and its value
		value := args[i+1]
		if args[i] == "-l" {
			var kept []string
			for part := range strings.SplitSeq(value, ",") {
				if !strings.HasPrefix(part, "size") {
					kept = append(kept, part)
				}
			}
			size = strings.Join(append(kept, size), ",")
			continue
		}
		with = append(with, args[i], value)
	}
	return append(with, "-l", size)
}
