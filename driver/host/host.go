package host

import (
	"errors"
	"fmt"
	"io/fs"

	mount "k8s.io/mount-utils"
	"k8s.io/utils/exec"

	"github.com/loam-storage/loam/driver/volume"
)

// Host is the machine that this process runs on. It needs root, a Linux of 5.12 or later, and in the
// search path blkid and the tools of the file systems that are used. It is safe for concurrent use.
type Host struct {
	runner  Runner
	grower  *mount.ResizeFs
	trials  trials
	loops   loopNumbers
	writing writeProbes
}

var _ Machine = (*Host)(nil)

// New returns the machine; its commands go through runner.
func New(runner Runner) *Host {
	return &Host{runner: runner, grower: mount.NewResizeFs(tools{exec.New()}), trials: newTrials(), loops: loopNumbers{taken: map[int]bool{}}, writing: writeProbes{waiting: map[string]bool{}}}
}

// tools starts the commands of mount-utils where the Runner finds its own, and has the error of one that is not there name it.
type tools struct{ exec.Interface }

func (t tools) Command(name string, args ...string) exec.Cmd {
	return named{t.Interface.Command(lookPath(name), args...), name}
}

// named is a command that knows its name.
type named struct {
	exec.Cmd
	name string
}

func (n named) CombinedOutput() ([]byte, error) {
	out, err := n.Cmd.CombinedOutput()
	if errors.Is(err, exec.ErrExecutableNotFound) {
		err = notInstalled(n.name)
	}
	return out, err
}

// failed makes an Internal error of a system call's. A path that is not there is NotFound.
func failed(what, path string, err error) error {
	if err == nil {
		return nil
	}
	kind := volume.Internal
	if isNotExist(err) {
		kind = volume.NotFound
	}
	// The path is in the text once, whether or not the error has it too.
	if pathError, ok := err.(*fs.PathError); ok {
		err = pathError.Err
	}
	return volume.Errorf(kind, "%s %q: %w", what, path, err)
}

// name prints a device number as the kernel does.
func (n DeviceNumber) String() string { return fmt.Sprintf("%d:%d", n.Major, n.Minor) }
