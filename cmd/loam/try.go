package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/loam-storage/loam/driver/volume"
)

// trial is what the flags of `loam try` say.
type trial struct {
	config, pool, endpoint string
	state                  string
	dir, fsType, size      string
	keep                   bool
	remove                 string
}

func tryCommand() *cobra.Command {
	var t trial
	c := &cobra.Command{
		Use:   "try",
		Short: "Take a volume through its whole life on this machine, and show that nothing is left",
		Long: `Take a volume through its whole life on this machine, and show that nothing is left.

As any CSI client would, it has a volume created, attached, formatted, mounted, written, expanded while
mounted, snapshotted, restored, cloned and removed, and compares what it reads with what it wrote. It
starts a driver of its own over a new pool in a temporary directory, or over a pool of the
configuration (--config, --pool). With --endpoint it uses the driver that serves there.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return t.run(c.Context(), c.OutOrStdout()) },
	}
	f := c.Flags()
	f.StringVar(&t.config, "config", "", "configuration file with the pool to try (default: a new pool)")
	f.StringVar(&t.pool, "pool", "", "pool of the configuration to try (default: its first one)")
	stateFlag(c, &t.state)
	f.StringVar(&t.endpoint, "endpoint", "", "socket of a driver that serves already")
	f.StringVar(&t.dir, "dir", "/var/tmp", "where the temporary directory is made")
	f.StringVar(&t.fsType, "fs", string(volume.XFS), "file system: xfs, ext4 or btrfs")
	f.StringVar(&t.size, "size", "", "size of the volume (default: 256Mi, or what the file system needs)")
	f.BoolVar(&t.keep, "keep", false, "leave it all in place for a look, and say how to remove it")
	f.StringVar(&t.remove, "remove", "", "remove what --keep left in this directory")
	c.MarkFlagsMutuallyExclusive("keep", "remove")
	return c
}

// run does what the flags say. Whatever goes wrong, what was made is taken away again.
func (t trial) run(ctx context.Context, out io.Writer) error {
	if os.Geteuid() != 0 {
		return volume.Errorf(volume.Invalid, "loam try needs root, for loop devices and mounts: run it with sudo")
	}
	signal.Ignore(syscall.SIGPIPE) // of a reader that goes away, as in "loam try | head"
	fsType, size, err := t.volume()
	if err != nil {
		return err
	}
	dir, err := t.directory()
	if err != nil {
		return err
	}
	started := time.Now()
	s, err := t.set(ctx, dir, size)
	if err != nil {
		if t.remove != "" {
			return err // another process may be at work in the directory
		}
		return errors.Join(err, clean(dir))
	}
	l := s.life(out, dir, fsType, size)
	if t.remove == "" {
		say(out, "A volume with %s in pool %q of node %q, by the driver on %s", fsType, l.pool, l.nodeID, s.endpoint)
		if err = l.run(ctx); err == nil && t.keep {
			t.kept(out, dir)
			return s.close()
		}
	}
	if removeErr := l.remove(context.WithoutCancel(ctx)); removeErr != nil {
		return errors.Join(err, removeErr, s.close(), fmt.Errorf("what is left carries the name %q; to try again: %s", l.name, t.removeCommand(dir)))
	}
	if err := errors.Join(err, s.close(), clean(dir)); err != nil {
		return err
	}
	say(out, "Nothing is left: no loop device, no mount, no process, no file. %.1f s in all.", time.Since(started).Seconds())
	return nil
}

// say prints a line. That nobody reads it any more is no reason to stop half way.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }

// volume returns the file system and the size of the volume to make.
func (t trial) volume() (volume.FSType, volume.Size, error) {
	fsType, err := volume.ParseFSType(t.fsType)
	if err != nil {
		return "", 0, err
	}
	if t.size == "" {
		return fsType, max(256*volume.MiB, fsType.Least()), nil
	}
	size, err := volume.ParseSize(t.size)
	if err == nil && size < 4*writtenBytes {
		err = volume.Errorf(volume.Invalid, "size %q is too small to write %s of data to: give at least %s", t.size, volume.Size(writtenBytes), volume.Size(4*writtenBytes))
	}
	return fsType, size, err
}

// tryPrefix begins the name of the directory, and so of everything that a try makes.
const tryPrefix = "loam-try-"

// directory returns the absolute path of the directory of this try.
func (t trial) directory() (string, error) {
	if t.remove == "" {
		parent, err := filepath.Abs(t.dir)
		if err != nil {
			return "", err
		}
		return os.MkdirTemp(parent, tryPrefix)
	}
	dir, err := filepath.Abs(t.remove)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || !strings.HasPrefix(filepath.Base(dir), tryPrefix) {
		return "", volume.Errorf(volume.Invalid, "%q is not a directory that loam try --keep left", t.remove)
	}
	return dir, nil
}

// kept says how to look at what is left, and how to remove it.
func (t trial) kept(out io.Writer, dir string) {
	name := filepath.Base(dir)
	say(out, "Everything is left in place, and the volumes are mounted:")
	say(out, "  findmnt | grep %s", name)
	say(out, "  losetup --list | grep %s", name)
	if t.embedded() {
		say(out, "  loam volumes --config %[1]s; loam snapshots --config %[1]s", filepath.Join(dir, configName))
	}
	say(out, "To remove it all:\n  %s", t.removeCommand(dir))
}

func (t trial) removeCommand(dir string) string {
	command := "loam try --remove " + dir
	for _, f := range []struct{ name, value string }{{"config", t.config}, {"pool", t.pool}, {"endpoint", t.endpoint}} {
		if f.value != "" {
			command += " --" + f.name + " " + f.value
		}
	}
	return command
}
