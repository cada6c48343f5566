package host

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

// Codes that blkid ends with (blkid(8)).
const (
	blkidNothing   = 2 // nothing found; also said of a device that it cannot open
	blkidAmbiguous = 8 // more than one signature
)

// endBytes is how much of both ends of a device has to read as zeros for it to be blank. The
// signatures of file systems, partition tables, RAID and LUKS are all within it.
const endBytes = 1 << 20

// Probe asks blkid, which has to find one signature or none, and for none reads both ends of the
// device itself: blkid says the same of nothing there and of much that it does not know.
func (h *Host) Probe(ctx context.Context, device string) (Signature, error) {
	out, err := h.runner.Run(ctx, Command{Name: "blkid", Args: []string{"-p", "-o", "export", device}})
	var exit *ExitError
	switch {
	case err == nil:
		return parseSignature(device, out)
	case !errors.As(err, &exit):
		return Signature{}, err
	case exit.Code == blkidAmbiguous:
		return Signature{}, volume.Errorf(volume.Internal, "probe %q: blkid finds more than one signature; look with wipefs and remove what does not belong", device)
	case exit.Code != blkidNothing || exit.Stderr != "" || len(out) != 0:
		return Signature{}, volume.Errorf(volume.Internal, "probe %q: %w", device, err)
	}
	blank, err := endsAreZero(device)
	if err != nil {
		return Signature{}, failed("probe", device, err)
	}
	return Signature{Blank: blank}, nil
}

// parseSignature reads the lines KEY=value of blkid -o export. Output that says neither what is there
// nor of which kind is an error: blkid ended as if it had found something.
func parseSignature(device string, out []byte) (Signature, error) {
	var s Signature
	partitions := false
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		switch key {
		case "TYPE":
			s.Type = value
		case "UUID":
			s.UUID = value
		case "PTTYPE":
			partitions = true
		}
	}
	if s.Type == "" && partitions {
		s.Type = "partitions"
	}
	if s.Type == "" {
		return Signature{}, volume.Errorf(volume.Internal, "probe %q: blkid found something and did not say what", device)
	}
	return s, nil
}

func endsAreZero(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // only read
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if size == 0 {
		return false, errors.New("it has no size")
	}
	end := make([]byte, min(endBytes, size))
	for _, at := range []int64{0, size - int64(len(end))} {
		if _, err := io.ReadFull(io.NewSectionReader(f, at, int64(len(end))), end); err != nil {
			return false, err
		}
		if len(bytes.Trim(end, "\x00")) != 0 {
			return false, nil
		}
	}
	return true, nil
}
