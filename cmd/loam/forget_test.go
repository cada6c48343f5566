package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// A pool that has gone is shown as such and not made anew, until the machine is told to forget it.
func TestAPoolThatHasGoneIsForgottenOnlyWhenTold(t *testing.T) {
	needsRoot(t)
	dir, state := t.TempDir(), t.TempDir()
	path, c := writeConfig(t, "node: n1\npools: [{name: a, loop: {directory: "+dir+"/a, create: true}}]")
	c.State = state
	endpoint := "unix://" + filepath.Join(t.TempDir(), "csi.sock")
	verb := func(args ...string) (string, error) {
		return loamSays(t, append(args, "--config", path, "--state-dir", state)...)
	}
	if says, err := verb("pools", "--forget", "a"); !volume.Is(err, volume.NotFound) {
		t.Errorf("forget what was never there: %v\n%s", err, says)
	}
	_, stop := serving(t, c, endpoint)
	if says, err := verb("pools", "--forget", "a"); !volume.Is(err, volume.InUse) {
		t.Errorf("forget a pool that is served: %v\n%s", err, says)
	}
	stop()
	if says, err := verb("pools"); err != nil || !strings.Contains(says, "true") {
		t.Errorf("pools: %v\n%s", err, says)
	}
	// As if its disk were not mounted.
	path, _ = writeConfig(t, "node: n1\npools: [{name: a, loop: {directory: "+dir+"/b, create: true}}]")
	for _, show := range []string{"pools", "volumes", "snapshots"} {
		if says, err := verb(show); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), "--forget a") {
			t.Errorf("%s without the pool: %v\n%s", show, err, says)
		}
	}
	loam := startServe(t, path, state)
	if code, says := loam.ready(); code != http.StatusServiceUnavailable || !strings.Contains(says, "loam pools --forget a") {
		t.Errorf("/readyz without the pool: %d %s", code, says)
	}
	// While it is not open it can be forgotten, and is made then.
	if says, err := verb("pools", "--forget", "a"); err != nil || !strings.Contains(says, `"node":"n1"`) || !strings.Contains(says, dir+"/a") {
		t.Errorf("forget: %v\n%s", err, says)
	}
	loam.isReady()
}
