package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKernelFrom(t *testing.T) {
	for release, want := range map[string]bool{"6.1.0-28-amd64": false, "6.7.12": false, "6.8.0": true, "6.18.44-fc": true, "7.0-rc1": true, "5.15.0": false, "": false, "linux": false} {
		if got := kernelFrom(release, 6, 8); got != want {
			t.Errorf("%q: %t", release, got)
		}
	}
}

// A device that the kernel gives no number of its own is not noted: the note would name whichever has its name next.
func TestADeviceWithoutASequenceNumberIsNotNoted(t *testing.T) {
	dir := t.TempDir()
	if text, err := onlyOne(dir); text != "" || err != nil {
		t.Errorf("it is noted as %q, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "diskseq"), []byte("7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := onlyOne(dir); !strings.HasPrefix(text, filepath.Base(dir)+" 7 ") || err != nil {
		t.Errorf("with a number, it is noted as %q, %v", text, err)
	}
}
