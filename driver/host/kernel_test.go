package host

import "testing"

func TestKernelFrom(t *testing.T) {
	for release, want := range map[string]bool{"6.1.0-28-amd64": false, "6.7.12": false, "6.8.0": true, "6.18.44-fc": true, "7.0-rc1": true, "5.15.0": false, "": false, "linux": false} {
		if got := kernelFrom(release, 6, 8); got != want {
			t.Errorf("%q: %t", release, got)
		}
	}
}
