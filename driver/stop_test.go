package driver

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/loam-storage/loam/driver/volume"
)

// blocking returns services whose DeleteVolume says that it has begun and goes on when told.
func blocking() (s *services, begun, proceed chan struct{}) {
	begun, proceed = make(chan struct{}, 8), make(chan struct{})
	s = &services{remove: func(context.Context, *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
		begun <- struct{}{}
		<-proceed
		return &csi.DeleteVolumeResponse{}, nil
	}}
	return s, begun, proceed
}

// stopping waits until the server takes no more calls.
func stopping(t *testing.T, r *running) {
	t.Helper()
	r.cancel()
	receive(t, r.socket.closed, "the server to take no more calls")
}

func TestACallInFlightIsAnsweredBeforeTheServerStops(t *testing.T) {
	s, begun, proceed := blocking()
	r := start(t, Config{Controller: s})
	answered := make(chan error, 1)
	go func() {
		_, err := r.controller.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
		answered <- err
	}()
	receive(t, begun, "the call")
	stopping(t, r)

	if _, err := New(Config{Endpoint: r.socket.path, Version: "2"}); !volume.Is(err, volume.InUse) {
		t.Errorf("another process while work goes on: %v", err)
	}
	conn, err := net.DialTimeout("unix", r.socket.path, patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who connects now is not turned away: %d, %v", n, err)
	}
	_ = conn.Close()
	select {
	case err := <-r.ended:
		t.Fatalf("it ended with a call in flight: %v", err)
	default:
	}
	close(proceed)
	if err := receive(t, answered, "the answer"); err != nil {
		t.Error(err)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(r.socket.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket: %v", err)
	}
}

func TestTheServerWaitsForWorkWhoseCallerHasLeft(t *testing.T) {
	s, begun, proceed := blocking()
	r := start(t, Config{Controller: s})
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := r.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: handle("v")})
		answered <- err
	}()
	receive(t, begun, "the call")
	leave()
	wantCode(t, receive(t, answered, "the answer"), codes.Canceled)
	eventually(t, "the server to notice", func() bool { return len(r.log.lines("DeleteVolume", `code="Canceled"`)) == 1 })

	r.cancel()
	eventually(t, "the gate to be closed", func() bool {
		r.gate.mu.Lock()
		defer r.gate.mu.Unlock()
		return r.gate.stopped
	})
	select {
	case err := <-r.ended:
		t.Fatalf("it ended with work in flight: %v", err)
	default:
	}
	close(proceed)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	if lines := r.log.lines("work ended after its caller had left", handle("v"), `code="OK"`); len(lines) != 1 {
		t.Errorf("%d lines say how it ended:\n%s", len(lines), r.log)
	}
}

func TestTheServerDoesNotWaitForEver(t *testing.T) {
	s, begun, proceed := blocking()
	r := startUnchecked(t, Config{Controller: s})
	r.patience = 50 * time.Millisecond
	answered := make(chan error, 1)
	go func() {
		_, err := r.controller.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
		answered <- err
	}()
	receive(t, begun, "the call")
	err := r.stop(t)
	if err == nil || !strings.Contains(err.Error(), "DeleteVolume of volume v") {
		t.Errorf("what had not ended is not named: %v", err)
	}
	if receive(t, answered, "the caller to be let go") == nil {
		t.Error("a call that has not ended was answered with success")
	}
	if _, err := os.Lstat(r.socket.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket: %v", err)
	}
	close(proceed)
	if err := r.gate.drain(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.gate.take("DeleteVolume", names{exclusive: []string{"volume v"}}); !volume.Is(err, volume.Unavailable) {
		t.Errorf("new work after the end: %v", err)
	}
}
