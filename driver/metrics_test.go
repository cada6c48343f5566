package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/driver/volume"
)

// get returns the status and the body of an HTTP answer.
func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + r.http.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func wantMetrics(t *testing.T, body string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+body, "\n"+line) {
			t.Errorf("no line begins with %q in:\n%s", line, body)
		}
	}
}

func TestMetricsOfCallsHaveTheFinalCode(t *testing.T) {
	s, begun, proceed := blocking()
	s.create = func(context.Context, *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
		panic("at the disk")
	}
	r := start(t, Config{Controller: s, HTTPAddress: "127.0.0.1:0"})
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := r.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: handle("v")})
		answered <- err
	}()
	receive(t, begun, "the call")
	leave()
	receive(t, answered, "the answer")
	eventually(t, "the server to notice", func() bool { return len(r.log.lines("DeleteVolume", `code="Canceled"`)) == 1 })
	_, err := r.controller.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
	wantCode(t, err, codes.Aborted)
	_, err = r.controller.CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "w"})
	wantCode(t, err, codes.Internal)
	_, err = r.controller.GetCapacity(t.Context(), &csi.GetCapacityRequest{})
	wantCode(t, err, codes.Unimplemented)

	code, body := r.get(t, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, body)
	}
	wantMetrics(t, body,
		`loam_csi_calls_total{code="Canceled",method="DeleteVolume"} 1`,
		`loam_csi_calls_total{code="Aborted",method="DeleteVolume"} 1`,
		`loam_csi_calls_total{code="Internal",method="CreateVolume"} 1`,
		`loam_csi_calls_total{code="Unimplemented",method="GetCapacity"} 1`,
		`loam_csi_operations_in_flight{method="DeleteVolume"} 1`, // its caller has left
		`loam_csi_operations_in_flight{method="CreateVolume"} 0`,
		`loam_csi_operations_in_flight{method="GetCapacity"} 0`,
		`loam_csi_call_seconds_bucket{method="DeleteVolume",le="0.001"}`,
		`loam_csi_call_seconds_bucket{method="DeleteVolume",le="120"} 2`,
		`loam_csi_call_seconds_count{method="CreateVolume"} 1`,
		`loam_build_info{goversion="go`, `go_goroutines `, `process_open_fds `)
	close(proceed)
	eventually(t, "the work to end", func() bool {
		_, body := r.get(t, "/metrics")
		return strings.Contains(body, `loam_csi_operations_in_flight{method="DeleteVolume"} 0`)
	})
}

