package compat_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/sanity/scratch"
)

func TestMain(m *testing.M) {
	os.Exit(hosttest.LeaveNothing(func() int {
		code := m.Run()
		if dir := builtIn(); dir != "" {
			_ = os.RemoveAll(dir) // LeaveNothing tells if it stays
		}
		return code
	}))
}

// built is where this loam was built, once: a VM has no Go, and is given it beside the test.
var built struct {
	sync.Mutex
	dir string
}

func builtIn() string {
	built.Lock()
	defer built.Unlock()
	return built.dir
}

// loam returns the path of this loam.
func loam() (string, error) {
	built.Lock()
	defer built.Unlock()
	given, err := filepath.Abs("loam")
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(given); err == nil && info.Mode().IsRegular() {
		return given, nil
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "loam")
		if err != nil {
			return "", err
		}
		if err := scratch.Run("go", "build", "-o", filepath.Join(dir, "loam"), "github.com/loam-storage/loam/cmd/loam"); err != nil {
			return "", errors.Join(fmt.Errorf("build loam: %w", err), os.RemoveAll(dir))
		}
		built.dir = dir
	}
	return filepath.Join(built.dir, "loam"), nil
}
