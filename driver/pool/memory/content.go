package memory

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// content is the bytes of a volume or snapshot: all zero until it is first opened, so that a test can
// have a hundred thousand volumes without as many open files.
type content struct{ file *os.File }

// open returns the path under which other processes, too, can open the bytes.
func (c *content) open(size volume.Size) (string, error) {
	if c.file == nil {
		fd, err := unix.MemfdCreate("loam", unix.MFD_CLOEXEC)
		if err != nil {
			return "", fmt.Errorf("memfd_create: %w", err)
		}
		c.file = os.NewFile(uintptr(fd), "memfd:loam")
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), c.file.Fd()), c.resize(size)
}

func (c *content) resize(size volume.Size) error {
	if c.file == nil {
		return nil
	}
	return c.file.Truncate(int64(size))
}

// copy returns the same bytes, with zeros behind them up to size.
func (c *content) copy(size volume.Size) (*content, error) {
	other := &content{}
	if c.file == nil {
		return other, nil
	}
	if _, err := other.open(size); err != nil {
		return nil, err
	}
	err := host.CopySparse(context.Background(), other.file, c.file, func() error { return nil })
	if err != nil {
		other.close()
		return nil, fmt.Errorf("copy of a volume in memory: %w", err)
	}
	return other, nil
}

func (c *content) close() {
	if c.file != nil {
		_ = c.file.Close() // the memory goes with it; there is nothing to lose
		c.file = nil
	}
}