func TestMetricsOfPools(t *testing.T) {
	good := volume.PoolStatus{Pool: "good", TotalBytes: 100, FreeBytes: 60, LargestBytes: 50, Fallbacks: 3, Healthy: true}
	good.Held.Add(20 * time.Millisecond)
	good.Held.Add(time.Minute)
	good.Held.Add(time.Hour)
	worn := volume.PoolStatus{Pool: "worn", TotalBytes: 200, FreeBytes: 0, LargestBytes: 0}
	dead := volume.PoolStatus{Pool: "dead", Message: "not mounted"}
	of := func(pools ...volume.PoolStatus) func(context.Context) ([]volume.PoolStatus, error) {
		return func(ctx context.Context) ([]volume.PoolStatus, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				return nil, errors.New("a scrape may wait for ever")
			}
			return pools, nil
		}
	}
	for what, c := range map[string]struct {
		pools        func(context.Context) ([]volume.PoolStatus, error)
		want, absent []string
	}{
		"all": {of(good, worn, dead), []string{
			`loam_pool_size_bytes{pool="good"} 100`, `loam_pool_free_bytes{pool="good"} 60`, `loam_pool_largest_volume_bytes{pool="good"} 50`,
			`loam_pool_healthy{pool="good"} 1`, `loam_pool_size_bytes{pool="worn"} 200`, `loam_pool_free_bytes{pool="worn"} 0`,
			`loam_pool_healthy{pool="worn"} 0`, `loam_pool_healthy{pool="dead"} 0`, `loam_pools_readable 1`,
			`loam_pool_metadata_fallbacks_total{pool="good"} 3`, `loam_pool_metadata_fallbacks_total{pool="worn"} 0`,
			`loam_pool_held_seconds_bucket{pool="good",le="0.01"} 0`, `loam_pool_held_seconds_bucket{pool="good",le="0.025"} 1`, `loam_pool_held_seconds_bucket{pool="good",le="60"} 2`,
			`loam_pool_held_seconds_bucket{pool="good",le="+Inf"} 3`, `loam_pool_held_seconds_sum{pool="good"} 3660.02`, `loam_pool_held_seconds_count{pool="worn"} 0`}, []string{`size_bytes{pool="dead"}`, `fallbacks_total{pool="dead"}`}},
		"some and an error": {func(context.Context) ([]volume.PoolStatus, error) {
			return []volume.PoolStatus{good}, errors.New("dead")
		},
			[]string{`loam_pool_size_bytes{pool="good"} 100`, `loam_pools_readable 0`}, nil},
		"an error": {func(context.Context) ([]volume.PoolStatus, error) { return nil, errors.New("dead") },
			[]string{`loam_pools_readable 0`}, []string{"loam_pool_size_bytes{"}},
		"a panic": {func(context.Context) ([]volume.PoolStatus, error) { panic("dead") },
			[]string{`loam_pools_readable 0`}, []string{"loam_pool_size_bytes{"}},
		"nobody to ask": {nil, nil, []string{"loam_pool"}},
	} {
		t.Run(what, func(t *testing.T) {
			r := start(t, Config{Pools: c.pools, HTTPAddress: "127.0.0.1:0"})
			code, body := r.get(t, "/metrics")
			if code != http.StatusOK {
				t.Fatalf("%d: %s", code, body)
			}
			wantMetrics(t, body, append(c.want, `loam_build_info{`)...)
			for _, absent := range c.absent {
				if strings.Contains(body, absent) {
					t.Errorf("%q is in:\n%s", absent, body)
				}
			}
		})
	}
}

func TestReadyzSaysWhyNotAndHealthzOnlyThatSomebodyAnswers(t *testing.T) {
	for _, c := range []struct {
		ready      func(context.Context) error
		registered func() error
		code       int
		body       string
	}{
		{nil, nil, http.StatusOK, "ok\n"},
		{func(context.Context) error { return nil }, func() error { return nil }, http.StatusOK, "ok\n"},
		{func(context.Context) error { return volume.Errorf(volume.Unavailable, "not\nyet") }, nil, http.StatusServiceUnavailable, "not yet\n"},
		{nil, func() error { return errors.New("nobody asked") }, http.StatusServiceUnavailable, "nobody asked\n"},
		{func(ctx context.Context) error {
			_, bounded := ctx.Deadline()
			return fmt.Errorf("bounded: %t", bounded)
		}, nil, http.StatusServiceUnavailable, "bounded: true\n"},
	} {
		r := start(t, Config{Ready: c.ready, Registered: c.registered, HTTPAddress: "127.0.0.1:0"})
		if code, body := r.get(t, "/readyz"); code != c.code || body != c.body {
			t.Errorf("%d %q, want %d %q", code, body, c.code, c.body)
		}
		if code, body := r.get(t, "/healthz"); code != http.StatusOK || body != "ok\n" {
			t.Errorf("/healthz answers %d %q", code, body)
		}
		if code, _ := r.get(t, "/"); code != http.StatusNotFound {
			t.Errorf("/ answers %d", code)
		}
		if err := r.stop(t); err != nil {
			t.Fatal(err)
		}
		if resp, err := http.Get("http://" + r.http.Addr().String() + "/healthz"); err == nil {
			_ = resp.Body.Close()
			t.Error("it is served after the end")
		}
	}
	beside := func() []error { return []error{errors.New("pool \"a\" is\naway"), errors.New("so is b")} }
	if code, body := start(t, Config{Beside: beside, HTTPAddress: "127.0.0.1:0"}).get(t, "/readyz"); code != http.StatusOK || body != "ok\npool \"a\" is away\nso is b\n" {
		t.Errorf("with something away: %d %q", code, body)
	}
	if r := start(t, Config{}); r.http != nil {
		t.Error("it is served though it is off")
	}
}
