// Command vm runs a command as root in a throw-away virtual machine with a stock kernel of Debian, for
// tests that need device-mapper, or a machine that may lose its power. It needs QEMU, no KVM and no root.
//
//	vm [-disk SIZE]... [-env K=V]... [-file HOST[:GUEST]]... [-get GUEST[:HOST]]... -- COMMAND [ARGUMENT]...
//
// COMMAND is one of the guest's, or, if it is a path, a program of this machine, which the guest gets at
// the same path with the libraries it needs. What it prints is printed as it comes, and its exit code
// is the exit code. Those of vm itself are 124 after the timeout, 125 if the VM failed, 130 if it was
// interrupted, and 2 for wrong arguments. Under go run it is always 1, so build it first for the code.
//
// The disks are /dev/vda, /dev/vdb and so on, blank, and named in LOAM_TEST_DISKS. TMPDIR is on an ext4
// file system of its own. There is no udevd, and lvm.conf is Debian's.
//
// With -cut, the VM is killed that long after COMMAND began, as by a loss of power, and started again with the
// same disks. Given N times, the first N runs end so, and the exit code is that of the last. With -cut-from the
// time begins when COMMAND prints a line that has the given text. LOAM_TEST_BOOT counts the runs from 1, and
// LOAM_TEST_CUTS is N. What the guest had sent to a disk is on it; what it had in memory is lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Exit codes of the launcher itself.
const (
	exitUsage       = 2
	exitTimeout     = 124
	exitFailed      = 125
	exitInterrupted = 130
)

// options are what the command line says.
type options struct {
	disks, env, files, gets list
	cuts                    []time.Duration
	cutFrom                 string
	keepDisks, cache        string
	scratch                 string
	timeout                 time.Duration
	memory, processors      int
	console                 bool
	command                 []string
}

type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func main() {
	// QEMU dies with the thread that starts it, so that one must not end early.
	runtime.LockOSThread()
	o, err := parse(os.Args[1:])
	if err != nil {
		note("%v", err)
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	code, err := launch(ctx, o)
	if err != nil {
		note("%v", err)
	}
	os.Exit(code)
}

func parse(args []string) (options, error) {
	o := options{}
	flags := flag.NewFlagSet("vm", flag.ContinueOnError)
	flags.Var(&o.disks, "disk", "a disk of this `size`, such as 4G; may be given more than once, as the others")
	flags.Var(&o.env, "env", "a variable of the command's, as `K=V`")
	flags.Var(&o.files, "file", "a file or folder for the guest, as `HOST[:GUEST]`; at the same path by default")
	flags.Var(&o.gets, "get", "what to bring back from the guest, as `GUEST[:HOST]`; into the current folder by default")
	flags.Func("cut", "kill the VM this `long` after the command began, and run it again", func(value string) error {
		after, err := time.ParseDuration(value)
		o.cuts = append(o.cuts, after)
		return err
	})
	flags.StringVar(&o.cutFrom, "cut-from", "", "count the time of -cut from a line with this `text` in the output")
	flags.StringVar(&o.keepDisks, "keep-disks", "", "a `folder` in which the disks are kept, and found by the next run")
	flags.StringVar(&o.scratch, "scratch", "16G", "`size` of the file system of TMPDIR")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long it may take in all")
	flags.IntVar(&o.memory, "memory", 1024, "memory of the VM, in `MiB`")
	flags.IntVar(&o.processors, "cpus", 1, "processors of the VM")
	flags.BoolVar(&o.console, "console", false, "print the kernel's messages")
	flags.StringVar(&o.cache, "cache", "", "`folder` of the image; .cache/vm at the top of the source by default")
	err := flags.Parse(args)
	if err != nil {
		return o, err
	}
	if o.command = flags.Args(); len(o.command) == 0 {
		return o, errors.New("no command is given")
	}
	for _, variable := range o.env {
		if name, _, ok := strings.Cut(variable, "="); !ok || name == "" {
			return o, fmt.Errorf("-env %q is not of the form K=V", variable)
		}
	}
	if o.cache == "" {
		o.cache, err = defaultCache()
	}
	return o, err
}

// defaultCache is below the folder of go.mod, the nearest from here upwards.
func defaultCache() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache/vm"), nil
		}
		if dir == "/" {
			return "", fmt.Errorf("no go.mod in %s or above: name a folder with -cache", here)
		}
	}
}

// launch runs the command, again after each cut.
func launch(ctx context.Context, o options) (code int, err error) {
	img, err := buildImage(o.cache)
	if err != nil {
		return exitFailed, err
	}
	m, err := newMachine(o, img)
	if err != nil {
		return exitFailed, err
	}
	defer m.close()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	for boot := 1; ; boot++ {
		cut := time.Duration(0)
		if boot <= len(o.cuts) {
			cut = o.cuts[boot-1]
		}
		end, err := m.run(ctx, boot, cut)
		switch {
		case end.exited:
			err := m.receive(end)
			if err != nil && end.code == 0 {
				end.code = exitFailed
			}
			return end.code, err
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return exitTimeout, fmt.Errorf("ended after %s. The kernel said last:\n%s", o.timeout, end.console)
		case ctx.Err() != nil:
			return exitInterrupted, errors.New("interrupted")
		case err != nil:
			return exitFailed, err
		}
		note("cut after %s", cut)
	}
}
