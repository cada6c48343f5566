package crash_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/loam-storage/loam/driver/volume"
)

// entry is a line of the journal: what a run has done, on a disk that the driver has nothing to do with. Each
// is on that disk before anything else is done.
type entry struct {
	Seed  uint64                 `json:"seed,omitempty"` // what the calls are chosen by
	Free  map[string]volume.Size `json:"free,omitempty"` // in each pool in the beginning
	Boot  int                    `json:"boot,omitempty"` // all that was open when the power went is settled
	Write uint64                 `json:"write,omitempty"`
	Call  string                 `json:"call,omitempty"`
	Done  bool                   `json:"done,omitempty"` // what the entry before it says was acknowledged
}

type journal struct{ file *os.File }

// openJournal opens the journal of a run, and returns what it has up to now. A last line that is not whole was
// not acknowledged to anybody.
func openJournal(path string) (journal, []entry, error) {
	var entries []entry
	old, err := os.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return journal{}, nil, err
	}
	size := int64(0)
	if err == nil {
		for lines := bufio.NewScanner(old); lines.Scan(); {
			var e entry
			if json.Unmarshal(lines.Bytes(), &e) != nil {
				break
			}
			entries, size = append(entries, e), size+int64(len(lines.Bytes()))+1
		}
		if err := old.Close(); err != nil {
			return journal{}, nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return journal{}, nil, err
	}
	return journal{file}, entries, errors.Join(file.Truncate(size), file.Sync())
}

func (j journal) add(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(line, '\n'))
	return errors.Join(err, j.file.Sync())
}
