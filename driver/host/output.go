package host

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// output is what a command writes, in two files that are only in memory (memfd_create(2)). All that a command has written is in
// them when it has ended. Pipes would have to be read until everybody has closed them: on a busy machine that was not yet
// so a second after a mkfs had ended well, and a process that the command leaves behind never closes them.
type output struct{ stdout, stderr *os.File }

func newOutput() (output, error) {
	stdout, err := memoryFile("stdout")
	if err != nil {
		return output{}, err
	}
	stderr, err := memoryFile("stderr")
	if err != nil {
		return output{}, errors.Join(err, stdout.Close())
	}
	return output{stdout, stderr}, nil
}

func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// read returns what was written so far.
func (o output) read() (stdout, stderr []byte, err error) {
	stdout, outErr := readWritten(o.stdout)
	stderr, errErr := readWritten(o.stderr)
	return stdout, stderr, errors.Join(outErr, errErr)
}

func readWritten(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text := make([]byte, info.Size())
	_, err = io.ReadFull(io.NewSectionReader(f, 0, info.Size()), text)
	return text, err
}

func (o output) close() {
	_ = o.stdout.Close() // only in memory
	_ = o.stderr.Close()
}
