package driver

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// startRemote is startUnchecked with a connection to what Remote returns.
func startRemote(t *testing.T, c Config) (*running, *grpc.ClientConn) {
	t.Helper()
	listener := bufconn.Listen(64 << 10)
	log := &logBuffer{}
	r := startWith(t, c, func(s *Server) {
		server := s.Remote(klog.NewContext(t.Context(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log)))))
		go func() { _ = server.Serve(listener) }()
	})
	r.remoteLog = log
	conn, err := grpc.NewClient("passthrough:///remote", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return r, conn
}

// A controller must not mount anything: that is the kubelet's to ask.
func TestRemoteServesAllButTheNodeService(t *testing.T) {
	s := &services{
		create: func(_ context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
			return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: handle(r.GetName())}}, nil
		},
		stage: func(context.Context, *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
			t.Error("it was staged")
			return &csi.NodeStageVolumeResponse{}, nil
		},
	}
	r, conn := startRemote(t, Config{Controller: s, Group: s, Node: s})
	if _, err := csi.NewControllerClient(conn).CreateVolume(t.Context(), &csi.CreateVolumeRequest{Name: "v"}); err != nil {
		t.Error(err)
	}
	if answer, err := healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err != nil || answer.GetStatus() != healthgrpc.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", answer, err)
	}
	if answer, err := csi.NewIdentityClient(conn).GetPluginInfo(t.Context(), &csi.GetPluginInfoRequest{}); err != nil || answer.GetVendorVersion() != "1.2.3" {
		t.Errorf("%v, %v", answer, err)
	}
	_, err := csi.NewGroupControllerClient(conn).GetVolumeGroupSnapshot(t.Context(), &csi.GetVolumeGroupSnapshotRequest{GroupSnapshotId: handle("g")})
	wantCode(t, err, codes.Unimplemented)
	_, err = csi.NewNodeClient(conn).NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: handle("v")})
	wantCode(t, err, codes.Unimplemented)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	if lines := r.remoteLog.lines(`method="CreateVolume"`, `name="v"`, `volume="n1/p1/v"`, `code="OK"`); len(lines) != 1 {
		t.Errorf("%d lines of the call:\n%s", len(lines), r.remoteLog)
	}
	if lines := r.remoteLog.lines(`method="GetVolumeGroupSnapshot"`, `code="Unimplemented"`); len(lines) != 1 {
		t.Errorf("%d lines of a call that failed:\n%s", len(lines), r.remoteLog)
	}
}

func TestANameIsHeldAgainstTheSocketAndTheRemoteConnection(t *testing.T) {
	s, begun, proceed := blocking()
	r, conn := startRemote(t, Config{Controller: s, Node: s})
	remote := csi.NewControllerClient(conn)
	for _, first := range []csi.ControllerClient{r.controller, remote} {
		answered := make(chan error, 1)
		go func() {
			_, err := first.DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
			answered <- err
		}()
		receive(t, begun, "the call")
		for _, second := range []csi.ControllerClient{r.controller, remote} {
			_, err := second.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
			wantCode(t, err, codes.Aborted)
		}
		_, err := r.node.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{VolumeId: handle("v")})
		wantCode(t, err, codes.Aborted)
		proceed <- struct{}{}
		if err := receive(t, answered, "the answer"); err != nil {
			t.Error(err)
		}
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestARemoteCallIsAnsweredBeforeTheServerStops(t *testing.T) {
	s, begun, proceed := blocking()
	r, conn := startRemote(t, Config{Controller: s})
	answered := make(chan error, 1)
	go func() {
		_, err := csi.NewControllerClient(conn).DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
		answered <- err
	}()
	receive(t, begun, "the call")
	stopping(t, r) // the socket takes no more calls, whatever is at work on the other connection
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
	_, err := csi.NewControllerClient(conn).DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: handle("w")})
	wantCode(t, err, codes.Unavailable)
}

func TestARemoteCallDoesNotKeepTheServerForEver(t *testing.T) {
	s, begun, proceed := blocking()
	r, conn := startRemote(t, Config{Controller: s})
	r.patience = 50 * time.Millisecond
	answered := make(chan error, 1)
	go func() {
		_, err := csi.NewControllerClient(conn).DeleteVolume(context.Background(), &csi.DeleteVolumeRequest{VolumeId: handle("v")})
		answered <- err
	}()
	receive(t, begun, "the call")
	if err := r.stop(t); err == nil {
		t.Error("it ended well with work left")
	}
	if receive(t, answered, "the caller to be let go") == nil {
		t.Error("a call that has not ended was answered with success")
	}
	close(proceed)
	if err := r.gate.drain(t.Context()); err != nil {
		t.Error(err)
	}
}
